/**
 * The worker's heart: exchange a burst, run it through the pipeline, and do a bounded piece of
 * housekeeping now and then. It belongs to a thread of its own; Node's event loop has no part in
 * it.
 */
import { BURST_CAPACITY, BURST_RECEIVE_MAX } from '../base/limits.js'
import { Burst } from '../packet/burst.js'
import type { FrameExchange } from '../port/port.js'
import type { IdleStrategy } from './idle-strategy.js'
import { type WorkerMeter, WorkerState } from './worker-meter.js'

/** What is done with a burst; the pipeline, or a benchmark's replacement. */
export interface BurstHandler {
  run(burst: Burst): void
}

/** Something to do between bursts; each step is short (tens of microseconds). */
export interface Housekeeping {
  /** @param nowNanoseconds within that second */
  step(nowSeconds: number, nowNanoseconds: number): void
  /** True while the last step left something undone: the worker then does not sleep. */
  readonly hasMore?: boolean
}

/**
 * Bursts between housekeeping steps under load: at 64 frames a burst, one step in about 4,000
 * frames.
 */
const BURSTS_PER_STEP = 64
/**
 * Exchanges of a turn at most: a worker that spins shall see the next frame at once, and not when it
 * has been through its tasks.
 */
const LOOKS_MAX = 8

export class BurstLoop {
  readonly #exchange: FrameExchange
  readonly #handler: BurstHandler
  readonly #idle: IdleStrategy
  readonly #housekeeping: readonly Housekeeping[]
  readonly burst: Burst
  #burstsUntilStep = BURSTS_PER_STEP

  /** Frames handled, and bursts that had any, since the start. */
  frames = 0
  bursts = 0
  /** Told what the time was spent on; nobody unless set. */
  meter: WorkerMeter | null = null

  constructor(
    exchange: FrameExchange,
    handler: BurstHandler,
    idle: IdleStrategy,
    housekeeping: readonly Housekeeping[],
    burst = new Burst(BURST_CAPACITY),
  ) {
    this.burst = burst
    this.#exchange = exchange
    this.#handler = handler
    this.#idle = idle
    this.#housekeeping = housekeeping
  }

  /** Runs until the word at `control[index]` is not zero any more; checked once a burst. */
  runUntil(control: Int32Array, index: number): void {
    while (Atomics.load(control, index) === 0) this.turn()
  }

  /**
   * An exchange, or a few when nothing waits, and what follows from it: a burst, or housekeeping, or
   * both. Returns the number of frames handled.
   */
  turn(): number {
    const meter = this.meter
    let count = this.#look()
    for (let looks = 1; count === 0 && looks < LOOKS_MAX && this.#idle.spins(); looks++) {
      if (meter !== null) meter.state = WorkerState.SPINNING
      count = this.#look()
    }
    if (count > 0) {
      this.frames += count
      this.bursts++
      if (meter !== null) meter.state = WorkerState.BUSY
      this.#handler.run(this.burst)
      this.#idle.busy()
      if (--this.#burstsUntilStep > 0) return count
    }
    this.#burstsUntilStep = BURSTS_PER_STEP
    const { nowSeconds, nowNanoseconds } = this.burst
    let hasMore = false
    for (const task of this.#housekeeping) {
      task.step(nowSeconds, nowNanoseconds)
      if (task.hasMore === true) hasMore = true
    }
    if (count > 0) return count
    const isAsleep = !hasMore && this.#idle.idle(this.#exchange)
    if (meter !== null) meter.state = isAsleep ? WorkerState.ASLEEP : WorkerState.SPINNING
    return count
  }
  #look(): number {
    const { burst, meter } = this
    const count = this.#exchange.exchange(burst, BURST_RECEIVE_MAX)
    if (meter !== null) meter.stamped(burst.nowSeconds, burst.nowNanoseconds)
    return count
  }
}
