/** Rounds of full load, and what they say. */
import { type BenchOptions, STARTS } from '../lib/benchmark.js'
import { type BenchResult, type Samples, summarize } from '../lib/result.js'
import type { Contender } from './contender.js'
import { Contest, isDisturbed, type Measured } from './contest.js'
import { WARM_UP_SHARE, WIRE_FLOWS } from './prepare.js'
import type { FrameSize } from './traffic.js'

export interface Rounds {
  readonly rounds: number
  readonly windowMilliseconds: number
  /** As the load has been started; for the log. */
  readonly frameBytes: FrameSize
  readonly log: (line: string) => void
  /** `performance.now()` from which on no further one begins; at least one is made. */
  readonly endAt?: number | undefined
}

export type Figures = ReadonlyMap<string, readonly Measured[]>

const SMALLEST_BYTES = 64

/**
 * A contest of its own for each start, under load of the smallest frames: a process has its luck for as
 * long as it lives (the same C program carried 2.08 to 2.28 Mpps in a session).
 */
export async function eachStart(
  { size, log }: BenchOptions,
  contenders: () => readonly Contender[],
  work: (contest: Contest) => Promise<void>,
): Promise<void> {
  for (let start = 0; start < STARTS[size]; start++) {
    const contest = await Contest.open(contenders(), log)
    try {
      await contest.startLoad(SMALLEST_BYTES, WIRE_FLOWS)
      await contest.warmUp(WARM_UP_SHARE[size])
      await work(contest)
    } finally {
      await contest.close()
    }
  }
}

export function joined(some: Figures, more: Figures): Figures {
  const all = new Map(some)
  for (const [name, runs] of more) all.set(name, [...(some.get(name) ?? []), ...runs])
  return all
}

/** Every contender once in each round. */
export async function runRounds(
  contest: Contest,
  names: readonly string[],
  options: Rounds,
): Promise<Figures> {
  const { rounds, windowMilliseconds, frameBytes, log, endAt = Number.POSITIVE_INFINITY } = options
  const present = names.filter((name) => contest.entrants.has(name))
  const figures = new Map<string, Measured[]>(present.map((name) => [name, []]))
  for (let round = 0; round < rounds && (round === 0 || performance.now() < endAt); round++) {
    const line: string[] = []
    // Another one begins each time, so that none always follows the same neighbour.
    for (let turn = 0; turn < present.length; turn++) {
      const name = present[(round + turn) % present.length] as string
      const measured = await contest.measure(name, windowMilliseconds)
      figures.get(name)?.push(measured)
      const mark = isDisturbed(measured) ? '?' : ''
      line.push(`${name} ${(measured.framesPerSecond / 1e6).toFixed(2)}${mark}`)
    }
    log(`round ${round + 1}, ${frameBytes} bytes, Mpps: ${line.join(', ')}`)
  }
  return figures
}

/** Frames per second of one contender, under another name. */
export function framesOf(figures: Figures, contender: string, name: string, note: string): Samples {
  const runs = figures.get(contender) ?? []
  const disturbed = runs.filter(isDisturbed).length
  return {
    name,
    unit: 'frames/s',
    values: runs.map(({ framesPerSecond }) => framesPerSecond),
    note: disturbed === 0 ? note : `${note}; ${disturbed} runs disturbed`,
  }
}

/** What stands in the place of a figure that could not be had. */
export const notRun = (name: string, unit: string, reason: string): BenchResult => ({
  name,
  unit,
  median: Number.NaN,
  min: Number.NaN,
  max: Number.NaN,
  runs: 0,
  note: `not run: ${reason}`,
})

/** `samples` summarized, or why there are none. */
export function summarizeOr(
  samples: Samples,
  reason: string | undefined,
  yardstick?: Samples,
): BenchResult {
  if (reason !== undefined) return notRun(samples.name, samples.unit, reason)
  return summarize(samples, yardstick)
}
