/**
 * How long a frame takes from the sender's pod to where it arrives, at fixed rates: each carries the
 * time at which it was made, and the counter keeps a histogram (generator/count.bpf.c). Ours
 * spinning and in poll mode, and the yardstick spinning, in turn within each round; all of them started
 * anew some times, for a start has its luck.
 */
import { type Benchmark, type BenchOptions, STARTS } from '../lib/benchmark.js'
import { type BenchResult, type Samples, summarize } from '../lib/result.js'
import type { Contender } from './contender.js'
import { type Contest, TRIES } from './contest.js'
import { DatapathContender, trainingArgs } from './datapath-contender.js'
import { WIRE_FLOWS, wireProblem } from './prepare.js'
import { eachStart, notRun } from './throughput.js'
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

/** Of one start, those that were there. */
type Trials = ReadonlyMap<string, readonly Trial[]>

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
    const { size } = options
    const starts = new Map<number, Trials[]>(RATES[size].map((rate) => [rate, []]))
    let absent: ReadonlyMap<string, string> = new Map()
    const contenders = () => contendersFor(size)
    await eachStart(options, contenders, async (contest) => {
      await contest.stopLoad()
      for (const [rate, some] of starts) some.push(await runRounds(contest, rate, options))
      absent = new Map([...absent, ...contest.absent])
    })
    return [...starts].flatMap(([rate, some]) => resultsOf(some, rate, size, absent))
  },
}

async function runRounds(contest: Contest, rate: number, options: BenchOptions): Promise<Trials> {
  const { size, log } = options
  const names = [...contest.entrants.keys()]
  const trials = new Map<string, Trial[]>(names.map((name) => [name, []]))
  const rounds = Math.ceil((options.rounds * ROUNDS_FACTOR[size]) / STARTS[size])
  for (let round = 0; round < rounds; round++) {
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

/** Made again when the generator did not reach the rate, or nothing arrived; of several the nearest to the rate. */
async function measure(
  contest: Contest,
  name: string,
  rate: number,
  seconds: number,
): Promise<Trial> {
  let best = await measureOnce(contest, name, rate, seconds)
  const isBad = (trial: Trial): boolean => isShort(trial, rate, seconds) || isEmpty(trial)
  for (let again = 1; isBad(best) && again < TRIES; again++) {
    const next = await measureOnce(contest, name, rate, seconds)
    if (isEmpty(best) || (!isEmpty(next) && next.sent > best.sent)) best = next
  }
  return best
}

/** Not one frame arrived: something else had the contender's core all the time. */
const isEmpty = ({ latencies }: Trial): boolean => Number.isNaN(latencies[0])

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
  starts: readonly Trials[],
  rate: number,
  size: BenchOptions['size'],
  absent: ReadonlyMap<string, string>,
): BenchResult[] {
  // Rounds of different starts are never compared.
  const withBoth = starts.filter((start) => start.has(YARDSTICK))
  const chosen = withBoth.length > 0 ? withBoth : starts
  const trialsOf = (contender: string) => chosen.flatMap((start) => start.get(contender) ?? [])
  const samples = (contender: string, { suffix, unit, of }: Measure): Samples => {
    const own = trialsOf(contender)
    const values = own.map(of)
    const short = own.filter((trial) => isShort(trial, rate, TRIAL_SECONDS[size])).length
    const name = `latency/${contender}/${rate / 1000}k${suffix}`
    return { name, unit, values, note: noteOf(own, short) }
  }
  const compared = (contender: string, measure: Measure): BenchResult => {
    const own = samples(contender, measure)
    if (contender === YARDSTICK || withBoth.length === 0) return summarize(own)
    const beside = withBoth.filter((start) => start.has(contender))
    const theirs = beside.flatMap((start) => start.get(YARDSTICK) ?? [])
    return summarize(own, { ...samples(YARDSTICK, measure), values: theirs.map(measure.of) })
  }
  const names = new Set([...starts.flatMap((start) => [...start.keys()]), ...absent.keys()])
  return [...names].flatMap((contender) => {
    if (trialsOf(contender).length > 0) return MEASURES.map((m) => compared(contender, m))
    const reason = absent.get(contender) ?? `it was never there together with ${YARDSTICK}`
    return [notRun(`latency/${contender}/${rate / 1000}k`, 'µs (p99)', reason)]
  })
}

/** Lost frames have no latency: where there are many, the slowest are not among the quantiles. */
function noteOf(trials: readonly Trial[], short: number): string {
  const sum = (of: (trial: Trial) => number) => trials.reduce((all, trial) => all + of(trial), 0)
  const frames = `${sum(({ lost }) => lost)} of ${sum(({ sent }) => sent)} frames lost`
  const what = `${FRAME_BYTES} bytes, ${WIRE_FLOWS} flows; a round is a trial of its own; ${frames}`
  const unreached = `${short} trials sent less than ${PERCENT * SENT_SHARE_MIN} % of the rate`
  return short === 0 ? what : `${what}; ${unreached}`
}
