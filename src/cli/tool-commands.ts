/** Tools: metrics, top, log-level, bugreport, completion, version. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import { VERSION } from '../base/version.js'
import { LOG_LEVELS } from '../daemon/log-level.js'
import type { EndpointRowView } from '../observe/endpoint-view.js'
import type { MapRowView } from '../observe/map-view.js'
import type { ConnectionView } from '../observe/table-view.js'
import { Client, CommandError, ExitCode, socketOf, stateDirectoryOf } from './client.js'
import { completionScript, SHELLS } from './completion.js'
import { type ShowOptions, wholeNumber, withNode, withOutput } from './options.js'
import { byteText, print, printRows, tableText } from './output.js'
import { allRows, openSource, type Source } from './source.js'

export function addToolCommands(program: Command): void {
  const metrics = program.command('metrics').description('the metrics, as Prometheus gets them')
  withNode(metrics).action(async (options: ShowOptions) => {
    print((await new Client(socketOf(options)).text('GET', '/v1/metrics')).trimEnd())
  })
  addTop(program)
  const level = program
    .command('log-level')
    .description('show or set the level of the agent’s log')
    .argument('[level]', LOG_LEVELS.join(', '))
  withNode(level).action(async (text: string | undefined, options: ShowOptions) => {
    const client = new Client(socketOf(options))
    const body = { type: 'application/json', bytes: JSON.stringify({ level: text }) }
    const answer = await (text === undefined
      ? client.json<{ level: string }>('GET', '/v1/log-level')
      : client.json<{ level: string }>('PUT', '/v1/log-level', body))
    print(answer.level)
  })
  program
    .command('version')
    .description('versions of this command, Node and the kernel’s interface')
    .action(() =>
      print(`ringpath ${VERSION}, Node ${process.version}, ${process.platform} ${process.arch}`),
    )
  addBugReport(program)
  program
    .command('completion')
    .description('a completion script for your shell')
    .argument('<shell>', SHELLS.join(', '))
    .addHelpText('after', '\nExample:\n  source <(ringpath completion bash)')
    .action((shell: string) => {
      const script = completionScript(program, shell)
      if (script === undefined) {
        throw new CommandError(
          `shell: '${shell}', expected one of ${SHELLS.join(', ')}`,
          ExitCode.USAGE,
        )
      }
      print(script)
    })
}

interface TopOptions extends ShowOptions {
  readonly count: number
  readonly seconds: number
}

function addTop(program: Command): void {
  const top = program
    .command('top')
    .description('who fills the tables and sends the most, over a moment')
    .option('-n, --count <rows>', 'rows of each list', wholeNumber(1, 1_000), 10)
    .option('--seconds <seconds>', 'how long to look', wholeNumber(1, 60), 1)
  withOutput(top).action(async (options: TopOptions) => {
    const source = await openSource(options)
    const before = await looked(source)
    await sleep(options.seconds * 1_000)
    const after = await looked(source)
    const busiest = busiestFlows(before.flows, after.flows, options)
    const answer = {
      endpoints: portRates(before.endpoints, after.endpoints, options),
      flows: busiest,
      talkers: talkers(after.flows).slice(0, options.count),
      maps: after.maps
        .filter(({ pressure }) => pressure > 0)
        .sort((a, b) => b.pressure - a.pressure),
    }
    if (options.output === 'json' || options.output === 'yaml') {
      printRows([answer], [], options.output)
      return
    }
    print(topText(answer))
  })
}

async function looked(source: Source) {
  return {
    endpoints: await source.get<EndpointRowView[]>('/v1/endpoints'),
    flows: await allRows<ConnectionView>(source, '/v1/conntrack'),
    maps: await source.get<MapRowView[]>('/v1/maps'),
  }
}

const keyOf = (c: ConnectionView): string => `${c.side} ${c.protocol} ${c.source} ${c.destination}`

function busiestFlows(
  before: readonly ConnectionView[],
  after: readonly ConnectionView[],
  { seconds, count }: TopOptions,
) {
  const old = new Map(before.map((c) => [keyOf(c), c]))
  return after
    .map((c) => ({
      flow: keyOf(c),
      packetsPerSecond: Math.round((c.packets - (old.get(keyOf(c))?.packets ?? 0)) / seconds),
      bytesPerSecond: Math.round((c.bytes - (old.get(keyOf(c))?.bytes ?? 0)) / seconds),
    }))
    .filter(({ packetsPerSecond }) => packetsPerSecond > 0)
    .sort((a, b) => b.bytesPerSecond - a.bytesPerSecond)
    .slice(0, count)
}

/** Who has how many entries in the connection table: that is who fills it. */
function talkers(flows: readonly ConnectionView[]) {
  const counts = new Map<string, number>()
  for (const { source } of flows) {
    const address = source.slice(0, source.lastIndexOf(':'))
    counts.set(address, (counts.get(address) ?? 0) + 1)
  }
  return [...counts]
    .sort(([, a], [, b]) => b - a)
    .map(([address, connections]) => ({ address, connections }))
}

function portRates(
  before: readonly EndpointRowView[],
  after: readonly EndpointRowView[],
  { seconds, count }: TopOptions,
) {
  const old = new Map(before.map((row) => [row.port, row]))
  const rate = (now: number, then: number | undefined): number =>
    Math.round((now - (then ?? now)) / seconds)
  return after
    .map((row) => ({
      endpoint: row.name,
      device: row.device,
      receivedPerSecond: rate(row.receivedFrames, old.get(row.port)?.receivedFrames),
      sentPerSecond: rate(row.sentFrames, old.get(row.port)?.sentFrames),
      lostPerSecond: rate(row.dropped, old.get(row.port)?.dropped),
    }))
    .sort((a, b) => b.receivedPerSecond - a.receivedPerSecond)
    .slice(0, count)
}

interface Top {
  readonly endpoints: ReturnType<typeof portRates>
  readonly flows: ReturnType<typeof busiestFlows>
  readonly talkers: ReturnType<typeof talkers>
  readonly maps: readonly MapRowView[]
}

function topText({ endpoints, flows, talkers: list, maps }: Top): string {
  const tables = [
    tableText(
      endpoints,
      [
        { title: 'ENDPOINT', value: (r) => r.endpoint },
        { title: 'DEVICE', value: (r) => r.device },
        { title: 'RX/S', value: (r) => r.receivedPerSecond },
        { title: 'TX/S', value: (r) => r.sentPerSecond },
        { title: 'LOST/S', value: (r) => r.lostPerSecond },
      ],
      false,
    ),
    tableText(
      flows,
      [
        { title: 'BUSIEST CONNECTIONS', value: (r) => r.flow },
        { title: 'PACKETS/S', value: (r) => r.packetsPerSecond },
        { title: 'BYTES/S', value: (r) => byteText(r.bytesPerSecond) },
      ],
      false,
    ),
    tableText(
      list,
      [
        { title: 'SOURCE', value: (r) => r.address },
        { title: 'CONNECTION ENTRIES', value: (r) => r.connections },
      ],
      false,
    ),
    tableText(
      maps,
      [
        { title: 'MAP', value: (r) => r.name },
        { title: 'USED', value: (r) => `${(r.pressure * 100).toFixed(1)} %` },
        { title: 'EVICTED', value: (r) => r.evictions },
      ],
      false,
    ),
  ]
  return tables.join('\n\n')
}

const REPORT_PATHS = [
  'status',
  'config',
  'objects',
  'endpoints',
  'services',
  'policies',
  'identities',
  'ipcache',
  'maps',
  'counters',
  'drops',
]

function addBugReport(program: Command): void {
  const report = program
    .command('bugreport')
    .description('gather what a report of a bug needs into a directory')
    .argument('[directory]', 'where to', './ringpath-bugreport')
  withNode(report)
    .addHelpText(
      'after',
      '\nIt holds addresses, labels and policies of this node: read it before you give it away.',
    )
    .action(async (directory: string, options: ShowOptions) => {
      mkdirSync(directory, { recursive: true, mode: 0o700 })
      const source = await openSource(options)
      for (const name of REPORT_PATHS) await writePart(source, directory, name)
      const log = join(stateDirectoryOf(options), 'datapath.log')
      write(directory, 'datapath.log', () => readFileSync(log, 'utf8'))
      write(directory, 'version.txt', () => `ringpath ${VERSION}\nNode ${process.version}\n`)
      print(`written to ${directory}`)
    })
}

async function writePart(source: Source, directory: string, name: string): Promise<void> {
  let text: string
  try {
    const isLines = name === 'drops' && source.client !== undefined
    text = isLines
      ? ((await source.client?.text('GET', '/v1/drops?last=1000')) ?? '')
      : JSON.stringify(await source.get(`/v1/${name}`), null, 2)
  } catch (error) {
    text = `${(error as Error).message}\n`
  }
  write(directory, `${name}.json`, () => text)
}

function write(directory: string, name: string, text: () => string): void {
  let content: string
  try {
    content = text()
  } catch (error) {
    content = `${(error as Error).message}\n`
  }
  writeFileSync(join(directory, name), content, { mode: 0o600 })
}
