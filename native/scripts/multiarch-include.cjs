// Prints where the distribution keeps asm/types.h: Debian puts it in a folder per machine, and clang for the bpf target
// does not look there by itself.
const { existsSync, readdirSync } = require('node:fs')

const folders = readdirSync('/usr/include').filter((name) => name.endsWith('-linux-gnu'))
const machine = { x64: 'x86_64', arm64: 'aarch64' }[process.arch] ?? process.arch
const found = [`${machine}-linux-gnu`, ...folders]
  .map((name) => `/usr/include/${name}`)
  .find((folder) => existsSync(`${folder}/asm/types.h`))
process.stdout.write(found ?? '/usr/include')
