/**
 * A small seeded generator (xorshift32, Marsaglia 2003, "Xorshift RNGs"), for backend choice, tests
 * and the fault port. Not for secrets.
 */
export class Prng {
  #state: number

  /** Any int32; zero, the one state that xorshift cannot leave, is replaced. */
  constructor(seed: number) {
    this.#state = seed | 0 || 0x9e3779b9 | 0
  }

  /** The next number, as an int32 of either sign. */
  nextInt32(): number {
    let x = this.#state
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    this.#state = x
    return x
  }

  /**
   * A whole number from 0 to bound - 1; bound is 1 to 2^31 - 1. The bias of the modulo is below
   * bound / 2^32.
   */
  below(bound: number): number {
    return (this.nextInt32() >>> 0) % bound
  }

  /** True with the given probability, 0 to 1. */
  chance(probability: number): boolean {
    return this.nextInt32() >>> 0 < probability * 0x1_0000_0000
  }
}
