/**
 * Whether an address can be a service's at all: one bit of a table that stays in the cache, so that
 * packets of no service pay two nanoseconds and not three hash lookups. A set bit may be another
 * address's; a clear one is sure.
 */
import type { ArrayMap } from '../maps/array-map.js'
import { ADDRESS_FILTER_BITS } from './service-layout.js'

const HASH_SHIFT = 32 - Math.log2(ADDRESS_FILTER_BITS)

const bitOf = (lastWord: number): number => Math.imul(lastWord, 0x9e3779b1) >>> HASH_SHIFT

export class AddressFilter {
  readonly #words: Int32Array
  readonly #start: number

  constructor(map: ArrayMap) {
    this.#words = map.words
    this.#start = map.valueStart(0)
  }

  /** @param lastWord of the four words of an address; an IPv4 address as a whole */
  mayHold(lastWord: number): boolean {
    const bit = bitOf(lastWord)
    return (((this.#words[this.#start + (bit >>> 5)] as number) >>> (bit & 31)) & 1) === 1
  }
}

/** The control plane's side: counts the addresses behind each bit. */
export class AddressFilterWriter {
  readonly #words: Int32Array
  readonly #start: number
  readonly #counts = new Uint32Array(ADDRESS_FILTER_BITS)

  constructor(map: ArrayMap) {
    this.#words = map.words
    this.#start = map.valueStart(0)
  }

  add(lastWord: number): void {
    const bit = bitOf(lastWord)
    this.#counts[bit] = (this.#counts[bit] as number) + 1
    Atomics.or(this.#words, this.#start + (bit >>> 5), 1 << (bit & 31))
  }

  remove(lastWord: number): void {
    const bit = bitOf(lastWord)
    const left = (this.#counts[bit] as number) - 1
    this.#counts[bit] = left
    if (left === 0) Atomics.and(this.#words, this.#start + (bit >>> 5), ~(1 << (bit & 31)))
  }

  /** Clears the bits that a dead control plane left behind. */
  clearUnused(): void {
    for (let bit = 0; bit < ADDRESS_FILTER_BITS; bit++) {
      if (this.#counts[bit] !== 0 || this.#words[this.#start + (bit >>> 5)] === 0) continue
      Atomics.and(this.#words, this.#start + (bit >>> 5), ~(1 << (bit & 31)))
    }
  }
}
