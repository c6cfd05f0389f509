/** `ringpath pktgen`: sends test traffic, counts it, finds the highest rate without loss. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { ErrorCode, RingpathError } from '../base/errors.js'
import { checkCore, checkSinkDevice } from '../pktgen/device.js'
import { planOf } from '../pktgen/plan.js'
import { printedFrames, writeCapture } from '../pktgen/preview.js'
import { runTraffic, SETTLE_SECONDS_DEFAULT, searchTraffic } from '../pktgen/run.js'
import { ENGINES } from '../pktgen/sender.js'
import { SINK_HOOKS, Sink } from '../pktgen/sink.js'
import { FLOWS_MAX, SECONDS_MAX, TRAFFIC_MODES } from '../pktgen/traffic-spec.js'
import { CommandError, ExitCode } from './client.js'
import { wholeNumber } from './options.js'
import { print } from './output.js'
import { isDryRun, type PktgenOptions, searchRangeOf, trafficPlanOf } from './pktgen-options.js'
import { intervalText, resultText, searchText, sinkText, trialText } from './pktgen-report.js'

const PRINTED_DEFAULT = 5
const WRITTEN_DEFAULT = 1_000
const FRAMES_SHOWN_MAX = 1_000_000
const CORES_MAX = 1_023
const QUEUES_MAX = 63

const numberFrom =
  (low: number, high: number) =>
  (text: string): number => {
    const value = Number(text)
    if (text.trim() !== '' && value >= low && value <= high) return value
    throw new InvalidArgumentError(`Expected a number from ${low} to ${high}.`)
  }

export function addPktgenCommand(program: Command): void {
  const command = program
    .command('pktgen')
    .description('send test traffic, count it, find the highest rate without loss')
  addTrafficOptions(command)
  addSinkOptions(command)
  addShowOptions(command)
  command
    .addHelpText(
      'after',
      `
It sends from the device that you name and no other, and from one with the default route only when
told to. --sink counts at the other end; alone it counts until Ctrl-C. docs/pktgen.md has more.

Examples:
  ringpath pktgen --to 10.0.0.2 --size imix --flows 3 --print       shows frames, sends nothing
  ringpath pktgen --device eth0 --to 10.0.0.2 --rate 100k           10 seconds of UDP
  ringpath pktgen --device eth0 --to 10.0.0.2:80 --mode syn --flows 50000 --rate 1M
  ringpath pktgen --device v0 --to 10.0.0.2 --sink v1 --search      RFC 2544: rate without loss`,
    )
    .action((options: PktgenOptions) => pktgen(options).catch(explained))
}

function addTrafficOptions(command: Command): void {
  command
    .option('--device <name>', 'send from here')
    .option('--to <address[:port]>', 'where to; each may be a range: 10.0.0.2-10.0.0.5:80-89')
    .option('--from <address[:port]>', 'from where; the device’s own address, ports 1024-65535')
    .option('--to-mac <mac>', 'the next hop; what the kernel has for it, unless told')
    .option('--from-mac <mac>', 'the device’s own unless told')
    .addOption(new Option('--mode <mode>', 'kind of traffic').choices(TRAFFIC_MODES).default('udp'))
    .option('--flows <number>', 'ports, then addresses, in turn', wholeNumber(1, FLOWS_MAX), 1)
    .option('--size <bytes>', '60 to 1522, "imix", or a mix: 60:7,590:4,1514:1')
    .option('--rate <rate>', 'frames a second: 500k, 1.5M; bits: 1Gbit; or max', '1000')
    .option('--count <frames>', 'end after so many', wholeNumber(0, Number.MAX_SAFE_INTEGER), 0)
    .option('--seconds <seconds>', 'end after so long; 10 unless told', numberFrom(0, SECONDS_MAX))
    .option(
      '--connection-frames <n>',
      'of mode connection: SYN, data, FIN',
      wholeNumber(3, 1e6),
      10,
    )
    .option('--vlan <id>', 'with a VLAN tag', wholeNumber(0, 4_094), 0)
    .option('--no-timestamps', 'no time of sending in the frames: faster, and no latency')
    .option('--no-udp-checksum', 'zero instead')
    .addOption(
      new Option('--engine <engine>', 'in the kernel by XDP, from Node, or the kernel’s pktgen')
        .choices(ENGINES)
        .default('xdp'),
    )
    .option('--core <number>', 'the core to send on', wholeNumber(0, CORES_MAX))
    .option('--queue <number>', 'of af-xdp and pktgen', wholeNumber(0, QUEUES_MAX), 0)
    .option('--allow-default-route', 'the device may have the default route', false)
}

function addSinkOptions(command: Command): void {
  command
    .option('--sink <device>', 'count what arrives there, and drop it')
    .addOption(
      new Option('--sink-hook <hook>', 'where it is counted').choices(SINK_HOOKS).default('xdp'),
    )
    .option('--sink-namespace <name>', 'the network namespace of the sink’s device')
    .option('--sink-plain', 'count frames and bytes alone: faster', false)
    .option(
      '--settle <seconds>',
      'how long to wait for what is under way',
      numberFrom(0, 60),
      SETTLE_SECONDS_DEFAULT,
    )
    .option('--search', 'find the highest rate without loss', false)
    .option('--trial <seconds>', 'length of each trial', numberFrom(0.1, 3_600), 10)
    .option('--resolution <percent>', 'ends the search', numberFrom(0.01, 50), 1)
    .option('--loss-tolerance <percent>', 'of frames that may be lost', numberFrom(0, 100), 0)
    .option('--attempts <number>', 'losing trials that refuse a rate', wholeNumber(1, 10), 1)
    .option('--search-from <rate>', 'lowest', '1000')
    .option('--search-to <rate>', 'highest', '20M')
}

function addShowOptions(command: Command): void {
  command
    .option('--print [frames]', 'show the first frames, send nothing', wholeNumber(1, 10_000))
    .option('-w, --write <file>', 'write frames to a .pcap or .pcapng file, send nothing')
    .addOption(
      new Option('-o, --output <format>', 'table, or JSON lines')
        .choices(['table', 'json'])
        .default('table'),
    )
}

async function pktgen(options: PktgenOptions): Promise<void> {
  if (isDryRun(options)) {
    showFrames(options)
    return
  }
  if (options.device === undefined && options.sink !== undefined) {
    await onlyCount(options, options.sink)
    return
  }
  const plan = trafficPlanOf(options)
  if (options.search && options.sink === undefined) {
    throw new CommandError('--search: needs --sink, to know what was lost', ExitCode.USAGE)
  }
  if (options.search) searchRangeOf(options, plan.spec.sizes)
  if (options.core !== undefined) checkCore(options.core)
  const ending = abortOnSignal()
  const sink = await openSink(options, plan.spec.flows)
  try {
    if (options.search && sink !== undefined) await search(options, sink, ending)
    else await sendOnce(options, sink, ending)
  } finally {
    await sink?.close()
  }
}

/**
 * Options that cannot be are wrong usage, wherever that was found. Without root the kernel's
 * refusals are libbpf's, and plain to nobody.
 */
function explained(error: unknown): never {
  if (error instanceof RingpathError && error.code === ErrorCode.CONFIG_INVALID) {
    throw new CommandError(`--${error.message}`, ExitCode.USAGE)
  }
  const isRefused = error instanceof RingpathError && error.code === ErrorCode.GENERATOR
  if (!isRefused || process.geteuid?.() === 0) throw error
  throw new CommandError('sending and counting need root: run it with sudo')
}

/** The first Ctrl-C ends the run, and what was counted is told. */
function abortOnSignal(): AbortSignal {
  const controller = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => controller.abort())
  }
  return controller.signal
}

async function openSink(options: PktgenOptions, flows: number): Promise<Sink | undefined> {
  const { sink: device, sinkHook: hook, sinkNamespace: namespace, sinkPlain: isPlain } = options
  if (device === undefined) return undefined
  checkSinkDevice(device, namespace)
  return Sink.start({
    device,
    hook,
    flows,
    checks: isPlain ? 'nothing' : 'all',
    ...(namespace === undefined ? {} : { namespace }),
  })
}

function showFrames(options: PktgenOptions): void {
  const plan = trafficPlanOf(options)
  if (options.print !== undefined) {
    const count = options.print === true ? PRINTED_DEFAULT : options.print
    for (const line of printedFrames(plan, count)) print(line)
  }
  if (options.write === undefined) return
  const count = options.count === 0 ? WRITTEN_DEFAULT : options.count
  if (count > FRAMES_SHOWN_MAX) {
    throw new CommandError(`--count: ${count}, a file takes ${FRAMES_SHOWN_MAX}`, ExitCode.USAGE)
  }
  writeCapture(options.write, plan, count, BigInt(Date.now()) * 1_000_000n)
  print(`${count} frames in ${options.write}`)
}

const toRun = (options: PktgenOptions) => {
  const plan = trafficPlanOf(options)
  const { device = '', engine, core, queue, settle } = options
  const place = core === undefined ? {} : { core }
  return { spec: plan.spec, device, engine, queue, settleSeconds: settle, ...place }
}

async function sendOnce(
  options: PktgenOptions,
  sink: Sink | undefined,
  ending: AbortSignal,
): Promise<void> {
  const isJson = options.output === 'json'
  const result = await runTraffic(
    toRun(options),
    sink,
    (report) => print(isJson ? JSON.stringify(report) : intervalText(report)),
    ending,
  )
  print(isJson ? JSON.stringify(result) : resultText(result))
}

async function search(options: PktgenOptions, sink: Sink, ending: AbortSignal): Promise<void> {
  const isJson = options.output === 'json'
  const run = toRun(options)
  const result = await searchTraffic(
    {
      ...run,
      spec: planOf(run.spec).spec,
      ...searchRangeOf(options, run.spec.sizes),
      resolution: options.resolution / 100,
      lossTolerance: options.lossTolerance / 100,
      attempts: options.attempts,
      trialSeconds: options.trial,
    },
    sink,
    (trial) => print(isJson ? JSON.stringify({ type: 'trial', ...trial }) : trialText(trial)),
    ending,
  )
  print(isJson ? JSON.stringify({ type: 'search', ...result }) : searchText(result, run.spec))
  if (result.best === undefined) process.exitCode = ExitCode.FAILED
}

const COUNT_MILLISECONDS = 1_000

/** Without a sender of ours: lost are numbers below the highest that did not come. */
async function onlyCount(options: PktgenOptions, device: string): Promise<void> {
  const ending = abortOnSignal()
  const sink = await openSink({ ...options, sink: device }, options.flows)
  if (sink === undefined) return
  const tell = async () => {
    const report = await sink.read()
    print(
      options.output === 'json' ? JSON.stringify({ type: 'sink', ...report }) : sinkText(report),
    )
  }
  const end = options.seconds === undefined ? Number.POSITIVE_INFINITY : options.seconds * 1_000
  const begin = performance.now()
  try {
    while (!ending.aborted && performance.now() - begin < end) {
      const left = Math.min(COUNT_MILLISECONDS, end - (performance.now() - begin))
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.max(0, left))
        const wake = () => {
          clearTimeout(timer)
          resolve()
        }
        ending.addEventListener('abort', wake, { once: true })
      })
      await tell()
    }
  } finally {
    await sink.close()
  }
}
