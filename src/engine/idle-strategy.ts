/**
 * What a worker does when no frame waits: latency against CPU.
 *
 * - `spin`: ask the rings again at once; lowest latency, a whole core.
 * - `adaptive` (default): spin for a while, then sleep in poll(2); a busy worker never sleeps, an idle one costs next to nothing.
 * - `poll`: sleep at once.
 *
 * Busy polling by the kernel (SO_BUSY_POLL) is a property of the sockets and goes with any of them.
 */
import type { FrameExchange } from '../port/port.js'

export interface IdleOptions {
  readonly mode: 'spin' | 'adaptive' | 'poll'
  /**
   * Empty exchanges before an adaptive worker sleeps; one takes about a microsecond. 1 to
   * 1,000,000.
   */
  readonly spinExchanges: number
  /** Longest sleep; also the longest that a changed port or a stop without wake-up goes unseen. */
  readonly sleepMilliseconds: number
}

export const IDLE_DEFAULTS: IdleOptions = {
  mode: 'adaptive',
  spinExchanges: 200,
  sleepMilliseconds: 100,
}

export class IdleStrategy {
  readonly #neverSleeps: boolean
  readonly #spinExchanges: number
  readonly #sleepMilliseconds: number
  #empty = 0
  /** Times the worker slept, since the start. */
  sleeps = 0
  /** Another thread may have ended the last sleep: see FrameExchange.wait. */
  isWoken = false

  constructor(options: IdleOptions = IDLE_DEFAULTS) {
    this.#neverSleeps = options.mode === 'spin'
    this.#spinExchanges = options.mode === 'adaptive' ? options.spinExchanges : 0
    this.#sleepMilliseconds = options.sleepMilliseconds
  }

  busy(): void {
    this.#empty = 0
  }

  /** After an empty exchange. Returns whether it slept. */
  idle(exchange: FrameExchange): boolean {
    if (this.#neverSleeps) return false
    if (this.#empty < this.#spinExchanges) {
      this.#empty++
      return false
    }
    this.sleeps++
    this.isWoken = exchange.wait(this.#sleepMilliseconds)
    return true
  }
}
