/**
 * A fixed number of entries by index, all there from the start and zero at first
 * (BPF_MAP_TYPE_ARRAY).
 */
import {
  type FixedMap,
  type MapOptions,
  type MapSpec,
  MapType,
  NOT_FOUND,
  type Slot,
} from './map.js'
import {
  boundedWords,
  checkSpec,
  createWords,
  HEADER_WORDS,
  openWords,
  publishWords,
} from './map-header.js'
import { ChangeCount } from './revision.js'

export class ArrayMap implements FixedMap {
  readonly words: Int32Array
  readonly spec: MapSpec
  readonly size: number
  readonly capacity: number
  readonly changes: ChangeCount
  readonly #valueWords: number

  private constructor(words: Int32Array, spec: MapSpec, options: MapOptions) {
    this.words = words
    this.changes = new ChangeCount(words, options)
    this.spec = spec
    this.size = spec.maxEntries
    this.capacity = spec.maxEntries
    this.#valueWords = spec.valueWords
  }

  static wordsFor(spec: MapSpec): number {
    checkSpec(spec, MapType.ARRAY)
    return boundedWords(spec, HEADER_WORDS + spec.maxEntries * spec.valueWords)
  }

  static bytesFor(spec: MapSpec): number {
    return ArrayMap.wordsFor(spec) * 4
  }

  static create(spec: MapSpec, buffer: ArrayBufferLike, options: MapOptions = {}): ArrayMap {
    const words = createWords(spec, buffer, ArrayMap.wordsFor(spec), options)
    publishWords(words)
    return new ArrayMap(words, spec, options)
  }

  static open(buffer: ArrayBufferLike, expected?: MapSpec, options: MapOptions = {}): ArrayMap {
    const { words, spec } = openWords(buffer, MapType.ARRAY, ArrayMap.wordsFor, expected, options)
    return new ArrayMap(words, spec, options)
  }

  /** The index itself, or NOT_FOUND outside the array. */
  lookup(index: number): Slot {
    return index >= 0 && index < this.capacity ? index : NOT_FOUND
  }

  /**
   * Index in `words` of an entry's value, which readers and writers share word by word: there is no
   * lock. A writer of configuration marks the change (`changes`) when he is done.
   */
  valueStart(index: number): number {
    return HEADER_WORDS + index * this.#valueWords
  }

  /** Stores a value word by word; the index, or NOT_FOUND outside the array. */
  update(index: number, value: Int32Array): Slot {
    if (this.lookup(index) === NOT_FOUND) return NOT_FOUND
    const start = this.valueStart(index)
    for (let i = 0; i < this.#valueWords; i++) {
      Atomics.store(this.words, start + i, value[i] as number)
    }
    this.changes.mark()
    return index
  }
}
