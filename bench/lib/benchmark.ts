/** What every benchmark is to the runner, and how thorough it is asked to be. */
import type { BenchResult } from './result.js'

export interface BenchOptions {
  /** Runs of each measure; peers take turns within a round. */
  readonly rounds: number
  /** `full` as documented, `quick` in minutes, `smoke` only to show that it still runs. */
  readonly size: 'full' | 'quick' | 'smoke'
  readonly log: (line: string) => void
  /** Beginnings of the results' names that are wanted; all unless given. */
  readonly only?: readonly string[]
  /** All within two minutes: only what the targets ask for, and rounds as long as there is time. */
  readonly isOverview?: boolean
}

/**
 * So often what is measured is started anew: a process is faster or slower than another of the same code
 * for as long as it lives.
 */
export const STARTS = { full: 3, quick: 1, smoke: 1 } as const

/** Whether a benchmark, a measure or a result of that name is part of what is wanted. */
export const isWanted = (name: string, only: readonly string[] = []): boolean =>
  only.length === 0 ||
  only.some((wanted) => name.startsWith(wanted) || wanted.startsWith(`${name}/`))

export interface Benchmark {
  /** First part of its results' names. */
  readonly name: string
  /** Takes long: `--quick` runs it only when it is named. */
  readonly isLong?: boolean
  /** Why it cannot run here, in one sentence; undefined when it can. */
  problem(): Promise<string | undefined>
  run(options: BenchOptions): Promise<BenchResult[]>
}
