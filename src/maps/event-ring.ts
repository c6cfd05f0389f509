/**
 * Records from one producer (a worker) to one consumer (an observing process), in order. The producer never waits: when the ring is
 * full a record is lost and counted. The consumer may come and go; what it has taken is noted in the memory.
 */
import { type FixedMap, type MapOptions, type MapSpec, MapType } from './map.js'
import {
  boundedWords,
  checkSpec,
  createWords,
  HEADER_WORDS,
  Header,
  openWords,
  publishWords,
  wrongSpec,
} from './map-header.js'

/** Records written and taken, as int32 that wrap; a line apart, for their writers differ. */
const WRITTEN = Header.OWN
const LOST = Header.ENTRIES_DROPPED
const TAKEN_LINE = HEADER_WORDS
const LINE_WORDS = 16
const RECORDS = HEADER_WORDS + LINE_WORDS

/** From `reserve`: the ring is full. */
export const NO_ROOM = -1

export class EventRing implements FixedMap {
  readonly capacity: number
  readonly #mask: number
  readonly #recordWords: number

  private constructor(
    readonly words: Int32Array,
    readonly spec: MapSpec,
  ) {
    this.capacity = spec.maxEntries
    this.#mask = spec.maxEntries - 1
    this.#recordWords = spec.valueWords
  }

  static wordsFor(spec: MapSpec): number {
    checkSpec(spec, MapType.EVENT_RING)
    if ((spec.maxEntries & (spec.maxEntries - 1)) !== 0) {
      throw wrongSpec(spec, 'maxEntries', spec.maxEntries, 'a power of two')
    }
    return boundedWords(spec, RECORDS + spec.maxEntries * spec.valueWords)
  }

  static bytesFor(spec: MapSpec): number {
    return EventRing.wordsFor(spec) * 4
  }

  static create(spec: MapSpec, buffer: ArrayBufferLike, options: MapOptions = {}): EventRing {
    const words = createWords(spec, buffer, EventRing.wordsFor(spec), options)
    publishWords(words)
    return new EventRing(words, spec)
  }

  static open(buffer: ArrayBufferLike, expected?: MapSpec, options: MapOptions = {}): EventRing {
    const type = MapType.EVENT_RING
    const { words, spec } = openWords(buffer, type, EventRing.wordsFor, expected, options)
    return new EventRing(words, spec)
  }

  get size(): number {
    return (Atomics.load(this.words, WRITTEN) - Atomics.load(this.words, TAKEN_LINE)) | 0
  }

  /** Records lost since the ring was made; wraps. */
  get lost(): number {
    return Atomics.load(this.words, LOST)
  }

  /** Producer: index in `words` of the next record, to be written and then committed, or NO_ROOM. */
  reserve(): number {
    if (this.size >= this.capacity) {
      this.words[LOST] = ((this.words[LOST] as number) + 1) | 0
      return NO_ROOM
    }
    return RECORDS + ((this.words[WRITTEN] as number) & this.#mask) * this.#recordWords
  }

  /** Producer: hands the reserved record over. */
  commit(): void {
    Atomics.store(this.words, WRITTEN, ((this.words[WRITTEN] as number) + 1) | 0)
  }

  /** Consumer: copies the oldest record and takes it; false when there is none. */
  read(into: Int32Array): boolean {
    if (this.size <= 0) return false
    const taken = this.words[TAKEN_LINE] as number
    const start = RECORDS + (taken & this.#mask) * this.#recordWords
    for (let i = 0; i < this.#recordWords; i++) into[i] = this.words[start + i] as number
    Atomics.store(this.words, TAKEN_LINE, (taken + 1) | 0)
    return true
  }
}
