/** Commands that show what happens to packets: drops, flows, monitor. */
import { type Command, Option } from 'commander'
import type { Flow } from '../observe/flow.js'
import type { CountedReason } from '../observe/node-view.js'
import { CommandError, ExitCode } from './client.js'
import { FlowFile } from './flow-file.js'
import { type ShowOptions, wholeNumber, withOutput } from './options.js'
import { clean, paint, print, printRows, yamlText } from './output.js'
import { openSource, type Source, withQuery } from './source.js'

interface FlowOptions extends ShowOptions {
  readonly last: number
  readonly follow: boolean
  readonly verdict?: string
  readonly reason?: string
  readonly from?: string
  readonly to?: string
  readonly ip?: string
  readonly port?: number
  readonly protocol?: string
  readonly identity?: number
  readonly endpoint?: string
  readonly write?: string
}

const VERDICTS = ['forwarded', 'dropped', 'policy_allowed', 'policy_denied']

export function addFlowCommands(program: Command): void {
  const drops = program
    .command('drops')
    .description('dropped packets: how many for which reason, and the last ones')
  withFilters(drops)
    .addHelpText(
      'after',
      `
Each line begins with the number of the drop; \`ringpath why NUMBER\` explains it.

Examples:
  ringpath drops
  ringpath drops --reason POLICY_DENIED --ip 10.0.1.0/24 --follow`,
    )
    .action(showDrops)

  const flows = program
    .command('flows')
    .description('what packets were seen: first and last ones of connections, verdicts, drops')
  withFilters(flows)
    .addHelpText(
      'after',
      `
Examples:
  ringpath flows --follow --port 80
  ringpath flows --from 10.0.1.1 --verdict dropped -o json | jq .dropReason`,
    )
    .action((options: FlowOptions) => showFlows(options, '/v1/flows'))

  const monitor = program.command('monitor').description('every event as it comes (flows --follow)')
  withFilters(monitor).action((options: FlowOptions) =>
    showFlows({ ...options, last: 0, follow: true }, '/v1/flows'),
  )
}

function withFilters(command: Command): Command {
  return withOutput(command)
    .option('-n, --last <count>', 'so many of those that are kept', wholeNumber(0, 8_192), 20)
    .option('-f, --follow', 'go on with those to come', false)
    .addOption(new Option('--verdict <verdict>', 'only these').choices(VERDICTS))
    .option('--reason <reason>', 'drop reason, by name or number')
    .option('--from <address>', 'source: an address or prefix')
    .option('--to <address>', 'destination: an address or prefix')
    .option('--ip <address>', 'either side')
    .option('--port <port>', 'either side', wholeNumber(0, 65_535))
    .option('--protocol <protocol>', 'tcp, udp, icmp, sctp')
    .option('--identity <number>', 'either side', wholeNumber(0, 2 ** 32 - 1))
    .option('-w, --write <file>', 'also as pcapng: the first 128 bytes of each')
    .option('--endpoint <name>', 'whose policy was asked, by name or id')
}

async function showDrops(options: FlowOptions): Promise<void> {
  const source = await openSource(options)
  if (options.output === 'table' || options.output === 'wide') {
    const counters = await source.get<CountedReason[]>('/v1/counters')
    const drops = counters.filter(({ code }) => code > 0).sort((a, b) => b.packets - a.packets)
    printRows(
      drops,
      [
        { title: 'PACKETS', value: (r) => r.packets },
        { title: 'CODE', value: (r) => r.code },
        { title: 'REASON', value: (r) => r.reason },
        { title: 'DIRECTION', value: (r) => r.direction },
        { title: 'MEANING', value: (r) => r.text },
      ],
      options.output,
    )
    if (source.client === undefined) return
    print('')
  }
  await showFlowsOf(source, options, '/v1/drops')
}

const showFlows = async (options: FlowOptions, path: string): Promise<void> =>
  showFlowsOf(await openSource(options), options, path)

async function showFlowsOf(source: Source, options: FlowOptions, path: string): Promise<void> {
  const { client } = source
  if (client === undefined) {
    throw new CommandError('no agent runs, and nobody else keeps flows', ExitCode.UNREACHABLE)
  }
  const query = await queryOf(source, options)
  const file = options.write === undefined ? undefined : await FlowFile.create(options.write)
  for await (const line of client.lines(withQuery(path, query))) {
    const flow = JSON.parse(line) as Flow | { lost: number }
    if (file !== undefined && !('lost' in flow)) file.add(flow, verdictText(flow))
    if (options.output === 'json') print(line)
    else if (options.output === 'yaml') print(`---\n${yamlText(flow)}`)
    else print(flowLine(flow, options.output === 'wide'))
  }
  file?.close()
}

async function queryOf(source: Source, options: FlowOptions): Promise<Record<string, string>> {
  const { last, follow, verdict, reason, from, to, ip, port, protocol, identity } = options
  const fields = {
    verdict: verdict?.toUpperCase(),
    reason,
    source: from,
    destination: to,
    ip,
    port,
    protocol,
    identity,
    endpoint:
      options.endpoint === undefined ? undefined : await endpointId(source, options.endpoint),
  }
  const given = Object.entries(fields).filter(([, value]) => value !== undefined)
  const texts = given.map(([name, value]) => [name, `${value}`] as const)
  return { last: `${last}`, follow: `${follow}`, ...Object.fromEntries(texts) }
}

async function endpointId(source: Source, name: string): Promise<number> {
  const rows = await source.get<{ id: number; name: string }[]>('/v1/endpoints')
  const found = rows.find((r) => [`${r.id}`, r.name, r.name.replace('default/', '')].includes(name))
  if (found === undefined) throw new CommandError(`no endpoint '${name}'`)
  return found.id
}

export function flowLine(flow: Flow | { lost: number }, isWide: boolean): string {
  if ('lost' in flow) return paint.yellow(`… ${flow.lost} left out: this reader is too slow`)
  const at = flow.time.slice(11, 23)
  const end = (address: string, port: number): string =>
    flow.protocol === 'ICMP' || port === 0 ? address : `${address}:${port}`
  const from = end(flow.source, flow.sourcePort)
  const what = `${from} → ${end(flow.destination, flow.destinationPort)}`
  const flags = flow.tcpFlags === undefined ? '' : ` ${flow.tcpFlags}`
  const wide = isWide ? ` ${wideText(flow)}` : ''
  const line = `${flow.id} ${at} ${flow.protocol} ${what}${flags} ${verdictText(flow)}${wide}`
  const isBad = flow.verdict === 'DROPPED' || flow.verdict === 'POLICY_DENIED'
  return isBad ? paint.red(clean(line)) : clean(line)
}

function wideText(flow: Flow): string {
  const identities = `identity ${flow.sourceIdentity} → ${flow.destinationIdentity}`
  return `${identities}, ${flow.connection}, stage ${flow.stage}, ${flow.bytes} bytes`
}

function verdictText(flow: Flow): string {
  if (flow.verdict === 'FORWARDED') return `forwarded ${flow.observationPoint ?? ''}`
  if (flow.verdict === 'POLICY_ALLOWED') return `${flow.direction} policy: allowed`
  if (flow.verdict === 'POLICY_DENIED') return `${flow.direction} policy: denied ${flow.dropReason}`
  return `DROPPED ${flow.dropCode} ${flow.dropReason}`
}
