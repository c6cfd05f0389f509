/**
 * How a reader learns that something of a map has changed without looking into it: a count in the
 * map's header, raised after each change of configuration. Who remembers what he made of several
 * maps compares the sum of their counts.
 *
 * Hash, lpm and array maps are counted. What the packet path itself writes (LRU tables, counters,
 * and words of an array written in place without `markChanged`) is not configuration.
 */
import { Header } from './map-header.js'

/** After the change, so that whoever sees the new count sees the change as well. */
export function markChanged(words: Int32Array): void {
  Atomics.add(words, Header.REVISION, 1)
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
