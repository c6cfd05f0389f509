/**
 * Time as the datapath sees it: the monotonic clock, read once per burst and carried in it.
 * Stages never read a clock; they use the burst's time, so that a replay sees the same time again.
 */

export interface Clock {
  /** Whole seconds of the monotonic clock; an int32, compared and subtracted as such. */
  seconds(): number
  /** Nanoseconds within the current second, 0 to 999,999,999. */
  nanosecondsOfSecond(): number
}

const NANOSECONDS_PER_SECOND = 1_000_000_000n

export class MonotonicClock implements Clock {
  seconds(): number {
    return Number(process.hrtime.bigint() / NANOSECONDS_PER_SECOND)
  }

  nanosecondsOfSecond(): number {
    return Number(process.hrtime.bigint() % NANOSECONDS_PER_SECOND)
  }
}

/** Moves only when told to: for tests, replay and simulation. */
export class VirtualClock implements Clock {
  #nanoseconds = 0n

  constructor(startSeconds = 1) {
    this.#nanoseconds = BigInt(startSeconds) * NANOSECONDS_PER_SECOND
  }

  seconds(): number {
    return Number(this.#nanoseconds / NANOSECONDS_PER_SECOND)
  }

  nanosecondsOfSecond(): number {
    return Number(this.#nanoseconds % NANOSECONDS_PER_SECOND)
  }

  advanceSeconds(seconds: number): void {
    this.#nanoseconds += BigInt(Math.round(seconds * 1e9))
  }
}
