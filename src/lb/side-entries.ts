/**
 * What a frontend has besides its master entry, by its reverse NAT index: the backends that session
 * affinity may name, and the ranges of admitted clients. Control plane only.
 */
import type { ArrayMap } from '../maps/array-map.js'
import type { HashMap } from '../maps/hash-map.js'
import type { Cidr } from '../wire/address.js'
import { insert, type UndoList } from './map-edit.js'
import { AFFINITY_MATCH_KEY_WORDS, SOURCE_RANGE_KEY_WORDS } from './service-layout.js'
import type { ServiceMaps } from './service-maps.js'
import { writeSourceRangeKey } from './source-ranges.js'

const PRESENT = Int32Array.of(1)

export class SideEntries {
  readonly #matches: HashMap
  readonly #ranges: HashMap
  readonly #lengths: ArrayMap

  constructor(maps: ServiceMaps) {
    this.#matches = maps.affinityMatch
    this.#ranges = maps.sourceRanges
    this.#lengths = maps.sourceRangeLengths
  }

  addMatches(revNatIndex: number, ids: readonly number[], undo: UndoList): void {
    for (const id of ids) insert(this.#matches, Int32Array.of(id, revNatIndex), PRESENT, undo)
  }

  deleteMatches(revNatIndex: number, ids: Iterable<number>): void {
    for (const id of ids) this.#matches.delete(Int32Array.of(id, revNatIndex))
  }

  /** The ranges count at once, beside those that are there. */
  addRanges(revNatIndex: number, ranges: readonly Cidr[], undo: UndoList): void {
    const start = this.#lengths.valueStart(revNatIndex)
    const before = this.#lengths.words.slice(start, start + this.#lengths.spec.valueWords)
    undo.add(() => this.#lengths.update(revNatIndex, before))
    for (const cidr of ranges) {
      insert(this.#ranges, keyOf(revNatIndex, cidr), PRESENT, undo)
      const { prefixBits } = cidr
      Atomics.or(this.#lengths.words, start + (prefixBits >>> 5), 1 << (prefixBits & 31))
    }
  }

  /** Deletes every range of the index but these. */
  keepRanges(revNatIndex: number, before: readonly Cidr[], kept: readonly Cidr[]): void {
    const keep = new Set(kept.map((cidr) => keyOf(revNatIndex, cidr).join()))
    for (const cidr of before) {
      const key = keyOf(revNatIndex, cidr)
      if (!keep.has(key.join())) this.#ranges.delete(key)
    }
    const words = new Int32Array(this.#lengths.spec.valueWords)
    for (const { prefixBits } of kept) words[prefixBits >>> 5] |= 1 << (prefixBits & 31)
    this.#lengths.update(revNatIndex, words)
  }

  /** Backends by reverse NAT index, as an earlier control plane left them. */
  matches(): Map<number, number[]> {
    const found = new Map<number, number[]>()
    for (const slot of this.#matches.slots()) {
      const at = this.#matches.keyStart(slot)
      const [id = 0, index = 0] = this.#matches.words.subarray(at, at + AFFINITY_MATCH_KEY_WORDS)
      listOf(found, index).push(id)
    }
    return found
  }

  /** Ranges by reverse NAT index. */
  ranges(): Map<number, Cidr[]> {
    const found = new Map<number, Cidr[]>()
    for (const slot of this.#ranges.slots()) {
      const at = this.#ranges.keyStart(slot)
      const key = this.#ranges.words.slice(at, at + SOURCE_RANGE_KEY_WORDS)
      const word = key[0] as number
      listOf(found, word >>> 8).push({ words: key.subarray(1), prefixBits: word & 0xff })
    }
    return found
  }
}

function keyOf(revNatIndex: number, cidr: Cidr): Int32Array {
  const key = new Int32Array(SOURCE_RANGE_KEY_WORDS)
  writeSourceRangeKey(key, revNatIndex, cidr.prefixBits, cidr.words, 0)
  return key
}

function listOf<V>(lists: Map<number, V[]>, index: number): V[] {
  let list = lists.get(index)
  if (list === undefined) {
    list = []
    lists.set(index, list)
  }
  return list
}
