/**
 * Counters by worker (BPF_MAP_TYPE_PERCPU_ARRAY): each worker adds to its own row and nobody else
 * writes it, readers add up the rows. They are doubles, exact to 2^53 (docs/maps.md says why). Rows
 * begin on cache lines of their own.
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

const LINE_DOUBLES = 8
const DOUBLE_WORDS = 2

const rowDoubles = (spec: MapSpec): number =>
  Math.ceil(spec.maxEntries / LINE_DOUBLES) * LINE_DOUBLES

export class CounterMap implements FixedMap {
  readonly words: Int32Array
  readonly spec: MapSpec
  readonly size: number
  readonly capacity: number
  readonly workers: number
  readonly #counters: Float64Array
  readonly #rowDoubles: number

  private constructor(words: Int32Array, spec: MapSpec) {
    this.words = words
    this.spec = spec
    this.size = spec.maxEntries
    this.capacity = spec.maxEntries
    this.workers = spec.workers ?? 1
    this.#rowDoubles = rowDoubles(spec)
    const start = words.byteOffset + HEADER_WORDS * 4
    this.#counters = new Float64Array(words.buffer, start, this.#rowDoubles * this.workers)
  }

  static wordsFor(spec: MapSpec): number {
    checkSpec(spec, MapType.COUNTER)
    const doubles = rowDoubles(spec) * (spec.workers ?? 1)
    return boundedWords(spec, HEADER_WORDS + doubles * DOUBLE_WORDS)
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

  /** One worker's counters, to add to: `row[index] += n`. The view is made once, not per packet. */
  row(worker: number): Float64Array {
    const start = worker * this.#rowDoubles
    return this.#counters.subarray(start, start + this.capacity)
  }

  /** One counter, over all workers. */
  sum(index: number): number {
    let sum = 0
    for (let worker = 0; worker < this.workers; worker++) {
      sum += this.#counters[worker * this.#rowDoubles + index] as number
    }
    return sum
  }
}
