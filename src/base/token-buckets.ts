/**
 * Rate limits by token bucket, one bucket for each index: a bucket gains tokens at an even rate up
 * to its size, each use takes some, and without them there is no use. Buckets begin full.
 *
 * In memory that several threads have, they share the buckets: each is taken from under a lock of its
 * own, held for some tens of nanoseconds. Who does not get the lock in SPINS_MAX tries (its holder was
 * put off the processor) gets no tokens.
 *
 * Time is an argument; the clock may stand still, but not go back.
 */

/** Keeps the product below finite; any bucket in use is full long before. */
const ELAPSED_SECONDS_MAX = 100_000
const SPINS_MAX = 10_000

/** A lock word and one that is free; the tokens that the bucket lacks to be full; the last use. */
const BUCKET_WORDS = 6
const BUCKET_DOUBLES = BUCKET_WORDS / 2
const MISSING = 1
const SECONDS = 2
const FREE = 0
const TAKEN = 1

export class TokenBuckets {
  readonly #words: Int32Array
  readonly #doubles: Float64Array

  /**
   * @param memory bytesFor(count) bytes from `byteOffset` on, a multiple of eight; zeros are full
   * buckets
   */
  constructor(
    count: number,
    memory: ArrayBufferLike = new ArrayBuffer(TokenBuckets.bytesFor(count)),
    byteOffset = 0,
  ) {
    this.#words = new Int32Array(memory, byteOffset, count * BUCKET_WORDS)
    this.#doubles = new Float64Array(memory, byteOffset, count * BUCKET_DOUBLES)
  }

  static bytesFor(count: number): number {
    return count * BUCKET_WORDS * Int32Array.BYTES_PER_ELEMENT
  }

  /** Frees the locks of threads that were killed; while no thread uses the buckets. */
  unlock(): void {
    for (let at = 0; at < this.#words.length; at += BUCKET_WORDS) this.#words[at] = FREE
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
    const lock = index * BUCKET_WORDS
    if (!this.#lock(lock)) return false
    const doubles = this.#doubles
    const at = index * BUCKET_DOUBLES
    const now = nowSeconds + nowNanoseconds / 1e9
    // Bursts of two workers overlap: the later time may come first.
    const last = doubles[at + SECONDS] as number
    const elapsed = Math.max(0, Math.min(now - last, ELAPSED_SECONDS_MAX))
    doubles[at + SECONDS] = Math.max(now, last)
    const missing = Math.max(0, (doubles[at + MISSING] as number) - elapsed * perSecond)
    const mayTake = missing + count <= size
    doubles[at + MISSING] = mayTake ? missing + count : missing
    Atomics.store(this.#words, lock, FREE)
    return mayTake
  }

  #lock(at: number): boolean {
    for (let spins = 0; spins < SPINS_MAX; spins++) {
      if (Atomics.compareExchange(this.#words, at, FREE, TAKEN) === FREE) return true
    }
    return false
  }
}
