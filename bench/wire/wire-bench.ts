/**
 * Veth to veth over real AF_XDP: receive and drop, the engine's loop with a trivial handler, the
 * engine's chains, and the yardstick in C++ on the same poller and rings, in turn within each round
 * (docs/benchmarks.md).
 */
import type { Benchmark, BenchOptions } from '../lib/benchmark.js'
import { type BenchResult, type Samples, summarize } from '../lib/result.js'
import type { Contender } from './contender.js'
import { Contest } from './contest.js'
import type { ForwarderReport } from './forwarder-messages.js'
import { WARM_UP_SHARE, WIRE_FLOWS, wireProblem } from './prepare.js'
import { RingpathContender, type RingpathOptions } from './ringpath-contender.js'
import { type Figures, framesOf, runRounds } from './throughput.js'
import type { FrameSize } from './traffic.js'
import { ChainContender, YardstickContender } from './yardstick-contender.js'

const WINDOW_MILLISECONDS = { full: 250, quick: 250, smoke: 100 } as const
const ROUNDS_FACTOR = { full: 6, quick: 3, smoke: 1 } as const
const FRAME_SIZES: Readonly<Record<BenchOptions['size'], readonly FrameSize[]>> = {
  full: [64, 1514, 'imix'],
  quick: [64],
  smoke: [64],
}
const NOTE = `${WIRE_FLOWS} flows, worker on core 1, generator on core 0, counted and dropped at tc`

/** Contender, its yardstick, and the name of its results. Those to be compared follow each other. */
const MEASURES = [
  { contender: 'c-drop', name: 'wire/c-drop' },
  { contender: 'drop', name: 'wire/drop', yardstick: 'c-drop' },
  { contender: 'c-l2', name: 'wire/c-l2' },
  { contender: 'l2', name: 'wire/l2', yardstick: 'c-l2' },
  { contender: 'c-service', name: 'wire/c-service' },
  { contender: 'service', name: 'wire/service', yardstick: 'c-service' },
  { contender: 'c-full', name: 'wire/c-full' },
  { contender: 'full', name: 'wire/full', yardstick: 'c-full' },
] as const

/** Larger frames tell nothing new of those that never touch them. */
const ONLY_SMALL: readonly string[] = ['c-drop', 'drop']

export const wireBenchmark: Benchmark = {
  name: 'wire',

  problem: wireProblem,

  async run(options: BenchOptions): Promise<BenchResult[]> {
    const { size, log } = options
    const reports: ForwarderReport[] = []
    const contest = await Contest.open(
      contenders((report) => reports.push(report)),
      log,
    )
    const results: BenchResult[] = []
    try {
      await contest.startLoad(64, WIRE_FLOWS)
      await contest.warmUp(WARM_UP_SHARE[size])
      for (const frameBytes of FRAME_SIZES[size]) {
        const names = MEASURES.map(({ contender }) => contender).filter(
          (name) => frameBytes === 64 || !ONLY_SMALL.includes(name),
        )
        if (frameBytes !== 64) await contest.startLoad(frameBytes, WIRE_FLOWS)
        const figures = await runRounds(contest, names, {
          rounds: Math.ceil(options.rounds * ROUNDS_FACTOR[size]),
          windowMilliseconds: WINDOW_MILLISECONDS[size],
          frameBytes,
          log,
        })
        results.push(...resultsOf(figures, frameBytes))
      }
    } finally {
      await contest.close()
    }
    return [...results, ...reports.flatMap(heapResults)]
  },
}

function contenders(report: (report: ForwarderReport) => void): Contender[] {
  const ours = (name: string, options: Partial<RingpathOptions>) =>
    new RingpathContender({ name, kind: 'chain', flows: WIRE_FLOWS, ...options })
  return [
    new YardstickContender('c-drop', 'drop'),
    ours('drop', { kind: 'drop' }),
    new YardstickContender('c-l2', 'poller'),
    ours('l2', { kind: 'l2' }),
    new ChainContender('c-service', 'service', WIRE_FLOWS),
    ours('service', { chain: 'service' }),
    new ChainContender('c-full', 'full', WIRE_FLOWS),
    ours('full', { chain: 'full', report }),
  ]
}

function resultsOf(figures: Figures, frameBytes: FrameSize): BenchResult[] {
  const samples = (contender: string, name: string): Samples =>
    framesOf(figures, contender, `${name}/${frameBytes}`, NOTE)
  const measured = MEASURES.filter(({ contender }) => figures.has(contender))
  return measured.map((measure) => {
    const own = samples(measure.contender, measure.name)
    if (!('yardstick' in measure)) return summarize(own)
    return summarize(own, samples(measure.yardstick, `wire/${measure.yardstick}`))
  })
}

/** Of the full chain, over all of its windows. */
function heapResults(report: ForwarderReport): BenchResult[] {
  const heap = (unit: string, name: string, value: number) =>
    summarize({ name: `${name}/full/wire`, unit, values: [value] })
  return [
    heap('bytes/frame', 'alloc', report.heapBytes / report.frames),
    heap('collections', 'gc', report.collections),
  ]
}
