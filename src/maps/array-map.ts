/** A fixed number of entries by index, all there from the start and zero at first (BPF_MAP_TYPE_ARRAY). */

import { type FixedMap, type MapOptions, type MapSpec, MapType } from './map.js'
import {
  boundedWords,
  checkSpec,
  createWords,
  HEADER_WORDS,
  openWords,
  publishWords,
} from './map-header.js'

export class ArrayMap implements FixedMap {
  readonly words: Int32Array
  readonly size: number
  readonly capacity: number

  private constructor(
    words: Int32Array,
    readonly spec: MapSpec,
  ) {
    this.words = words
    this.size = spec.maxEntries
    this.capacity = spec.maxEntries
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
    return new ArrayMap(words, spec)
  }

  static open(buffer: ArrayBufferLike, expected?: MapSpec, options: MapOptions = {}): ArrayMap {
    const { words, spec } = openWords(buffer, MapType.ARRAY, ArrayMap.wordsFor, expected, options)
    return new ArrayMap(words, spec)
  }

  valueStart(index: number): number {
    return HEADER_WORDS + index * this.spec.valueWords
  }
}
