// Prints one path that both builds need: `program`, the source of the XDP program, or `include`,
// the folder with the machine's own kernel headers.
const { existsSync, readdirSync } = require('node:fs')
const { resolve } = require('node:path')

/** A published package carries a copy (prepack); in the repository it lies one folder up. */
function programSource() {
  const copies = [resolve(__dirname, '../../bpf/xdp_redirect.c')]
  copies.push(resolve(__dirname, '../bpf/xdp_redirect.c'))
  return copies.find((path) => existsSync(path))
}

/** Debian has asm/types.h in a folder per machine, where clang does not look for the bpf target. */
function machineInclude() {
  const machine = { x64: 'x86_64', arm64: 'aarch64' }[process.arch] ?? process.arch
  const others = readdirSync('/usr/include').filter((name) => name.endsWith('-linux-gnu'))
  const folders = [`${machine}-linux-gnu`, ...others].map((name) => `/usr/include/${name}`)
  return folders.find((folder) => existsSync(`${folder}/asm/types.h`)) ?? '/usr/include'
}

process.stdout.write(process.argv[2] === 'program' ? (programSource() ?? '') : machineInclude())
