/**
 * `ringpath capture`: whole frames at ports, stages and drops as pcapng, with what became of each as a
 * comment. It asks the agent, or the files of the node when no agent runs.
 */
import { once } from 'node:events'
import { accessSync, closeSync, constants, existsSync, openSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { type Command, Option } from 'commander'
import { ErrorCode, RingpathError } from '../base/errors.js'
import type { CaptureLimits, CaptureStatus } from '../daemon/capture-service.js'
import type { CaptureRequest } from '../observe/capture-request.js'
import { type Client, CommandError, ExitCode, type NodeChoice, stateDirectoryOf } from './client.js'
import { wholeNumber, withNode } from './options.js'
import { print } from './output.js'
import { openSource } from './source.js'

interface CaptureOptions extends NodeChoice {
  readonly write?: string
  readonly at?: readonly string[]
  readonly snap?: number
  readonly buffer?: number
  readonly verdict?: 'forwarded' | 'dropped'
  readonly reason?: string
  readonly from?: string
  readonly to?: string
  readonly ip?: string
  readonly port?: number
  readonly fromPort?: number
  readonly toPort?: number
  readonly protocol?: string
  readonly identity?: number
  readonly count?: number
  readonly seconds?: number
  readonly stop?: boolean
}

type Wanted = CaptureRequest & CaptureLimits

/** Where the bytes come from, and how it is ended and told of. */
interface Capture {
  readonly chunks: AsyncIterable<Uint8Array>
  stop(): Promise<void>
  status(): Promise<CaptureStatus>
}

const HELP = `
Points (--at, several by commas or by repeating it; any unless given):
  any, any:in, any:out            every port, as frames come in, as they leave
  client, client:in, client:out   one port: an endpoint, "host", or an uplink's device
  stage:IPV4_CT_EGRESS            as a stage gets it (names as \`ringpath trace\` shows them)
  drops                           as it was when it was dropped

Each frame's comment says where it was captured, what became of its packet, the last stage, the
rule, and both identities. Conditions are asked of the frame as it is at each point; a packet that
meets them is followed from there on, whatever its addresses become. Established flows take a short
cut past the stages (the flow lane): at ports their frames are captured and say so; while a capture
asks for a stage or an identity, every packet takes the whole chain.

There is one capture at a time; it goes on until --count, --seconds, Ctrl-C, or --stop.

Examples:
  ringpath capture -w web.pcapng --at client,web --port 80 --seconds 10
  ringpath capture -w drops.pcapng --at drops --reason POLICY_DENIED
  ringpath capture -w - --at stage:IPV4_TO_ENDPOINT --snap 96 | tshark -r - -V
  ringpath capture --stop`

export function addCaptureCommand(program: Command): void {
  const port = wholeNumber(0, 65_535)
  const command = program
    .command('capture')
    .description('whole frames of ports, stages or drops as pcapng, with their fate as comments')
    .option('-w, --write <file>', 'the pcapng file; - for standard output')
    .option('--at <points>', 'where: see below', listed)
    .option('--snap <bytes>', 'keep so many bytes of a frame (all)', wholeNumber(14, 2_112))
    .option('--buffer <mebibytes>', 'memory between datapath and reader (16)', wholeNumber(1, 256))
    .addOption(
      new Option('--verdict <verdict>', 'only these packets').choices(['forwarded', 'dropped']),
    )
    .option('--reason <reason>', 'drop reason, by name or number')
    .option('--from <address>', 'source: an IPv4 address or prefix')
    .option('--to <address>', 'destination')
    .option('--ip <address>', 'either side')
    .option('--port <port>', 'either side', port)
    .option('--from-port <port>', 'source port', port)
    .option('--to-port <port>', 'destination port', port)
    .option('--protocol <protocol>', 'tcp, udp, icmp, sctp, or a number')
    .option('--identity <number>', 'either side', wholeNumber(1, 2 ** 24 - 1))
    .option('--count <frames>', 'end after so many', wholeNumber(1, 1_000_000_000))
    .option('--seconds <seconds>', 'end after so long', wholeNumber(1, 86_400))
    .option('--stop', 'end the capture that is on, whoever began it')
  withNode(command).addHelpText('after', HELP).action(capture)
}

const listed = (text: string, before: readonly string[] = []): readonly string[] => [
  ...before,
  ...text.split(',').map((part) => part.trim()),
]

async function capture(options: CaptureOptions): Promise<void> {
  await checkOptions(options)
  const { client } = await openSource(options)
  if (options.stop === true) {
    await stopRunning(client, options)
    return
  }
  if (options.write === undefined) {
    throw new CommandError('where to? give -w FILE, or -w - for a pipe', ExitCode.USAGE)
  }
  const running = await (client === undefined
    ? captureFiles(options, wantedOf(options))
    : captureByAgent(client, wantedOf(options)))
  const end = (): void => {
    running.stop().catch(() => process.exit(ExitCode.FAILED))
  }
  process.once('SIGINT', end)
  process.once('SIGTERM', end)
  await store(running.chunks, options.write)
  const { frames, lost } = await running.status()
  const told =
    lost === 0 ? '' : `; ${lost} lost, for the ring was full: raise --buffer, lower --snap`
  process.stderr.write(`${frames} frames in ${options.write}${told}\n`)
  process.exit(ExitCode.OK)
}

const OPTION_OF: Readonly<Record<string, string>> = { source: 'from', destination: 'to' }

/** What is wrong on every node; ports have names that only this one knows. */
async function checkOptions(options: CaptureOptions): Promise<void> {
  if (options.write !== undefined && options.write !== '-') checkPlace(options.write)
  const { captureWish } = await import('../observe/capture-request.js')
  const stages = options.at?.filter((point) => /^stage:/i.test(point)) ?? []
  try {
    captureWish({ ...wantedOf(options), at: stages }, [])
  } catch (error) {
    const isWrong = error instanceof RingpathError && error.code === ErrorCode.CONFIG_INVALID
    if (!isWrong) throw error
    const text = error.message.replace(/^\w+/, (field) => `--${OPTION_OF[field] ?? field}`)
    throw new CommandError(text, ExitCode.USAGE)
  }
}

/** Touches no file: the capture may be refused yet. */
function checkPlace(path: string): void {
  try {
    accessSync(existsSync(path) ? path : dirname(path), constants.W_OK)
  } catch (error) {
    throw notWritten(path, error)
  }
}

function notWritten(path: string, error: unknown): CommandError {
  const text = 'expected a file that we may write, in a directory that is there'
  return new CommandError(`-w ${path}: ${text} (${(error as Error).message})`)
}

function wantedOf(options: CaptureOptions): Wanted {
  const fields = {
    at: options.at,
    snapBytes: options.snap,
    bufferMebibytes: options.buffer,
    verdict: options.verdict,
    reason: options.reason,
    source: options.from,
    destination: options.to,
    ip: options.ip,
    port: options.port,
    sourcePort: options.fromPort,
    destinationPort: options.toPort,
    protocol: options.protocol,
    identity: options.identity,
    count: options.count,
    seconds: options.seconds,
  }
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}

async function captureByAgent(client: Client, wanted: Wanted): Promise<Capture> {
  const body = { type: 'application/json', bytes: JSON.stringify(wanted) }
  return {
    chunks: client.bytes('/v1/capture', body),
    stop: async () => void (await client.text('DELETE', '/v1/capture')),
    status: () => client.json('GET', '/v1/capture'),
  }
}

/** The datapath needs no agent for it: the ring and the wish are files. */
async function captureFiles(options: NodeChoice, wanted: Wanted): Promise<Capture> {
  const { holderOf, Role } = await import('../daemon/process-lock.js')
  const directory = stateDirectoryOf(options)
  if (holderOf(directory, Role.DATAPATH) === undefined) {
    const text = `${directory}: neither agent nor datapath runs, and there are no frames to capture`
    throw new CommandError(text, ExitCode.UNREACHABLE)
  }
  const service = await serviceOf(options)
  return {
    chunks: service.begin(wanted, new AbortController().signal),
    stop: async () => void service.stop(),
    status: async () => service.status,
  }
}

async function serviceOf(options: NodeChoice) {
  const [{ CaptureService }, { NodeView }] = await Promise.all([
    import('../daemon/capture-service.js'),
    import('../observe/node-view.js'),
  ])
  return new CaptureService(NodeView.open(stateDirectoryOf(options), () => 0))
}

async function stopRunning(client: Client | undefined, options: NodeChoice): Promise<void> {
  if (client !== undefined) await client.text('DELETE', '/v1/capture')
  else if (!(await serviceOf(options)).stop()) throw new CommandError('no capture is on')
  print('ended')
}

async function store(chunks: AsyncIterable<Uint8Array>, path: string): Promise<void> {
  const isPipe = path === '-'
  let file: number | undefined
  try {
    for await (const chunk of chunks) {
      if (file === undefined) {
        // Not before the agent has agreed: a wrong wish must not empty a file. The first bytes come
        // when the datapath has taken it up.
        file = isPipe ? process.stdout.fd : opened(path)
        process.stderr.write('capturing; Ctrl-C ends it\n')
      }
      if (!isPipe) writeFileSync(file, chunk)
      else if (!process.stdout.write(chunk)) await once(process.stdout, 'drain')
    }
  } finally {
    if (file !== undefined && !isPipe) closeSync(file)
  }
}

function opened(path: string): number {
  try {
    return openSync(path, 'w', 0o600)
  } catch (error) {
    throw notWritten(path, error)
  }
}
