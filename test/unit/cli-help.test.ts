/** What the command line teaches and completes, and how it shows flows and changes. */
import { spawnSync } from 'node:child_process'
import type { Command } from 'commander'
import t from 'tap'
import { changeText } from '../../src/cli/change-text.js'
import { completionScript } from '../../src/cli/completion.js'
import { FlowFilterOptions } from '../../src/cli/flow-options.js'
import { flowLine, hexText } from '../../src/cli/flow-text.js'
import { LESSONS } from '../../src/cli/lessons.js'
import { makeProgram } from '../../src/cli/program.js'
import type { FlowView } from '../../src/observe/flow-view.js'

const program = makeProgram()

/** Every command that is shown, by its names. */
function commandsOf(parent: Command, path = ''): (readonly [string, Command])[] {
  const shown = parent.createHelp().visibleCommands(parent)
  return shown
    .filter((command) => command.name() !== 'help')
    .flatMap((command) => {
      const name = `${path}${command.name()}`
      return [[name, command] as const, ...commandsOf(command, `${name} `)]
    })
}

const commands = new Map(commandsOf(program))

t.test('every command says what it is for, has an example, and its exit codes', async (t) => {
  for (const [name, command] of commands) {
    let help = ''
    command.configureOutput({ writeOut: (text) => (help += text) })
    command.outputHelp()
    t.ok(command.description().length > 10, `${name}: description`)
    t.match(help, /Examples?:\n {2}ringpath /, name)
    t.match(help, /Exit codes: 0 well, 2 wrong usage/, name)
    const undescribed = command.options.filter(({ description }) => description === '')
    t.same(undescribed, [], `${name}: options`)
  }
  t.same(
    Object.keys(LESSONS).filter((name) => !commands.has(name)),
    [],
    'lessons of commands',
  )
})

/** "map dump ipcache" among the examples of "map": it is among those of "map dump", too. */
const isOfChild = (name: string, line: string): boolean =>
  Object.keys(LESSONS).some((other) => other.startsWith(`${name} `) && line.startsWith(other))

t.test('the examples are understood by the commands', async (t) => {
  for (const [name, { examples = [] }] of Object.entries(LESSONS)) {
    for (const [line] of examples.filter(([text]) => !isOfChild(name, text))) {
      const [own = ''] = line.split(/ [|><] | \|\| /)
      t.ok(own === name || own.startsWith(`${name} `), line)
      const words = own.slice(name.length).trim().split(' ').filter(Boolean)
      const command = new Map(commandsOf(makeProgram())).get(name)
      command?.exitOverride()
      const { unknown = ['?'], operands = [] } = command?.parseOptions(words) ?? {}
      t.same(unknown, [], line)
      t.ok(operands.length <= (command?.registeredArguments.length ?? 0), `${line}: arguments`)
    }
  }
})

t.test('filters are kept in their order; --not is of the next one alone', async (t) => {
  const filters = new FlowFilterOptions()
  const command = makeProgram().createCommand('flows')
  filters.addTo(command)
  command.parseOptions([
    '--from-pod',
    'a',
    '--not',
    '--to',
    '10.0.0.0/8',
    '--from-pod',
    'b',
    '--since',
    '5m',
  ])
  t.same(filters.query({ since: '5m' }), [
    ['since', '5m'],
    ['sourcePod', 'a'],
    ['not.destination', '10.0.0.0/8'],
    ['sourcePod', 'b'],
  ])
  t.same(filters.pods, ['a', 'b'])
  command.parseOptions(['--not'])
  t.throws(() => filters.query({}), { exitCode: 2, message: /--not: nothing, expected a filter/ })
})

/** What bash completes after these words. */
function completed(line: string): string[] {
  const words = line.split(' ')
  const script = `${completionScript(program, 'bash')}
COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')})
COMP_CWORD=${words.length - 1}
_ringpath
printf '%s\\n' "\${COMPREPLY[@]}"`
  return spawnSync('bash', ['-c', script], { encoding: 'utf8' }).stdout.split('\n').filter(Boolean)
}

t.test('completion knows commands, options, and what options and arguments may be', async (t) => {
  t.same(completed('ringpath tra'), ['trace'])
  t.same(completed('ringpath map d'), ['dump'])
  t.match(completed('ringpath flows --from-'), ['--from-pod', '--from-label'])
  t.same(completed('ringpath status -o y'), ['yaml'])
  t.same(completed('ringpath flows -f --verd'), ['--verdict'], 'a flag without a value')
  t.same(completed('ringpath get Network'), ['NetworkPolicy'])
  t.same(completed('ringpath completion z'), ['zsh'])
  t.same(completed('ringpath trace --in x --pc'), ['--pcap'])
  t.match(completionScript(program, 'fish'), '-l verdict')
})

const FLOW = {
  id: 4,
  time: '2026-03-04T05:06:07.089Z',
  verdict: 'DROPPED',
  dropCode: 133,
  dropReason: 'POLICY_DENIED',
  direction: 'ingress',
  protocol: 'TCP',
  source: '10.0.1.1',
  sourcePort: 4000,
  sourcePod: 'default/client',
  sourceLabels: ['k8s:app=client'],
  destination: '10.96.0.9',
  destinationPort: 80,
  destinationService: 'default/web:80',
  destinationLabels: ['reserved:unknown'],
  tcpFlags: 'SYN',
  bytes: 20,
  sample: '00112233445566778899aabbccddeeff41ff',
} as unknown as FlowView

t.test('a flow is a line with names, or without, or with the bytes of its frame', async (t) => {
  const line =
    '4 05:06:07.089 TCP 10.0.1.1:4000 (default/client) → 10.96.0.9:80 (service default/web:80)'
  t.equal(flowLine(FLOW, { isWide: false }), `${line} SYN DROPPED 133 POLICY_DENIED`)
  t.match(
    flowLine(FLOW, { isWide: false, numeric: true }),
    ' TCP 10.0.1.1:4000 → 10.96.0.9:80 SYN DROPPED',
  )
  const world = { ...FLOW, sourcePod: undefined, sourceLabels: ['reserved:world'] }
  t.match(flowLine(world as unknown as FlowView, { isWide: false }), '10.0.1.1:4000 (world) →')
  const ipv6 = { ...FLOW, source: '::', destination: '::', sample: `${'00'.repeat(12)}86dd60` }
  t.match(flowLine(ipv6, { isWide: false }), ' IPv6 frame DROPPED')
  t.equal(
    hexText(FLOW.sample, FLOW.bytes),
    [
      '  0x0000  0011 2233 4455 6677 8899 aabb ccdd eeff   .."3DUfw........',
      '  0x0010  41ff                                      A.',
      '  … 2 bytes more were not kept',
    ].join('\n'),
  )
})

t.test('a change tells the innermost values that differ', async (t) => {
  const service = {
    name: 'web',
    backends: [{ address: '10.0.1.2', port: 80 }],
    algorithm: 'random',
  }
  const object = (spec: object) => ({ kind: 'Service', name: 'default/web', spec })
  const change = {
    action: 'update',
    kind: 'Service',
    name: 'default/web',
    fields: ['service'],
    before: object({ service }),
    after: object({ service: { ...service, backends: [{ address: '10.0.1.2', port: 81 }] } }),
  } as unknown as Parameters<typeof changeText>[0]
  t.equal(changeText(change), '~ Service default/web\n    service.backends[0].port: 80 → 81')
})

t.end()
