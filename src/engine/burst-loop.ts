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

/**
 * Something to do between bursts, in steps of tens of microseconds, for frames wait meanwhile. One task
 * has its turn every eight milliseconds: what it needs has left the caches since its last one, and takes
 * the packets' place in them.
 */
export interface Housekeeping {
  /** @param nowNanoseconds within that second */
  step(nowSeconds: number, nowNanoseconds: number): void
  /**
   * True while the last step left something undone: the next one is a millisecond later, or at once if
   * no frame waits; the worker does not sleep.
   */
  readonly hasMore?: boolean
}

/**
 * Bursts after which a loaded worker looks whether housekeeping is due; else it does when no frame
 * waits.
 */
const BURSTS_PER_LOOK = 64
/** Milliseconds of a turn, as a power of two. */
const TURN_SHIFT = 3
/** Turns that a clock of 32 bits tells apart, less one. */
const TURNS_MASK = 0xffff_ffff >>> TURN_SHIFT
const MILLISECONDS = 1000
const NANOSECONDS_PER_MILLISECOND = 1_000_000

export class BurstLoop {
  readonly #exchange: FrameExchange
  readonly #handler: BurstHandler
  readonly #idle: IdleStrategy
  readonly #housekeeping: readonly Housekeeping[]
  readonly burst: Burst
  #burstsUntilLook = BURSTS_PER_LOOK
  /** Whose turn it is. */
  #next = 0
  /** Every task has one now: at the start, and when somebody woke the worker, who wants one of them to read something. */
  #areAllDue = true
  /** Of the last look, modulo 2^32. */
  #milliseconds = 0
  #turnsDue = 0
  /** A task left something undone. */
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
    // What is left undone waits while there are frames, for a millisecond.
    if (this.#isTaskDue() || (this.#hasMore && count === 0)) this.#step(this.#takeTurns())
    if (count > 0) return count
    const isAsleep = !this.#hasMore && this.#idle.idle(this.#exchange)
    if (isAsleep && this.#idle.isWoken) this.#areAllDue = true
    if (meter !== null) meter.state = isAsleep ? WorkerState.ASLEEP : WorkerState.SPINNING
    return count
  }

  /** Counts the turns that have come due since the last time, and says whether any task is to run. */
  #isTaskDue(): boolean {
    const { nowSeconds, nowNanoseconds } = this.burst
    const milliseconds =
      (Math.imul(nowSeconds, MILLISECONDS) + nowNanoseconds / NANOSECONDS_PER_MILLISECOND) | 0
    if (milliseconds === this.#milliseconds) return this.#areAllDue
    const turn = milliseconds >>> TURN_SHIFT
    this.#turnsDue += (turn - (this.#milliseconds >>> TURN_SHIFT)) & TURNS_MASK
    this.#milliseconds = milliseconds
    return this.#turnsDue > 0 || this.#hasMore || this.#areAllDue
  }

  /** How many tasks have their turn now, at most all; none is due afterwards. */
  #takeTurns(): number {
    const all = this.#housekeeping.length
    const turns = this.#areAllDue ? all : Math.min(this.#turnsDue, all)
    this.#turnsDue = 0
    this.#areAllDue = false
    return turns
  }

  /** So many tasks, in turn, and those that left something undone. */
  #step(turns: number): void {
    const { nowSeconds, nowNanoseconds } = this.burst
    const tasks = this.#housekeeping
    const all = tasks.length
    const first = this.#next
    this.#next = all === 0 ? 0 : (first + turns) % all
    this.#hasMore = false
    // By number: code that is not hot makes an object for each turn of an iterator.
    for (let i = 0; i < all; i++) {
      const task = tasks[i] as Housekeeping
      const isItsTurn = (i < first ? i + all : i) < first + turns
      if (!isItsTurn && task.hasMore !== true) continue
      task.step(nowSeconds, nowNanoseconds)
      if (task.hasMore === true) this.#hasMore = true
    }
  }
}
