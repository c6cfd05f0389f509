/** The command line: exit codes, mistakes, output, and that its documents tell of all of it. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { VERSION } from '../../src/base/version.js'
import { byteText, clean, tableText } from '../../src/cli/output.js'
import { ROUTES } from '../../src/daemon/api/routes.js'
import { Role, takeRole } from '../../src/daemon/process-lock.js'
import { desiredState } from '../../src/k8s/desired-state.js'
import { ofKind, parseDocuments } from '../../src/k8s/documents.js'
import { endpoint, TestAgent } from '../support/test-agent.js'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
const CLI = join(ROOT, 'dist/src/cli/ringpath.js')
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8')

function ringpath(args: readonly string[], input = '') {
  const { status, stdout, stderr } = spawnSync(process.execPath, [CLI, ...args], {
    encoding: 'utf8',
    input,
    timeout: 20_000,
  })
  return { status, stdout, stderr }
}

const test = new TestAgent()
t.after(() => test.close())
test.manifest('endpoints.yaml', endpoint('client', 1) + endpoint('server', 2))
test.agent.readManifests()
const state = ['--state', test.path('state')]
const EMPTY = mkdtempSync(join(tmpdir(), 'rp-cli-empty-'))
t.after(() => rmSync(EMPTY, { recursive: true }))

t.test('tables are read from the files of a node that does not run', async (t) => {
  const list = ringpath(['endpoint', ...state, '-o', 'json'])
  t.same(
    JSON.parse(list.stdout).map((row: { name: string }) => row.name),
    ['host', 'default/client', 'default/server'],
  )
  t.match(ringpath(['map', 'dump', 'ipcache', ...state]).stdout, /^ *SLOT +KEY +VALUE\n/)
  t.match(ringpath(['endpoint', 'get', 'client', ...state]).stdout, 'name: default/client')
})

t.test('trace explains offline too; its exit code tells a drop', async (t) => {
  const pass = ringpath(['trace', '--in', 'client', '--to', 'server:80', ...state])
  t.match(pass, { status: 0, stdout: /FORWARDED to default\/server/ })
  const from = ['--from', '10.9.9.9']
  const drop = ringpath(['trace', '--in', 'client', ...from, '--to', 'server:80', ...state])
  t.match(drop, { status: 5, stdout: /DROPPED 132 INVALID_SOURCE_IP/ })
})

/** What is typed, how it ends, and what is said. */
const MISTAKES: readonly [string[], number, RegExp][] = [
  [['nonsense'], 2, /unknown command/],
  [['endpoint', '-o', 'xml'], 2, /Allowed choices are table, wide, json, yaml/],
  [['endpoint', '--state', '/nowhere'], 3, /no agent answers .* no maps to read/],
  [['status', '--state', '/nowhere'], 3, /no agent answers/],
  [['map', 'dump', 'ct4', '--state', '/nowhere'], 3, /\/nowhere.*no agent answers/],
  [['endpoint', 'get', 'client', '--state', '/nowhere'], 3, /\/nowhere.*no agent answers/],
  [['apply', ...state], 2, /give -f FILE/],
  [['check', '-f', '/nowhere'], 1, /\/nowhere: no such file/],
  [['get', 'nothing', '--socket', '/nowhere'], 2, /'nothing', expected one of Node, Endpoint/],
  [['get', 'service', '--socket', '/nowhere'], 3, /no agent answers/],
  [['cleanup', '--remove', '--state', '/etc'], 1, /\/etc: no state directory of a node/],
  [['cleanup', '--state', '/nowhere'], 1, /\/nowhere: no state directory/],
  [['agent', '-c', '/nowhere.yaml'], 1, /\/nowhere.yaml: no such file/],
  [['endpoint', 'get', 'nobody', ...state], 1, /'nobody', expected one of host, default\/client/],
  [['map', 'dump', '../../etc/passwd', ...state], 1, /map: '..\/..\/etc\/passwd', expected/],
  [['map', 'dump', 'nothing', ...state], 1, /map: 'nothing', expected/],
  [['trace', '--in', 'client', ...state], 2, /give --in and --to/],
  [['trace', '--in', 'client', '--to', 'server', ...state], 2, /expected a port too/],
  [['trace', '--in', 'nobody', '--to', 'server:80', ...state], 1, /expected an endpoint/],
  [['replay', '/nowhere', ...state], 1, /ENOENT|no such file/],
  [['replay', join(ROOT, 'package.json'), ...state], 1, /magic/],
  [['agent', '-c', '/nowhere'], 1, /no such file/],
  [['agent', '-c', join(ROOT, 'examples/node/manifests/web.yaml')], 1, /0 documents of kind Node/],
  [['completion', 'tcsh'], 2, /Allowed choices are bash, zsh, fish/],
  [['trace', '--in', 'client', '--to', 'server:99999', ...state], 2, /--to server:99999: .*65535/],
  [
    ['trace', '--in', 'client', '--to', 'server:256', '-p', 'icmp', ...state],
    2,
    /--to server:256: expected a type from 0 to 255/,
  ],
  [
    ['capture', '-w', '-', '--at', 'client,stage:NOPE', ...state],
    2,
    /--at: 'stage:NOPE', expected one of/,
  ],
  [['capture', '-w', '-', '--from', 'x', ...state], 2, /--from: 'x', expected an IPv4 address/],
  [['capture', '-w', '-', '--reason', 'x', ...state], 2, /--reason: 'x', expected a number or/],
  [['capture', '-w', '/nowhere/x', ...state], 1, /^ringpath: -w \/nowhere\/x: expected a file/],
  [['bugreport', '/proc/nope', ...state], 1, /\/proc\/nope: expected a directory to write to/],
  [['upgrade', ...state], 1, /no datapath runs on/],
  [['upgrade', '--state', '/nowhere'], 3, /no agent runs on \/nowhere, and it is the agent that/],
  [['datapath', '--state', EMPTY], 1, /^ringpath: .*: no maps of a node: the agent makes them/],
  [['pktgen', '--print'], 2, /--to: "", expected where to send/],
  [['pktgen', '--to', '10.0.0.2', '--rate', 'abc', '--print'], 2, /--rate: "abc", expected/],
  [['pktgen', '--to', '10.0.0.2', '--size', '59', '--print'], 2, /--size: "59", expected/],
  [['pktgen', '--to', '10.0.0.2', '--to-mac', 'zz', '--print'], 2, /--to-mac: "zz", expected/],
  [['drops', '--port', '70000', ...state], 2, /whole number from 0 to 65535/],
]

t.test('mistakes end with a code and a sentence, never with a stack', async (t) => {
  for (const [args, code, says] of MISTAKES) {
    const { status, stderr } = ringpath(args)
    t.equal(status, code, args.join(' '))
    t.match(stderr, says)
    t.notMatch(stderr, /\n {4}at /, 'no stack')
  }
})

t.test('of a datapath that cannot start is told why, with 1', async (t) => {
  const own = t.testdir()
  takeRole(own, Role.DATAPATH)
  const second = ringpath(['datapath', '--state', own])
  t.match(second, { status: 1, stderr: /^ringpath: .* is the datapath’s of process \d+ already/ })
  t.match(ringpath(['upgrade', '--state', own]), { status: 3, stderr: /no agent runs on/ })
  const asNobody = (...command: string[]) =>
    spawnSync('setpriv', ['--reuid', '65534', '--clear-groups', ...command], { encoding: 'utf8' })
  // Neither without root, nor where the project is out of others' sight.
  if (asNobody('test', '-r', CLI).status !== 0) return
  const { status, stderr } = asNobody(process.execPath, CLI, 'datapath', '--state', EMPTY)
  t.equal(status, 1)
  t.match(stderr, /^ringpath: .*: a datapath needs root: run it with sudo \(.*EACCES/)
})

t.test('a set-up that went with its network namespace keeps no cleanup back', async (t) => {
  const directory = t.testdir({
    owners: '\0'.repeat(4096),
    'node-setup.json': JSON.stringify({
      version: 1,
      namespace: 'net:[1]',
      device: 'ringpath_net',
      peerDevice: 'ringpath_host',
      hasPair: true,
      addresses: ['10.0.0.1'],
      routes: [],
      sysctls: {},
    }),
  })
  const { status, stdout } = ringpath(['cleanup', '--remove', '--state', directory])
  t.equal(status, 0)
  t.match(stdout, /set-up: gone with its network namespace, net:\[1\]\n.* removed/)
  t.notOk(existsSync(directory))
})

t.test('check tells every problem with its place', async (t) => {
  const wrong = `${endpoint('a', 1)}${endpoint('b', 1)}`.replace('lxc-a', 'a/b')
  const { status, stderr } = ringpath(['check', '-f', '-'], wrong)
  t.equal(status, 1)
  t.match(stderr, 'standard input:6: Endpoint a: spec.device: "a/b", expected a device name')
  t.match(ringpath(['check', '-f', '-'], endpoint('a', 1)), { status: 0 })
})

t.test('control characters are not printed', async (t) => {
  t.equal(clean('a\x1b[2Jb\nc'), 'a?[2Jb?c')
  const text = tableText([{ x: '\x1b]0;gotcha\x07' }], [{ title: 'X', value: (r) => r.x }], false)
  t.notMatch(text.split('\n')[1], /\p{Cc}/u)
})

t.test('tables line up; bytes are read as people do', async (t) => {
  const columns = [
    { title: 'NAME', value: (r: { n: string }) => r.n },
    { title: 'WIDE', value: () => 1, isWide: true },
  ]
  t.equal(tableText([{ n: 'longer' }, { n: 'x' }], columns, false), 'NAME\nlonger\nx')
  t.equal(tableText([{ n: 'longer' }], columns, true), 'NAME    WIDE\nlonger  1')
  t.equal(byteText(1023), '1023 B')
  t.equal(byteText(1536), '1.5 KiB')
})

t.test('completion knows every command', async (t) => {
  const script = ringpath(['completion', 'bash']).stdout
  for (const word of ['trace', 'why', 'dump', '--follow', '--filename']) t.match(script, word)
})

t.test('the version is that of package.json', async (t) => {
  t.equal(VERSION, JSON.parse(read('package.json')).version)
})

t.test('docs/cli.md has every command, docs/api.md every route', async (t) => {
  const help = ringpath(['--help']).stdout
  const commands = [...help.matchAll(/^ {2}([a-z-]+)(?= .* {2}|$| \[| <)/gm)].map((m) => m[1] ?? '')
  t.ok(commands.length > 20, commands.join(' '))
  const cli = read('docs/cli.md')
  for (const command of commands.filter((name) => name !== 'help' && name !== 'ringpath')) {
    t.match(cli, new RegExp(`\`${command}[ \`]`), command)
  }
  const api = read('docs/api.md')
  for (const { method, path } of ROUTES) t.ok(api.includes(`\`${method} ${path}\``), path)
})

t.test('docs/metrics.md has every metric, and the dashboard no other', async (t) => {
  const text = await test.agent.metrics.text()
  const names = [...text.matchAll(/^# TYPE (\S+) (\S+)/gm)].map((m) => [m[1] ?? '', m[2] ?? ''])
  const documented = read('docs/metrics.md')
  for (const [name, type] of names) t.match(documented, new RegExp(`\`${name}\` +\\| ${type}`))
  const dashboard = read('packaging/grafana-dashboard.json')
  const used = new Set([...dashboard.matchAll(/ringpath_[a-z_]+/g)].map(([name]) => name))
  for (const name of used)
    t.ok(
      names.some(([known]) => known === name),
      name,
    )
})

t.test('the examples are right', async (t) => {
  const [node] = ofKind(parseDocuments(read('examples/node/node.yaml'), 'node.yaml'), 'Node')
  if (node === undefined) throw new Error('no node')
  const directory = 'examples/node/manifests'
  const documents = readdirSync(join(ROOT, directory)).flatMap((name) => {
    return parseDocuments(read(`${directory}/${name}`), name)
  })
  const { state: desired, problems } = desiredState(documents, node.body)
  t.same(problems, [])
  t.match(desired.services, [{ spec: { backends: [{ address: '10.0.1.2', port: 8080 }] } }])
})

t.test('docs/config.md names every field of a node', async (t) => {
  const text = read('docs/config.md')
  const fields = (value: object): string[] =>
    Object.entries(value).flatMap(([key, inner]) =>
      typeof inner === 'object' && inner !== null && !Array.isArray(inner)
        ? [key, ...fields(inner)]
        : [key],
    )
  for (const field of fields(test.agent.node.spec)) t.match(text, new RegExp(`${field}:`), field)
})

t.test('bugreport gathers what there is', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'rp-report-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  writeFileSync(join(test.path('state'), 'datapath.log'), 'a line\n')
  t.equal(ringpath(['bugreport', directory, ...state]).status, 0)
  t.match(readFileSync(join(directory, 'endpoints.json'), 'utf8'), 'default/client')
  t.equal(readFileSync(join(directory, 'datapath.log'), 'utf8'), 'a line\n')
})

t.end()
