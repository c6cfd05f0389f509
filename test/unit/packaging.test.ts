/** What is installed beside the program: the unit of systemd, and what the npm package holds. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
const unit = readFileSync(join(ROOT, 'packaging/ringpath-agent.service'), 'utf8')
const value = (key: string) => new RegExp(`^${key}=(.*)$`, 'm').exec(unit)?.[1]

t.test('the unit starts a command that there is, and leaves the datapath running', async (t) => {
  const [program, ...args] = value('ExecStart')?.split(' ') ?? []
  t.equal(program, '/usr/bin/ringpath')
  const cli = join(ROOT, 'dist/src/cli/ringpath.js')
  const help = spawnSync(process.execPath, [cli, args[0] ?? '', '--help'], { encoding: 'utf8' })
  t.match(help.stdout, /--config <file>/)
  t.match({ type: value('Type'), kill: value('KillMode') }, { type: 'notify', kill: 'process' })
  t.equal(value('RuntimeDirectoryPreserve'), 'yes')
  t.equal(value('ProtectKernelTunables'), undefined, 'the agent sets sysctls of the network')
})

t.test('systemd finds nothing wrong with the unit', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'rp-unit-'))
  const path = join(directory, 'ringpath-agent.service')
  writeFileSync(path, unit.replace('/usr/bin/ringpath', '/bin/true'))
  const { error, stderr } = spawnSync('systemd-analyze', ['verify', path], { encoding: 'utf8' })
  // Not every machine that runs tests runs systemd.
  if (error === undefined) t.notMatch(stderr, /ringpath-agent/)
  else t.match(error, { code: 'ENOENT' })
  rmSync(directory, { recursive: true })
})

t.test('the package holds the program and its documents, and no tests', async (t) => {
  const args = ['pack', '--dry-run', '--json', '--ignore-scripts']
  const { stdout } = spawnSync('npm', args, { cwd: ROOT, encoding: 'utf8' })
  // A list, and by name from npm 12 on.
  const packed = Object.values(JSON.parse(stdout) as { files: { path: string }[] }[])
  const files = packed.flatMap((it) => it.files)
  const paths = files.map(({ path }) => path)
  for (const path of [
    'dist/src/cli/ringpath.js',
    'dist/src/cli/datapath-main.js',
    'dist/src/engine/datapath-worker.js',
    'packaging/ringpath-agent.service',
    'examples/node/node.yaml',
    'docs/operations.md',
  ]) {
    t.ok(paths.includes(path), path)
  }
  t.notOk(paths.some((path) => path.startsWith('dist/test') || path.startsWith('test')))
})

t.end()
