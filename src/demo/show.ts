/** The course of the demonstration, the same in both worlds: introduce, run, watch, end, sum up. */
import { setTimeout as sleep } from 'node:timers/promises'
import { introLines } from './intro.js'
import { Sampler, type Snapshot } from './sampler.js'
import type { Screen } from './screen.js'
import { exitCode, type SummaryInput, summaryLines } from './summary.js'
import { plainLines, type ViewInput, viewLines } from './view.js'
import type { World } from './world.js'

export interface ShowOptions {
  readonly seconds: number
  /** Why it is a simulation though none was asked for. */
  readonly reason: string | undefined
  /** The world stays as it is after the summary. */
  readonly isKept: boolean
  /** Ends the show early, with the summary so far. */
  readonly interrupt: AbortSignal
}

const DRAW_MILLISECONDS = 500
const PRINT_MILLISECONDS = 5_000
/** How long the programs may take to end after the show. */
const GRACE_MILLISECONDS = 2_000

export interface ShowEnd {
  /** See summary.ts. */
  readonly exitCode: number
  /** The world is still there, as `isKept` wished; not after an interrupt, or when it broke. */
  readonly isStaying: boolean
}

export async function show(world: World, screen: Screen, options: ShowOptions): Promise<ShowEnd> {
  screen.print(introLines(world, options, screen.paint))
  const sampler = new Sampler(world, () => performance.now() / 1000)
  const ending = new AbortController()
  let failure: unknown
  const programs = world.run(ending.signal, options.seconds).catch((error: unknown) => {
    failure = error
  })
  await watch(world, screen, sampler, options, () => failure !== undefined)
  const seconds = sampler.seconds
  ending.abort()
  await Promise.race([programs, sleep(GRACE_MILLISECONDS, undefined, { ref: false })])
  const snapshot = sampler.sample()
  const isInterrupted = options.interrupt.aborted
  // A Ctrl-C ends the datapath too, which is of the same process group: cleanly, as `end` tells.
  const broken = isInterrupted ? undefined : world.problem
  const problem = failure === undefined ? broken : messageOf(failure)
  const isStaying = options.isKept && problem === undefined && !isInterrupted
  const end = isStaying ? undefined : await world.stop()
  const { programs: done, isSimulated } = world
  const input: SummaryInput = {
    programs: done,
    seconds,
    snapshot: end === undefined ? snapshot : lastSnapshot(snapshot, sampler),
    end,
    isSimulated,
    isInterrupted,
    problem,
  }
  screen.print(summaryLines(input, screen.paint))
  return { exitCode: exitCode(input), isStaying }
}

/** Frames that the datapath decided on while it was ending are counted too. */
function lastSnapshot(before: Snapshot, sampler: Sampler): Snapshot {
  const { receivedFrames, forwardedFrames, droppedFrames, lostOnRings, drops } = sampler.sample()
  return { ...before, receivedFrames, forwardedFrames, droppedFrames, lostOnRings, drops }
}

async function watch(
  world: World,
  screen: Screen,
  sampler: Sampler,
  options: ShowOptions,
  hasFailed: () => boolean,
): Promise<void> {
  const { isTerminal, rows } = screen.size
  const interval = isTerminal ? DRAW_MILLISECONDS : PRINT_MILLISECONDS
  const end = performance.now() + options.seconds * 1000
  for (;;) {
    const wait = Math.min(interval, end - performance.now())
    if (wait > 0) await pause(wait, options.interrupt)
    if (options.interrupt.aborted || hasFailed() || world.problem !== undefined) return
    const snapshot = sampler.sample()
    const input: ViewInput = {
      snapshot,
      programs: world.programs,
      facts: world.facts,
      showSeconds: options.seconds,
      // One row less: the cursor stands below the last line.
      rows: rows - 1,
    }
    if (isTerminal) screen.draw(viewLines(input, screen.paint))
    else screen.print(plainLines(input))
    if (performance.now() >= end) return
  }
}

async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  await sleep(milliseconds, undefined, { signal }).catch(() => undefined)
}

export const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error)
