/**
 * Counters by worker (BPF_MAP_TYPE_PERCPU_ARRAY): each worker adds to its own row, readers sum over the rows. They are doubles, exact
 * to 2^53: an int32 wraps within seconds at line rate, and adding to a typed array of doubles costs no more than to one of int32.
 */
import { type FixedMap, type MapOptions, type MapSpec, MapType } from './map.js'
import {
  boundedWords,
  checkSpec,
  createWords,
  HEADER_WORDS,
  openWords,
  publishWords,
} from './map-header.js'

export class CounterMap implements FixedMap {
  readonly size: number
  readonly capacity: number
  readonly workers: number

  private constructor(
    readonly words: Int32Array,
    readonly spec: MapSpec,
  ) {
    this.size = spec.maxEntries
    this.capacity = spec.maxEntries
    this.workers = spec.workers ?? 1
  }

  static wordsFor(spec: MapSpec): number {
    checkSpec(spec, MapType.COUNTER)
    return boundedWords(spec, HEADER_WORDS + spec.maxEntries * 2 * (spec.workers ?? 1))
  }

  static bytesFor(spec: MapSpec): number {
    return CounterMap.wordsFor(spec) * 4
  }

  static create(spec: MapSpec, buffer: ArrayBufferLike, options: MapOptions = {}): CounterMap {
    const words = createWords(spec, buffer, CounterMap.wordsFor(spec), options)
    publishWords(words)
    return new CounterMap(words, spec)
  }

  static open(buffer: ArrayBufferLike, expected?: MapSpec, options: MapOptions = {}): CounterMap {
    const type = MapType.COUNTER
    const { words, spec } = openWords(buffer, type, CounterMap.wordsFor, expected, options)
    return new CounterMap(words, spec)
  }

  /** One worker's counters, to add to. */
  row(worker: number): Float64Array {
    const counters = this.spec.maxEntries
    const start = this.words.byteOffset + (HEADER_WORDS + worker * counters * 2) * 4
    return new Float64Array(this.words.buffer, start, counters)
  }

  /** One counter, over all workers. */
  sum(index: number): number {
    let sum = 0
    for (let worker = 0; worker < this.workers; worker++) sum += this.row(worker)[index] ?? 0
    return sum
  }
}
