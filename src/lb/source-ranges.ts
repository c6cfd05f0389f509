/**
 * The client addresses that a service admits (loadBalancerSourceRanges; Cilium: lb4_source_range):
 * a hash probe for each prefix length that the service uses. Asked for traffic from outside (drop
 * 177); as in Cilium, pods are not held to it.
 */
import type { ArrayMap } from '../maps/array-map.js'
import type { HashMap } from '../maps/hash-map.js'
import { NOT_FOUND } from '../maps/map.js'
import { SOURCE_RANGE_KEY_WORDS, SOURCE_RANGE_LENGTH_WORDS } from './service-layout.js'

export const ADDRESS_BITS = 128

export class SourceRanges {
  readonly #ranges: HashMap
  readonly #lengths: ArrayMap
  readonly #key = new Int32Array(SOURCE_RANGE_KEY_WORDS)

  constructor(ranges: HashMap, lengths: ArrayMap) {
    this.#ranges = ranges
    this.#lengths = lengths
  }

  /**
   * Does a range of the service hold the address whose four words lie at `start`? At most 129
   * probes, usually one or two.
   */
  admits(revNatIndex: number, words: Int32Array, start: number): boolean {
    const lengths = this.#lengths.valueStart(revNatIndex)
    for (let i = SOURCE_RANGE_LENGTH_WORDS - 1; i >= 0; i--) {
      let left = this.#lengths.words[lengths + i] as number
      while (left !== 0) {
        const bit = 31 - Math.clz32(left)
        left &= ~(1 << bit)
        writeSourceRangeKey(this.#key, revNatIndex, (i << 5) | bit, words, start)
        if (this.#ranges.lookup(this.#key) !== NOT_FOUND) return true
      }
    }
    return false
  }
}

/** @param prefixLength of the 128 bits of the address at `start`, of which it takes only so many */
export function writeSourceRangeKey(
  key: Int32Array,
  revNatIndex: number,
  prefixLength: number,
  words: Int32Array,
  start: number,
): void {
  key[0] = (revNatIndex << 8) | prefixLength
  for (let i = 0; i < 4; i++) {
    const bits = Math.min(32, Math.max(0, prefixLength - 32 * i))
    key[1 + i] = bits === 0 ? 0 : (words[start + i] as number) & (-1 << (32 - bits))
  }
}
