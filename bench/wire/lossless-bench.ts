/**
 * The highest rate at which not one frame is lost (RFC 2544, section 26.1, by halving the interval),
 * of our full chain and of the yardstick, step by step in turn. The full run goes down from there until a
 * rate is held for a minute, and starts both anew for each of its searches.
 */
import { type Benchmark, type BenchOptions, STARTS } from '../lib/benchmark.js'
import { type BenchResult, type Samples, summarize } from '../lib/result.js'
import type { Contest } from './contest.js'
import { WIRE_FLOWS, wireProblem } from './prepare.js'
import { RingpathContender } from './ringpath-contender.js'
import { eachStart } from './throughput.js'
import { ChainContender } from './yardstick-contender.js'

const FRAME_BYTES = 64
const STEPS = { full: 7, quick: 6, smoke: 2 } as const
const TRIAL_SECONDS = { full: 2, quick: 0.4, smoke: 0.1 } as const
const HOLD_SECONDS = { full: 60, quick: 0, smoke: 0 } as const
/** Tried before a minute is: most rates that are too high lose a frame in them. */
const PROBES_SECONDS = [5, 15]
/** A rate that the generator did not come that near to was not tried. */
const SENT_SHARE_MIN = 0.9
const SEARCHES = { full: 3, quick: 3, smoke: 1 } as const
const WINDOW_MILLISECONDS = 250
/** The search begins between nothing and somewhat more than full load was carried. */
const ABOVE_FULL = 1.1
/** Next rate to be held for a minute when one was not. */
const STEP_DOWN = 0.85
const LOWEST_RATE = 10_000
/** Of a further descent, above what the last one found. */
const STEPS_ABOVE = 2

const OURS = 'full'
const THEIRS = 'c-full'

interface Search {
  readonly name: string
  /** Rates asked for: held, and not. */
  low: number
  high: number
  /** Frames a second that were sent, and all arrived. */
  held: number
}

export const losslessBenchmark: Benchmark = {
  name: 'lossless',
  isLong: true,
  problem: wireProblem,

  async run(options: BenchOptions): Promise<BenchResult[]> {
    const { size, log } = options
    const ours = { name: OURS, kind: 'chain', chain: 'full', flows: WIRE_FLOWS } as const
    const contenders = () => [
      new ChainContender(THEIRS, OURS, WIRE_FLOWS),
      new RingpathContender(ours),
    ]
    const seconds = HOLD_SECONDS[size]
    const [found, held] = [noRates(), noRates()]
    let top = Number.POSITIVE_INFINITY
    await eachStart(options, contenders, async (contest) => {
      for (let search = 0; search < SEARCHES[size] / STARTS[size]; search++) {
        for (const each of await searchAll(contest, options)) found.get(each.name)?.push(each.held)
      }
      if (seconds === 0) return
      const rates = await descend(contest, Math.min(top, highest(found)), seconds, log)
      for (const [name, rate] of rates) held.get(name)?.push(rate)
      // A machine's own stops decide: the next one begins above what was held now.
      top = Math.max(LOWEST_RATE, ...rates.values()) / STEP_DOWN ** STEPS_ABOVE
    })
    if (seconds === 0) return resultsOf('lossless', found, TRIAL_SECONDS[size])
    const search = resultsOf('lossless/search', found, TRIAL_SECONDS[size])
    return [...search, ...resultsOf('lossless', held, seconds)]
  },
}

/** Frames a second that were held, of each. */
const noRates = () => new Map<string, number[]>([THEIRS, OURS].map((name) => [name, []]))

const highest = (found: ReadonlyMap<string, readonly number[]>): number =>
  Math.max(...[...found.values()].flat())

async function searchAll(contest: Contest, { size, log }: BenchOptions): Promise<Search[]> {
  const searches: Search[] = []
  await contest.startLoad(FRAME_BYTES, WIRE_FLOWS)
  for (const name of [THEIRS, OURS]) {
    const { framesPerSecond } = await contest.measure(name, WINDOW_MILLISECONDS)
    searches.push({ name, low: 0, high: framesPerSecond * ABOVE_FULL, held: 0 })
  }
  await contest.stopLoad()
  for (let step = 0; step < STEPS[size]; step++) {
    for (const search of searches) {
      const rate = (search.low + search.high) / 2
      const held = await heldRate(contest, search.name, rate, TRIAL_SECONDS[size])
      if (held === 0) search.high = rate
      else Object.assign(search, { low: rate, held })
    }
  }
  const megas = searches.map(({ name, held }) => `${name} ${(held / 1e6).toFixed(3)}`)
  log(`lossless, Mpps: ${megas.join(', ')}`)
  return searches
}

/** Frames that were sent a second, near to the rate asked for; 0 when one was lost, or fewer were sent. */
async function heldRate(
  contest: Contest,
  name: string,
  rate: number,
  seconds: number,
): Promise<number> {
  const traffic = { frameBytes: FRAME_BYTES, flows: WIRE_FLOWS, rate, seconds }
  const { sent, lost } = await contest.loss(name, traffic)
  return lost === 0 && sent > SENT_SHARE_MIN * rate * seconds ? sent / seconds : 0
}

/**
 * For each what was sent at the highest rate that was held for so long, by going down in equal steps from the same one, in
 * turn, so that both meet the same moods of the machine; 0 when even the lowest was not.
 */
async function descend(
  contest: Contest,
  top: number,
  seconds: number,
  log: (line: string) => void,
): Promise<ReadonlyMap<string, number>> {
  const held = new Map<string, number>()
  const names = [THEIRS, OURS]
  for (let rate = top; held.size < names.length && rate >= LOWEST_RATE; rate *= STEP_DOWN) {
    for (const name of names.filter((each) => !held.has(each))) {
      const sent = await heldThrough(contest, name, rate, [...PROBES_SECONDS, seconds])
      log(`${name}: ${((sent || rate) / 1e6).toFixed(3)} Mpps ${sent > 0 ? '' : 'not '}held`)
      if (sent > 0) held.set(name, sent)
    }
  }
  return new Map(names.map((name) => [name, held.get(name) ?? 0]))
}

/** Frames sent a second in the last of these trials; 0 when one of them was not held. */
async function heldThrough(
  contest: Contest,
  name: string,
  rate: number,
  trials: readonly number[],
): Promise<number> {
  let held = 0
  for (const seconds of trials) {
    held = await heldRate(contest, name, rate, seconds)
    if (held === 0) break
  }
  return held
}

function resultsOf(
  prefix: string,
  found: ReadonlyMap<string, readonly number[]>,
  seconds: number,
): BenchResult[] {
  const note = `no frame lost in ${seconds} s, ${WIRE_FLOWS} flows`
  const samples = (contender: string): Samples => ({
    name: `${prefix}/${contender}/${FRAME_BYTES}`,
    unit: 'frames/s',
    values: found.get(contender) ?? [],
    note,
  })
  return [summarize(samples(THEIRS)), summarize(samples(OURS), samples(THEIRS))]
}
