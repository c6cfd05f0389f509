/**
 * How a reader learns that a map means something else now, without looking into it: a count in the
 * map's header. Who remembers what he made of several maps compares the sum of their counts. The maps
 * that decide on packets count their changes in one more place, `MapOptions.total`, for the flow lane,
 * which looks there once a burst: of a handle made without it the lane hears nothing.
 *
 * Hash, lpm and array maps count each `update` and `delete`. Who writes words in place, or makes an
 * entry of an LRU table mean something else, marks the change himself: new connections alone void
 * nothing.
 */
import type { MapOptions } from './map.js'
import { Header } from './map-header.js'

export class ChangeCount {
  readonly #words: Int32Array
  readonly #total: Int32Array | undefined

  /** @param words of the map */
  constructor(words: Int32Array, options: MapOptions) {
    this.#words = words
    this.#total = options.total
  }

  /** After the change, so that whoever sees the new count sees the change as well. */
  mark(): void {
    Atomics.add(this.#words, Header.REVISION, 1)
    if (this.#total !== undefined) Atomics.add(this.#total, Header.REVISION, 1)
  }
}

export class Revisions {
  readonly #maps: readonly Int32Array[]

  constructor(maps: readonly { readonly words: Int32Array }[]) {
    this.#maps = maps.map((map) => map.words)
  }

  /** Another number after any change of any of the maps; wraps. */
  get sum(): number {
    const maps = this.#maps
    let sum = 0
    for (let i = 0; i < maps.length; i++) {
      sum = (sum + ((maps[i] as Int32Array)[Header.REVISION] as number)) | 0
    }
    return sum
  }
}
