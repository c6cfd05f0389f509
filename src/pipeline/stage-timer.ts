/**
 * Nanoseconds of stages, by sampling: in one burst of many the passes over it and the stages of one of
 * its packets are timed. The other packets cost a countdown for each burst. The clock's own cost is
 * measured beforehand and taken off.
 */
import { TimedPass, WorkerCell } from '../monitor/worker-statistics.js'
import type { Verdict } from '../packet/verdict.js'
import type { PacketContext } from './context.js'
import { ENTRY, type PipelineObserver } from './observer.js'

/** Milliseconds, with a fraction that goes down to tens of nanoseconds. */
export type FineClock = () => number

/** One function for all timers: V8 compiles a call of it as a call of just this one. */
const performanceNow: FineClock = () => performance.now()

const BURSTS_PER_SAMPLE = 256
const NANOSECONDS_PER_MILLISECOND = 1e6
const CALIBRATIONS = 1000

export class StageTimer implements PipelineObserver {
  readonly #now: FineClock
  readonly #cells: Float64Array
  readonly #burstsPerSample: number
  readonly #clockNanoseconds: number
  #left: number
  #since = 0

  /** @param cells a row of `worker_statistics` @param now another clock is for tests */
  constructor(
    cells: Float64Array,
    burstsPerSample = BURSTS_PER_SAMPLE,
    now: FineClock = performanceNow,
  ) {
    this.#cells = cells
    this.#now = now
    this.#burstsPerSample = burstsPerSample
    this.#left = burstsPerSample
    this.#clockNanoseconds = costOf(now)
  }

  /** Call it once for each burst: true for the one to be timed. */
  countBurst(): boolean {
    if (--this.#left > 0) return false
    this.#left = this.#burstsPerSample
    return true
  }

  start(): void {
    this.#since = this.#now()
  }

  /** A pass over `packets` packets has ended, that began with `start` or the pass before. */
  took(pass: number, packets: number): void {
    const now = this.#now()
    const spent = (now - this.#since) * NANOSECONDS_PER_MILLISECOND - this.#clockNanoseconds
    const at = WorkerCell.STAGES + 2 * pass
    const cells = this.#cells
    cells[at] = (cells[at] as number) + packets
    cells[at + 1] = (cells[at + 1] as number) + Math.max(spent, 0)
    this.#since = this.#now()
  }

  begins(): void {
    this.start()
  }

  passed(_ctx: PacketContext, stage: number, _verdict: Verdict): void {
    this.took(stage === ENTRY ? TimedPass.ENTRY : stage, 1)
  }
}

/** What a reading of the clock adds to what lies between two of them. */
function costOf(now: FineClock): number {
  let least = Number.POSITIVE_INFINITY
  for (let i = 0; i < CALIBRATIONS; i++) {
    const before = now()
    least = Math.min(least, now() - before)
  }
  return least * NANOSECONDS_PER_MILLISECOND
}
