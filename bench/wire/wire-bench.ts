/**
 * Veth to veth over real AF_XDP: receive and drop, the engine's loop with a trivial handler, the
 * engine's chains, and the yardstick in C++ on the same poller and rings, in turn within each round
 * (docs/benchmarks.md).
 */
import { type Benchmark, type BenchOptions, isWanted, STARTS } from '../lib/benchmark.js'
import { type ChainName, hasYardstick } from '../lib/node-scenario.js'
import { type BenchResult, summarize } from '../lib/result.js'
import type { Contender } from './contender.js'
import type { Contest } from './contest.js'
import type { ForwarderReport } from './forwarder-messages.js'
import { WIRE_FLOWS, wireProblem } from './prepare.js'
import { RingpathContender, type RingpathOptions } from './ringpath-contender.js'
import { alone, compared, eachStart, type Figures, type Named, runRounds } from './throughput.js'
import type { FrameSize } from './traffic.js'
import { ChainContender, YardstickContender } from './yardstick-contender.js'

const WINDOW_MILLISECONDS = { full: 250, quick: 250, smoke: 100 } as const
const ROUNDS_FACTOR = { full: 6, quick: 2.5, smoke: 1 } as const
/** What an overview measures, and when the program has run for how long it begins no further round. */
const OVERVIEW = ['pod', 'full']
const OVERVIEW_END_MILLISECONDS = 65_000
const NOTE = `${WIRE_FLOWS} flows, worker on core 1, generator on core 0, counted and dropped at tc`

type Size = BenchOptions['size']

interface Measure {
  /** Contender, and `wire/NAME/BYTES` of its results. */
  readonly name: string
  readonly options: Partial<RingpathOptions>
  /** The same work in C, measured beside it; absent where C has no such chain. */
  readonly yardstick?: Contender
  /** Larger frames tell nothing new of those that never touch them, nor of every chain. */
  readonly frames: readonly FrameSize[]
  readonly sizes: readonly Size[]
}

const SMALL: readonly FrameSize[] = [64]
const ALL: readonly FrameSize[] = [64, 1514, 'imix']
/** With an envelope they are 1514 long. */
const TUNNELLED: readonly FrameSize[] = [64, 1464]
const ALWAYS: readonly Size[] = ['full', 'quick', 'smoke']
const FULL: readonly Size[] = ['full', 'smoke']

const cChain = (chain: ChainName): Contender => new ChainContender(`c-${chain}`, chain, WIRE_FLOWS)
const chainOf = (chain: ChainName, frames: readonly FrameSize[], sizes: readonly Size[]) => ({
  name: chain,
  options: { chain },
  ...(hasYardstick(chain) ? { yardstick: cChain(chain) } : {}),
  frames,
  sizes,
})

/** Those to be compared follow each other. */
const measures = (): readonly Measure[] => [
  {
    name: 'drop',
    options: { kind: 'drop' },
    yardstick: new YardstickContender('c-drop', 'drop'),
    frames: SMALL,
    sizes: ALWAYS,
  },
  {
    name: 'l2',
    options: { kind: 'l2' },
    yardstick: new YardstickContender('c-l2', 'poller'),
    frames: ALL,
    sizes: ALWAYS,
  },
  chainOf('pod', ALL, ALWAYS),
  chainOf('service', SMALL, FULL),
  chainOf('masquerade', SMALL, FULL),
  chainOf('overlay', SMALL, FULL),
  chainOf('full', TUNNELLED, ALWAYS),
]

const FRAME_SIZES: Readonly<Record<Size, readonly FrameSize[]>> = {
  full: [64, 1464, 1514, 'imix'],
  quick: SMALL,
  smoke: SMALL,
}

export const wireBenchmark: Benchmark = {
  name: 'wire',

  problem: wireProblem,

  async run(options: BenchOptions): Promise<BenchResult[]> {
    const { size, only, isOverview = false } = options
    const reports: ForwarderReport[] = []
    const chosen = measures().filter(({ name, sizes }) => {
      if (isOverview) return OVERVIEW.includes(name)
      const isNamed = only?.some((wanted) => wanted.startsWith(`wire/${name}`)) ?? false
      return isNamed || (sizes.includes(size) && isWanted(`wire/${name}`, only))
    })
    const starts = new Map<FrameSize, Figures[]>()
    let absent: ReadonlyMap<string, string> = new Map()
    const contenders = () => contendersOf(chosen, (report) => reports.push(report))
    await eachStart(options, contenders, async (contest) => {
      for (const frameBytes of FRAME_SIZES[size]) {
        const now = chosen.filter((measure) => hasFrames(measure, frameBytes, only))
        const figures = await runSize(contest, now, frameBytes, options)
        starts.set(frameBytes, [...(starts.get(frameBytes) ?? []), figures])
      }
      absent = new Map([...absent, ...contest.absent])
    })
    const results = [...starts].flatMap(([frameBytes, some]) => {
      const measured = chosen.filter((measure) => hasFrames(measure, frameBytes, only))
      return resultsOf(measured, some, frameBytes, absent)
    })
    return [...results, ...heapResults(reports)]
  },
}

const hasFrames = (
  { name, frames }: Measure,
  frameBytes: FrameSize,
  only: BenchOptions['only'],
): boolean => frames.includes(frameBytes) && isWanted(`wire/${name}/${frameBytes}`, only)

/** The rounds of one start, at one frame size. */
async function runSize(
  contest: Contest,
  measures: readonly Measure[],
  frameBytes: FrameSize,
  { size, rounds, log, isOverview = false }: BenchOptions,
): Promise<Figures> {
  if (measures.length === 0) return new Map()
  if (frameBytes !== 64) await contest.startLoad(frameBytes, WIRE_FLOWS)
  const names = measures.flatMap(({ name, yardstick }) =>
    yardstick === undefined ? [name] : [yardstick.name, name],
  )
  return runRounds(contest, names, {
    rounds: Math.ceil((rounds * ROUNDS_FACTOR[size]) / STARTS[size]),
    windowMilliseconds: WINDOW_MILLISECONDS[size],
    frameBytes,
    log,
    endAt: isOverview ? OVERVIEW_END_MILLISECONDS : undefined,
  })
}

function contendersOf(
  chosen: readonly Measure[],
  report: (report: ForwarderReport) => void,
): Contender[] {
  return chosen.flatMap(({ name, options, yardstick }) => {
    const ours = new RingpathContender({
      kind: 'chain',
      flows: WIRE_FLOWS,
      ...options,
      name,
      ...(name === 'full' ? { report } : {}),
    })
    return yardstick === undefined ? [ours] : [yardstick, ours]
  })
}

function resultsOf(
  measures: readonly Measure[],
  starts: readonly Figures[],
  frameBytes: FrameSize,
  absent: ReadonlyMap<string, string>,
): BenchResult[] {
  const named = (contender: string): Named => {
    return { contender, name: `wire/${contender}/${frameBytes}`, note: NOTE }
  }
  return measures.flatMap(({ name, yardstick }) =>
    yardstick === undefined
      ? [alone(starts, named(name), absent)]
      : compared(starts, named(name), named(yardstick.name), absent),
  )
}

/** Of the full chain, over all windows of a start. */
function heapResults(reports: readonly ForwarderReport[]): BenchResult[] {
  if (reports.length === 0) return []
  const heap = (unit: string, name: string, of: (report: ForwarderReport) => number) =>
    summarize({ name: `${name}/full/wire`, unit, values: reports.map(of) })
  return [
    heap('bytes/frame', 'alloc', ({ heapBytes, frames }) => heapBytes / frames),
    heap('collections', 'gc', ({ collections }) => collections),
  ]
}
