// A published package stands alone: prepack puts a copy of the steering program into it, and
// postpack takes the copy out of the work tree again (argument `--remove`).
const { copyFileSync, mkdirSync, rmSync } = require('node:fs')
const { join } = require('node:path')

const folder = join(__dirname, '..', 'bpf')
if (process.argv.includes('--remove')) {
  rmSync(folder, { recursive: true, force: true })
} else {
  mkdirSync(folder, { recursive: true })
  copyFileSync(join(__dirname, '..', '..', 'bpf', 'xdp_redirect.c'), join(folder, 'xdp_redirect.c'))
}
