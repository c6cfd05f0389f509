/** Commands that show what happens to packets: drops, flows, monitor. */
import type { Command } from 'commander'
import type { FlowView } from '../observe/flow-view.js'
import type { CountedReason } from '../observe/node-view.js'
import { CommandError, ExitCode } from './client.js'
import { LiveDrops } from './drops-live.js'
import { FlowFile } from './flow-file.js'
import { type FilterOptions, FlowFilterOptions } from './flow-options.js'
import { flowLine, verdictText } from './flow-text.js'
import { type ShowOptions, wholeNumber, withOutput } from './options.js'
import { print, printRows, yamlText } from './output.js'
import { openSource, type Source } from './source.js'

const KEPT_MAX = 8_192
const LAST_DEFAULT = 20

interface FlowOptions extends ShowOptions, FilterOptions {
  readonly last?: number
  readonly all: boolean
  readonly follow: boolean
  readonly numeric: boolean
  readonly hex: boolean
  readonly write?: string
}

interface DropOptions extends FlowOptions {
  readonly live: boolean
  readonly interval: number
  readonly seconds?: number
}

export function addFlowCommands(program: Command): void {
  const drops = program
    .command('drops')
    .description('dropped packets: how many for which reason, and the last ones; live')
    .option('-l, --live', 'go on: rates by reason, the last packet of each, the last frames', false)
    .option('--interval <seconds>', 'with --live: between two looks', wholeNumber(1, 3_600), 1)
    .option('--seconds <seconds>', 'with --live: end after so long', wholeNumber(1, 86_400))
  const dropFilters = withFilters(drops)
  drops.action((options: DropOptions) => showDrops(options, dropFilters))

  const flows = program
    .command('flows')
    .description('what packets were seen: first and last ones of connections, verdicts, drops')
  const flowFilters = withFilters(flows)
  flows.action(async (options: FlowOptions) => {
    await showFlows(await openSource(options), options, flowFilters, '/v1/flows')
  })

  const monitor = program.command('monitor').description('every event as it comes (flows --follow)')
  const monitorFilters = withFilters(monitor)
  monitor.action(async (options: FlowOptions) => {
    const following = { ...options, last: options.last ?? 0, follow: true }
    await showFlows(await openSource(options), following, monitorFilters, '/v1/flows')
  })
}

function withFilters(command: Command): FlowFilterOptions {
  withOutput(command)
    .option(
      '-n, --last <count>',
      `so many of those that are kept (${LAST_DEFAULT}; all with --since; 0 of monitor)`,
      wholeNumber(0, KEPT_MAX),
    )
    .option('--all', 'all that are kept', false)
    .option('-f, --follow', 'go on with those to come', false)
    .option('-N, --numeric', 'addresses alone, without names of pods and services', false)
    .option('-x, --hex', 'the first bytes of each frame, too', false)
    .option('-w, --write <file>', 'also as pcapng: the first 128 bytes of each')
  const filters = new FlowFilterOptions()
  filters.addTo(command)
  return filters
}

async function showDrops(options: DropOptions, filters: FlowFilterOptions): Promise<void> {
  const source = await openSource(options)
  const isWanted = filters.reasons ?? (() => true)
  const isCounted = ({ code, reason }: CountedReason): boolean => code > 0 && isWanted(code, reason)
  if (options.live) {
    const path = pathOf('/v1/drops', { ...options, follow: true }, filters)
    const client = agentOf(source)
    const live = { ...options, isWide: options.output === 'wide', isCounted }
    await new LiveDrops(client, path, { ...live, last: lastOf(options) }).run()
    process.exit(ExitCode.OK)
  }
  if (options.output === 'table' || options.output === 'wide') {
    const counters = await source.get<CountedReason[]>('/v1/counters')
    const drops = counters.filter(isCounted).sort((a, b) => b.packets - a.packets)
    if (drops.length === 0) print('nothing was dropped')
    else printDrops(drops, options)
    if (source.client === undefined) {
      console.error('no agent runs: counters are the files’; nobody keeps the packets')
      return
    }
    print('')
  }
  await showFlows(source, options, filters, '/v1/drops')
}

function printDrops(drops: readonly CountedReason[], { output }: ShowOptions): void {
  printRows(
    drops,
    [
      { title: 'PACKETS', value: (r) => r.packets, isNumber: true },
      { title: 'CODE', value: (r) => r.code, isNumber: true },
      { title: 'REASON', value: (r) => r.reason },
      { title: 'DIRECTION', value: (r) => r.direction },
      { title: 'MEANING', value: (r) => r.text },
      { title: 'BYTES', value: (r) => r.bytes, isWide: true },
    ],
    output,
  )
}

async function showFlows(
  source: Source,
  options: FlowOptions,
  filters: FlowFilterOptions,
  path: string,
): Promise<void> {
  const client = agentOf(source)
  const query = pathOf(path, options, filters)
  await noteUnknownPods(source, filters)
  const file = options.write === undefined ? undefined : await FlowFile.create(options.write)
  const isWide = options.output === 'wide'
  for await (const line of client.lines(query)) {
    const flow = JSON.parse(line) as FlowView | { lost: number }
    if (file !== undefined && !('lost' in flow)) file.add(flow, verdictText(flow))
    if (options.output === 'json') print(line)
    else if (options.output === 'yaml') print(`---\n${yamlText(flow)}`)
    else print(flowLine(flow, { ...options, isWide }))
  }
  file?.close()
}

function agentOf({ client }: Source) {
  if (client !== undefined) return client
  throw new CommandError('no agent runs, and nobody else keeps flows', ExitCode.UNREACHABLE)
}

const lastOf = ({ last, all, since }: FlowOptions): number =>
  last ?? (all || since !== undefined ? KEPT_MAX : LAST_DEFAULT)

function pathOf(path: string, options: FlowOptions, filters: FlowFilterOptions): string {
  const query = new URLSearchParams([
    ['last', `${lastOf(options)}`],
    ['follow', `${options.follow}`],
    ...filters.query(options).map(([name, value]): [string, string] => [name, value]),
  ])
  return `${path}?${query}`
}

async function noteUnknownPods(source: Source, { pods }: FlowFilterOptions): Promise<void> {
  if (pods.length === 0) return
  const names = (await source.get<{ name: string }[]>('/v1/endpoints')).map(({ name }) => name)
  for (const pod of pods) {
    const prefix = pod.includes('/') ? pod : `default/${pod}`
    if (names.some((name) => name.startsWith(prefix))) continue
    console.error(`note: no endpoint here is named ${prefix}… (${names.join(', ')})`)
  }
}
