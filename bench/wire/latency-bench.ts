/**
 * How long a frame takes from the sender's pod to where it arrives, at fixed rates: each carries the
 * time at which it was made, and the counter keeps a histogram (generator/count.bpf.c). Ours
 * spinning and in poll mode, and the yardstick spinning, in turn within each round.
 */
import type { Benchmark, BenchOptions } from '../lib/benchmark.js'
import { type BenchResult, type Samples, summarize } from '../lib/result.js'
import type { Contender } from './contender.js'
import { Contest } from './contest.js'
import { DatapathContender, trainingArgs } from './datapath-contender.js'
import { WARM_UP_SHARE, WIRE_FLOWS, wireProblem } from './prepare.js'
import { ChainContender } from './yardstick-contender.js'

const FRAME_BYTES = 64
const RATES = {
  full: [50_000, 200_000, 500_000],
  quick: [200_000],
  smoke: [10_000],
} as const
const TRIAL_SECONDS = { full: 1, quick: 0.5, smoke: 0.1 } as const
const ROUNDS_FACTOR = { full: 2, quick: 2.5, smoke: 1 } as const
const MICROSECOND = 1000

const YARDSTICK = 'c-full'
const QUANTILES = [
  { name: 'p50', of: 'p50' },
  { name: '', of: 'p99' },
  { name: 'p99.9', of: 'p999' },
  { name: 'max', of: 'max' },
] as const

/** Nanoseconds, one for each of `QUANTILES`. */
type Trial = readonly number[]

function contendersFor(size: BenchOptions['size']): Contender[] {
  const ours = { chain: 'full', flows: WIRE_FLOWS, args: trainingArgs(size) } as const
  return [
    new ChainContender(YARDSTICK, 'full', WIRE_FLOWS),
    new DatapathContender({ ...ours, name: 'full', idle: 'spin' }),
    new DatapathContender({ ...ours, name: 'full-poll', idle: 'poll' }),
  ]
}

export const latencyBenchmark: Benchmark = {
  name: 'latency',
  isLong: true,
  problem: wireProblem,

  async run(options: BenchOptions): Promise<BenchResult[]> {
    const { size, log } = options
    const contest = await Contest.open(contendersFor(size), log)
    try {
      await contest.startLoad(FRAME_BYTES, WIRE_FLOWS)
      await contest.warmUp(WARM_UP_SHARE[size])
      await contest.stopLoad()
      const results: BenchResult[] = []
      for (const rate of RATES[size]) {
        results.push(...resultsOf(await runRounds(contest, rate, options), rate))
      }
      return results
    } finally {
      await contest.close()
    }
  },
}

async function runRounds(
  contest: Contest,
  rate: number,
  options: BenchOptions,
): Promise<ReadonlyMap<string, readonly Trial[]>> {
  const { size, log } = options
  const names = [...contest.entrants.keys()]
  const trials = new Map<string, Trial[]>(names.map((name) => [name, []]))
  for (let round = 0; round < options.rounds * ROUNDS_FACTOR[size]; round++) {
    const line: string[] = []
    for (let turn = 0; turn < names.length; turn++) {
      const name = names[(round + turn) % names.length] as string
      const trial = await measure(contest, name, rate, TRIAL_SECONDS[size])
      trials.get(name)?.push(trial)
      line.push(`${name} ${trial.map((n) => Math.round(n / MICROSECOND)).join('/')}`)
    }
    log(`${rate / 1000} kpps, p50/p99/p99.9/max in µs: ${line.join(', ')}`)
  }
  return trials
}

async function measure(
  contest: Contest,
  name: string,
  rate: number,
  seconds: number,
): Promise<Trial> {
  const entrant = contest.entrant(name)
  if (entrant.sink === undefined) throw new Error(`${name} has no sink`)
  const { sink } = entrant
  await sink.reset()
  await contest.loss(name, { frameBytes: FRAME_BYTES, flows: WIRE_FLOWS, rate, seconds })
  const { latency } = await sink.read()
  return QUANTILES.map(({ of }) => latency?.[of] ?? Number.NaN)
}

/** The p99 has the name; the others have theirs behind it. */
function resultsOf(
  trials: ReadonlyMap<string, readonly Trial[]>,
  framesPerSecond: number,
): BenchResult[] {
  const note = `${FRAME_BYTES} bytes, ${WIRE_FLOWS} flows; a round is a trial of its own`
  const samples = (contender: string, index: number): Samples => {
    const suffix = QUANTILES[index]?.name ?? ''
    return {
      name: `latency/${contender}/${framesPerSecond / 1000}k${suffix === '' ? '' : `/${suffix}`}`,
      unit: suffix === '' ? 'µs (p99)' : 'µs',
      values: (trials.get(contender) ?? []).map((trial) => (trial[index] ?? 0) / MICROSECOND),
      note,
    }
  }
  return [...trials.keys()].flatMap((contender) =>
    QUANTILES.map((_, index) => {
      const own = samples(contender, index)
      return contender === YARDSTICK ? summarize(own) : summarize(own, samples(YARDSTICK, index))
    }),
  )
}
