/**
 * How long a frame takes from the sender's pod to where it arrives, at fixed rates: each carries the
 * time at which it was made, and the counter keeps a histogram (generator/count.bpf.c). Ours
 * spinning and in poll mode, and the yardstick spinning, in turn within each round.
 */
import type { Benchmark, BenchOptions } from '../lib/benchmark.js'
import { type BenchResult, type Samples, summarize } from '../lib/result.js'
import type { Contender } from './contender.js'
import { Contest, TRIES } from './contest.js'
import { DatapathContender, trainingArgs } from './datapath-contender.js'
import { WARM_UP_SHARE, WIRE_FLOWS, wireProblem } from './prepare.js'
import { notRun } from './throughput.js'
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
const PERCENT = 100
/** Of what the rate asks for: with less, another rate is measured. */
const SENT_SHARE_MIN = 0.98

const YARDSTICK = 'c-full'
const QUANTILES = [
  { name: 'p50', of: 'p50' },
  { name: '', of: 'p99' },
  { name: 'p99.9', of: 'p999' },
  { name: 'max', of: 'max' },
] as const

interface Trial {
  /** Nanoseconds, one for each of `QUANTILES`; of the frames that arrived. */
  readonly latencies: readonly number[]
  readonly sent: number
  readonly lost: number
}

interface Measure {
  /** Of a result's name; the p99 has the name alone. */
  readonly suffix: string
  readonly unit: string
  readonly of: (trial: Trial) => number
}

const lossOf = ({ lost, sent }: Trial): number => (PERCENT * lost) / sent

const MEASURES: readonly Measure[] = [
  ...QUANTILES.map(({ name }, index) => ({
    suffix: name === '' ? '' : `/${name}`,
    unit: name === '' ? 'µs (p99)' : 'µs',
    of: ({ latencies }: Trial) => (latencies[index] ?? Number.NaN) / MICROSECOND,
  })),
  { suffix: '/loss', unit: '%', of: lossOf },
]

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
        results.push(...resultsOf(await runRounds(contest, rate, options), rate, size))
        for (const [name, reason] of contest.absent) {
          results.push(notRun(`latency/${name}/${rate / 1000}k`, 'µs (p99)', reason))
        }
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
      const micros = trial.latencies.map((n) => Math.round(n / MICROSECOND)).join('/')
      line.push(`${name} ${micros}, ${lossOf(trial).toFixed(2)} % lost`)
    }
    log(`${rate / 1000} kpps, p50/p99/p99.9/max in µs: ${line.join('; ')}`)
  }
  return trials
}

/** Made again when the generator did not reach the rate; of those that did not, the nearest to it. */
async function measure(
  contest: Contest,
  name: string,
  rate: number,
  seconds: number,
): Promise<Trial> {
  let best = await measureOnce(contest, name, rate, seconds)
  for (let again = 1; isShort(best, rate, seconds) && again < TRIES; again++) {
    const next = await measureOnce(contest, name, rate, seconds)
    if (next.sent > best.sent) best = next
  }
  return best
}

const isShort = ({ sent }: Trial, rate: number, seconds: number): boolean =>
  sent < SENT_SHARE_MIN * rate * seconds

async function measureOnce(
  contest: Contest,
  name: string,
  rate: number,
  seconds: number,
): Promise<Trial> {
  const { sink } = contest.entrant(name)
  if (sink === undefined) throw new Error(`${name} has no sink`)
  const traffic = { frameBytes: FRAME_BYTES, flows: WIRE_FLOWS, rate, seconds }
  const loss = await contest.loss(name, traffic)
  const { latency } = await sink.read()
  return { ...loss, latencies: QUANTILES.map(({ of }) => latency?.[of] ?? Number.NaN) }
}

function resultsOf(
  trials: ReadonlyMap<string, readonly Trial[]>,
  rate: number,
  size: BenchOptions['size'],
): BenchResult[] {
  const samples = (contender: string, { suffix, unit, of }: Measure): Samples => {
    const own = trials.get(contender) ?? []
    const values = own.map(of)
    const short = own.filter((trial) => isShort(trial, rate, TRIAL_SECONDS[size])).length
    const name = `latency/${contender}/${rate / 1000}k${suffix}`
    return { name, unit, values, note: noteOf(own, short) }
  }
  const compared = (contender: string, measure: Measure): BenchResult => {
    const own = samples(contender, measure)
    if (contender === YARDSTICK || !trials.has(YARDSTICK)) return summarize(own)
    return summarize(own, samples(YARDSTICK, measure))
  }
  return [...trials.keys()].flatMap((contender) => MEASURES.map((m) => compared(contender, m)))
}

/** Lost frames have no latency: where there are many, the slowest are not among the quantiles. */
function noteOf(trials: readonly Trial[], short: number): string {
  const sum = (of: (trial: Trial) => number) => trials.reduce((all, trial) => all + of(trial), 0)
  const frames = `${sum(({ lost }) => lost)} of ${sum(({ sent }) => sent)} frames lost`
  const what = `${FRAME_BYTES} bytes, ${WIRE_FLOWS} flows; a round is a trial of its own; ${frames}`
  const unreached = `${short} trials sent less than ${PERCENT * SENT_SHARE_MIN} % of the rate`
  return short === 0 ? what : `${what}; ${unreached}`
}
