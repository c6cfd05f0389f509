/** Commands that explain: trace a packet, replay a capture, tell why a packet was dropped. */
import { readFileSync } from 'node:fs'
import { type Command, Option } from 'commander'
import type { EndpointRowView } from '../observe/endpoint-view.js'
import type { Explanation } from '../observe/explain.js'
import type { PacketDescription } from '../observe/packet-description.js'
import type { ReplayedFrame } from '../observe/replay.js'
import type { Why } from '../observe/why.js'
import { Client, CommandError, ExitCode, socketOf, stateDirectoryOf } from './client.js'
import { type ShowOptions, wholeNumber, withOutput } from './options.js'
import { clean, paint, print, printValue } from './output.js'
import { openSource, withQuery } from './source.js'

interface TraceOptions extends ShowOptions {
  readonly in?: string
  readonly from?: string
  readonly to?: string
  readonly protocol: 'tcp' | 'udp' | 'icmp'
  readonly sourcePort?: number
  readonly flags?: string
  readonly ttl?: number
  readonly pcap?: string
  readonly frame: number
}

export function addExplainCommands(program: Command): void {
  addTrace(program)
  addReplay(program)
  const why = program
    .command('why')
    .description('explain a drop or another flow by its number')
    .argument(
      '<number>',
      'as `ringpath drops` and `ringpath flows` show it',
      wholeNumber(1, 2 ** 53),
    )
  withOutput(why).action(async (id: number, options: ShowOptions) => {
    const client = new Client(socketOf(options))
    const answer = await client.json<Why>('GET', `/v1/flows/${id}/explanation`)
    printValue(answer, options.output, () => whyText(answer))
  })
}

function addTrace(program: Command): void {
  const trace = program
    .command('trace')
    .description('what would become of a packet, stage by stage; nothing is sent')
    .option(
      '--in <endpoint>',
      'it comes in by this endpoint’s port: name, id, address; "host"; an uplink’s device',
    )
    .option('--from <address>', 'source (the endpoint’s own address)')
    .option('--to <address:port>', 'destination: an address or an endpoint’s name, and a port')
    .addOption(
      new Option('-p, --protocol <protocol>', 'of the packet')
        .choices(['tcp', 'udp', 'icmp'])
        .default('tcp'),
    )
    .option('--source-port <port>', 'source port (40000)', wholeNumber(0, 65_535))
    .option('--flags <flags>', 'TCP flags, such as SYN,ACK (SYN)')
    .option('--ttl <hops>', 'time to live (64)', wholeNumber(0, 255))
    .option('--pcap <file>', 'instead of a description: a frame of a capture')
    .option('--frame <number>', 'which one, from 1', wholeNumber(1, 2 ** 31), 1)
  withOutput(trace).action(runTrace)
}

async function runTrace(options: TraceOptions): Promise<void> {
  const explanation =
    options.pcap === undefined ? await traceDescription(options) : await traceFrame(options)
  printValue(explanation, options.output, () => explanationText(explanation))
  if (explanation.verdict === 'DROPPED') process.exitCode = ExitCode.DROPPED
}

async function traceDescription(options: TraceOptions): Promise<Explanation> {
  const description = describe(options)
  const source = await openSource(options)
  if (source.client !== undefined) {
    const body = { type: 'application/json', bytes: JSON.stringify(description) }
    return source.client.json<Explanation>('POST', '/v1/trace', body)
  }
  const endpoints = await source.get<EndpointRowView[]>('/v1/endpoints')
  const { traceOffline } = await import('./explain-offline.js')
  return traceOffline(stateDirectoryOf(options), description, endpoints)
}

function describe(options: TraceOptions): PacketDescription {
  const { to, from, protocol, sourcePort, flags, ttl } = options
  if (options.in === undefined || to === undefined) {
    throw new CommandError(
      'give --in and --to, or --pcap (see ringpath trace --help)',
      ExitCode.USAGE,
    )
  }
  const [, destination = to, port] = /^(.*?)(?::(\d+))?$/.exec(to) ?? []
  if (port === undefined && protocol !== 'icmp') {
    throw new CommandError(`--to ${to}: expected a port too, such as ${to}:80`, ExitCode.USAGE)
  }
  const [what, most] = protocol === 'icmp' ? ['type', 255] : ['port', 65_535]
  if (Number(port ?? 0) > most) {
    throw new CommandError(`--to ${to}: expected a ${what} from 0 to ${most}`, ExitCode.USAGE)
  }
  const fields = {
    source: from,
    sourcePort,
    destinationPort: port === undefined ? undefined : Number(port),
    tcpFlags: flags,
    ttl,
  }
  const given = Object.entries(fields).filter(([, value]) => value !== undefined)
  return { in: options.in, destination, protocol, ...Object.fromEntries(given) }
}

async function traceFrame(options: TraceOptions): Promise<Explanation> {
  for await (const frame of replayed(options, options.pcap ?? '')) {
    if (frame.number === options.frame) return frame.explanation
  }
  throw new CommandError(`${options.pcap}: no frame ${options.frame}`)
}

interface ReplayOptions extends ShowOptions {
  readonly in?: string
  readonly stages: boolean
}

function addReplay(program: Command): void {
  const command = program
    .command('replay')
    .description('run a capture through the node’s state: what would pass, and why not')
    .argument('<file>', 'pcap or pcapng')
    .option('--in <endpoint>', 'every frame comes in by this port; else by that of its source MAC')
    .option('--stages', 'every stage of every frame', false)
  withOutput(command).action(async (file: string, options: ReplayOptions) => {
    const counts = new Map<string, number>()
    for await (const frame of replayed(options, file)) {
      const { verdict, dropReason } = frame.explanation
      const name = verdict === 'DROPPED' ? `DROPPED ${dropReason}` : verdict
      counts.set(name, (counts.get(name) ?? 0) + 1)
      if (options.output === 'json') print(JSON.stringify(frame))
      else print(replayText(frame, options.stages))
    }
    if (options.output === 'json') return
    print([...counts].map(([name, count]) => `${count} ${name}`).join(', ') || 'no frames')
  })
}

async function* replayed(
  options: ShowOptions & { readonly in?: string },
  file: string,
): AsyncGenerator<ReplayedFrame> {
  const source = await openSource(options)
  const bytes = readCaptureFile(file)
  if (source.client !== undefined) {
    const query = options.in === undefined ? {} : { in: options.in }
    const body = { type: 'application/vnd.tcpdump.pcap', bytes }
    for await (const line of source.client.lines(withQuery('/v1/replay', query), body)) {
      yield JSON.parse(line) as ReplayedFrame
    }
    return
  }
  const directory = stateDirectoryOf(options)
  const endpoints = await source.get<EndpointRowView[]>('/v1/endpoints')
  const { replayOffline } = await import('./explain-offline.js')
  yield* replayOffline(directory, bytes, endpoints, options.in)
}

function readCaptureFile(file: string): Uint8Array {
  try {
    return readFileSync(file)
  } catch (error) {
    throw new CommandError((error as Error).message)
  }
}

export const explanationText = (explanation: Explanation): string =>
  `${stepsText(explanation)}\n\n${verdictText(explanation)}`

function stepsText(explanation: Explanation): string {
  const lines = [paint.bold(clean(explanation.packet)), `from ${explanation.ingress}`, '']
  for (const { stage, number, purpose, notes, outcome } of explanation.steps) {
    const title = number < 0 ? stage : `${number} ${stage}`
    lines.push(`${paint.bold(title)} ${paint.dim(purpose)}`)
    lines.push(...notes.map((note) => `    ${clean(note)}`), `    ${paint.dim(outcome)}`)
  }
  return lines.join('\n')
}

const headOf = ({ dropCode, dropReason, dropText }: Explanation): string =>
  `${paint.red('DROPPED')} ${dropCode} ${dropReason}: ${dropText}`

function verdictText(explanation: Explanation): string {
  const { verdict, egress, packetOut, advice } = explanation
  if (verdict === 'FORWARDED') {
    return `${paint.green('FORWARDED')} to ${egress}\nas ${clean(packetOut ?? '')}`
  }
  if (verdict === 'CONSUMED') return `${paint.green('ANSWERED')} by the datapath itself`
  const { because, remedy } = explanation
  const lines = [
    ...(egress === undefined ? [] : [`its sender is answered: ${clean(packetOut ?? '')}`]),
    ...(advice === undefined || advice === '' || because !== undefined ? [] : [advice]),
    ...(because === undefined ? [] : [`${paint.bold('because:')} ${clean(because)}`]),
    ...(remedy === undefined ? [] : [`${paint.bold('to do:')} ${clean(remedy)}`]),
  ]
  const told = lines.map((line) => `\n${line}`).join('')
  return `${headOf(explanation)}${told}`
}

function replayText({ number, seconds, explanation }: ReplayedFrame, stages: boolean): string {
  const { packet, verdict, dropReason, egress } = explanation
  const what =
    verdict === 'DROPPED' ? paint.red(`DROPPED ${dropReason}`) : `${verdict} ${egress ?? ''}`
  const line = `${number} ${seconds.toFixed(6)} ${clean(packet)} ${what}`.trimEnd()
  return stages ? `${line}\n${explanationText(explanation)}\n` : line
}

function whyText({ flow, answer, because, now }: Why): string {
  const lines = answer.map((line, i) => (i === 0 ? paint.bold(clean(line)) : whyLine(line)))
  if (now === undefined) return lines.join('\n')
  // What is told above already is not told again.
  const isSame = because !== undefined && now.dropCode === flow.dropCode
  const text = stepsText(now)
  return [
    ...lines,
    '',
    'The same packet through the node as it is now:',
    isSame ? `${text}\n\n${headOf(now)}` : `${text}\n\n${verdictText(now)}`,
  ].join('\n')
}

const LABELLED = /^(because|to do):/

const whyLine = (line: string): string =>
  clean(line).replace(LABELLED, (label) => paint.bold(label))
