/** The clock that bursts are stamped with. */

const NANOSECONDS_PER_SECOND = 1_000_000_000n

export interface MonotonicTime {
  readonly seconds: number
  readonly nanoseconds: number
}

/** CLOCK_MONOTONIC now; the same clock as words 1 and 2 of a burst. */
export function monotonicTime(): MonotonicTime {
  const now = process.hrtime.bigint()
  return {
    seconds: Number(now / NANOSECONDS_PER_SECOND),
    nanoseconds: Number(now % NANOSECONDS_PER_SECOND),
  }
}
