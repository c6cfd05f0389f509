/** A file system that is full is told of in words; touching what has no room would be a SIGBUS. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const CLI = fileURLToPath(new URL('../../src/cli/ringpath.js', import.meta.url))
const ROOM = 'size=20m'
const folder = mkdtempSync(join(tmpdir(), 'rp-room-'))
t.after(() => rmSync(folder, { recursive: true, force: true }))

const skip = process.geteuid?.() === 0 ? false : 'needs root'

/** In namespaces of its own, where the folder is a small tmpfs. */
function inSmallFolder(script: string, ...args: string[]) {
  const small = `mount -t tmpfs -o ${ROOM} tmpfs "$0" && ${script}`
  return spawnSync('unshare', ['--mount', '--net', 'bash', '-c', small, folder, ...args], {
    encoding: 'utf8',
    timeout: 60_000,
  })
}

t.test('memory that has no room is refused, and its file goes again', { skip }, async (t) => {
  const program = `import { readdirSync } from 'node:fs'
    import { SharedMemory } from '${import.meta.resolve('xdp-socket-napi')}'
    const make = (name, bytes) => SharedMemory.open('${folder}/' + name, bytes, { create: true })
    const first = make('first', 15 * 2 ** 20)
    try {
      new Int32Array(make('second', 6 * 2 ** 20).buffer).fill(1)
    } catch ({ code, path, bytes, errno, message }) {
      console.log(JSON.stringify({ code, path, bytes, errno, message }))
    }
    new Int32Array(first.buffer).fill(1)
    new Int32Array(make('third', 4 * 2 ** 20).buffer).fill(1)
    console.log(readdirSync('${folder}').join())`
  const { status, signal, stdout, stderr } = inSmallFolder(
    '"$1" --input-type=module -e "$2"',
    process.execPath,
    program,
  )
  t.same([status, signal, stderr], [0, null, ''])
  const [error = '{}', files] = stdout.trim().split('\n')
  t.match(JSON.parse(error), {
    code: 'EXDP_SHARED_MEMORY',
    path: join(folder, 'second'),
    bytes: 6 * 2 ** 20,
    errno: 28,
    message: /second of 6291456 bytes: posix_fallocate failed with ENOSPC: .*no room.*`df`/,
  })
  t.equal(files, 'first,third')
})

t.test('an agent whose state directory is too small says so', { skip }, async (t) => {
  const node = mkdtempSync(join(tmpdir(), 'rp-room-node-'))
  t.teardown(() => rmSync(node, { recursive: true, force: true }))
  writeFileSync(
    join(node, 'node.yaml'),
    `apiVersion: ringpath.io/v1
kind: Node
metadata: { name: small }
spec:
  stateDirectory: ${folder}/state
  dataDirectory: ${node}/data
  manifests: ${node}
  podCidrs: [10.0.1.0/24]
  host: { addresses: [10.0.0.1] }
`,
  )
  const { status, signal, stderr } = inSmallFolder(
    '"$1" "$2" agent -c "$3"',
    process.execPath,
    CLI,
    join(node, 'node.yaml'),
  )
  t.same([status, signal], [1, null], stderr)
  t.match(stderr, /^ringpath: shared memory .*\/state\/\w+ of \d+ bytes: .*ENOSPC/)
})
