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
 * Bursts after which a loaded worker looks whether housekeeping is due; else it does when no frame
 * waits.
 */
const BURSTS_PER_LOOK = 64
/**
 * Nanoseconds between two steps as a power of two, about a millisecond: they take some microseconds,
 * in which frames wait, and their data takes the place of the packets' in the caches.
 */
const TICK_SHIFT = 20
const NO_TICK = -1

export class BurstLoop {
  readonly #exchange: FrameExchange
  readonly #handler: BurstHandler
  readonly #idle: IdleStrategy
  readonly #housekeeping: readonly Housekeeping[]
  readonly burst: Burst
  #burstsUntilLook = BURSTS_PER_LOOK
  /** Of the last step. */
  #tick = NO_TICK
  /** The last step left something undone. */
  #hasMore = false

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
   * An exchange, and what follows from it: a burst, or housekeeping, or both. Returns the number of
   * frames handled.
   */
  turn(): number {
    const { burst, meter } = this
    const count = this.#exchange.exchange(burst, BURST_RECEIVE_MAX)
    if (meter !== null) meter.stamped(burst.nowSeconds, burst.nowNanoseconds)
    if (count > 0) {
      this.frames += count
      this.bursts++
      if (meter !== null) meter.state = WorkerState.BUSY
      this.#handler.run(burst)
      this.#idle.busy()
      if (--this.#burstsUntilLook > 0) return count
    }
    this.#burstsUntilLook = BURSTS_PER_LOOK
    const tick = burst.nowNanoseconds >> TICK_SHIFT
    // What is left undone waits while there are frames.
    if (tick !== this.#tick || (this.#hasMore && count === 0)) {
      this.#tick = tick
      this.#step()
    }
    if (count > 0) return count
    const isAsleep = !this.#hasMore && this.#idle.idle(this.#exchange)
    // Who woke it has written something that a task shall read.
    if (isAsleep) this.#tick = NO_TICK
    if (meter !== null) meter.state = isAsleep ? WorkerState.ASLEEP : WorkerState.SPINNING
    return count
  }

  #step(): void {
    const { nowSeconds, nowNanoseconds } = this.burst
    const tasks = this.#housekeeping
    this.#hasMore = false
    // By number: code that is not hot makes an object for each turn of an iterator.
    for (let i = 0; i < tasks.length; i++) {
      const task = tasks[i] as Housekeeping
      task.step(nowSeconds, nowNanoseconds)
      if (task.hasMore === true) this.#hasMore = true
    }
  }
}
