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

/** Of one start, without those that were absent. */
export type Figures = ReadonlyMap<string, readonly Measured[]>

const SMALLEST_BYTES = 64
const FRAMES_UNIT = 'frames/s'

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

/** Frames per second of a contender under a result's name. */
export interface Named {
  readonly contender: string
  readonly name: string
  readonly note: string
}

/**
 * Of a contender in the starts in which all of `together` were there: rounds are compared one by one, and
 * those of different starts have nothing in common. Undefined when there is no such start.
 */
export function framesOf(
  starts: readonly Figures[],
  { contender, name, note }: Named,
  together: readonly string[] = [],
): Samples | undefined {
  const chosen = starts.filter((start) => [contender, ...together].every((one) => start.has(one)))
  const runs = chosen.flatMap((start) => start.get(contender) ?? [])
  if (runs.length === 0) return undefined
  const disturbed = runs.filter(isDisturbed).length
  const remarks = [
    ...(disturbed === 0 ? [] : [`${disturbed} runs disturbed`]),
    ...(chosen.length === starts.length ? [] : [`${chosen.length} of ${starts.length} starts`]),
  ]
  return {
    name,
    unit: FRAMES_UNIT,
    values: runs.map(({ framesPerSecond }) => framesPerSecond),
    note: [note, ...remarks].join('; '),
  }
}

/**
 * Both of a pair, the first with its ratio to the second. Where they were never there together each has its
 * own figures, without a ratio, or why it has none.
 */
export function compared(
  starts: readonly Figures[],
  ours: Named,
  theirs: Named,
  absent: ReadonlyMap<string, string>,
): [BenchResult, BenchResult] {
  const our = framesOf(starts, ours, [theirs.contender])
  const their = framesOf(starts, theirs, [ours.contender])
  if (our !== undefined && their !== undefined) return [summarize(our, their), summarize(their)]
  return [alone(starts, ours, absent), alone(starts, theirs, absent)]
}

/** What a contender has by itself. */
export function alone(
  starts: readonly Figures[],
  named: Named,
  absent: ReadonlyMap<string, string>,
): BenchResult {
  const samples = framesOf(starts, named)
  if (samples !== undefined) return summarize(samples)
  return notRun(named.name, FRAMES_UNIT, absent.get(named.contender) ?? 'it took no part')
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
