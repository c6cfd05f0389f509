/**
 * Rate limits by token bucket, one bucket for each index: a bucket gains tokens at an even rate up
 * to its size, each use takes some, and without them there is no use. Buckets begin full.
 *
 * Time is an argument; the clock may stand still, but not go back.
 */

/** Keeps the product below finite; any bucket in use is full long before. */
const ELAPSED_SECONDS_MAX = 100_000

export class TokenBuckets {
  /** Tokens that each bucket lacks to be full. */
  readonly #missing: Float64Array
  readonly #seconds: Float64Array

  constructor(count: number) {
    this.#missing = new Float64Array(count)
    this.#seconds = new Float64Array(count)
  }

  /**
   * Takes tokens; false, and none taken, when there are too few.
   *
   * @param perSecond tokens gained in a second, 0 or more
   * @param size tokens at most; 0: never any
   * @param nowNanoseconds within the second
   */
  take(
    index: number,
    perSecond: number,
    size: number,
    nowSeconds: number,
    nowNanoseconds: number,
    count = 1,
  ): boolean {
    const now = nowSeconds + nowNanoseconds / 1e9
    const elapsed = Math.min(now - (this.#seconds[index] as number), ELAPSED_SECONDS_MAX)
    this.#seconds[index] = now
    const missing = Math.max(0, (this.#missing[index] as number) - elapsed * perSecond)
    const mayTake = missing + count <= size
    this.#missing[index] = mayTake ? missing + count : missing
    return mayTake
  }
}
