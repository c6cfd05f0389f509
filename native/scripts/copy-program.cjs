// A published package stands alone: it carries its own copy of the steering program, and both
// licences' names with it.
const { copyFileSync, mkdirSync } = require('node:fs')
const { join } = require('node:path')

const folder = join(__dirname, '..')
mkdirSync(join(folder, 'bpf'), { recursive: true })
copyFileSync(join(folder, '..', 'bpf', 'xdp_redirect.c'), join(folder, 'bpf', 'xdp_redirect.c'))
