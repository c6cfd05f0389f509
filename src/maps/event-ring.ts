/**
 * Records from one producer (a worker) to one consumer (an observing process), in order. The
 * producer never waits: when the ring is full the record is lost and counted, and the next one that
 * fits says how many went before it.
 *
 * The consumer may come and go, or be killed: what it has taken is noted in the memory after a
 * record was copied, so that a new one goes on there (a record may then be seen twice, never
 * skipped). Both cursors are int32 that wrap; their difference is right all the same. What it does
 * not do: wake the consumer, or serve two of them.
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

/** The producer's line: records written, and records lost for want of room. */
const WRITTEN = Header.OWN
const LOST = Header.OWN + 1
/** The consumer's line: records taken, and losses it has been told of. */
const TAKEN = HEADER_WORDS
const LOST_TOLD = HEADER_WORDS + 1
const LINE_WORDS = 16
const RECORDS = HEADER_WORDS + LINE_WORDS
/** A record begins with the value of LOST when it was reserved. */
const RECORD_HEADER_WORDS = 1

/** From `reserve`: the ring is full. */
export const NO_ROOM = -1

export class EventRing implements FixedMap {
  readonly words: Int32Array
  readonly spec: MapSpec
  readonly capacity: number
  /** Consumer: records that were lost just before the one last read. */
  lostBefore = 0
  readonly #mask: number
  readonly #recordWords: number
  /** The producer's last look at TAKEN: it need not fetch the consumer's line for each record. */
  #takenSeen: number

  private constructor(words: Int32Array, spec: MapSpec) {
    this.words = words
    this.spec = spec
    this.capacity = spec.maxEntries
    this.#mask = spec.maxEntries - 1
    this.#recordWords = RECORD_HEADER_WORDS + spec.valueWords
    this.#takenSeen = Atomics.load(words, TAKEN)
  }

  static wordsFor(spec: MapSpec): number {
    checkSpec(spec, MapType.EVENT_RING)
    if ((spec.maxEntries & (spec.maxEntries - 1)) !== 0) {
      throw wrongSpec(spec, 'maxEntries', spec.maxEntries, 'a power of two')
    }
    return boundedWords(spec, RECORDS + spec.maxEntries * (RECORD_HEADER_WORDS + spec.valueWords))
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

  /** Records written and not yet taken. */
  get size(): number {
    return (Atomics.load(this.words, WRITTEN) - Atomics.load(this.words, TAKEN)) | 0
  }

  /** Records lost since the ring was made; an int32 that wraps. */
  get lost(): number {
    return Atomics.load(this.words, LOST)
  }

  /**
   * Producer: index in `words` of the next record, to be written and then committed, or NO_ROOM. A
   * second call before `commit` answers with the same record.
   *
   * @param ahead records reserved before it that are to be committed together with it
   */
  reserve(ahead = 0): number {
    const words = this.words
    const written = ((words[WRITTEN] as number) + ahead) | 0
    if (((written - this.#takenSeen) | 0) >= this.capacity) {
      this.#takenSeen = Atomics.load(words, TAKEN)
      if (((written - this.#takenSeen) | 0) >= this.capacity) {
        words[LOST] = ((words[LOST] as number) + 1) | 0
        return NO_ROOM
      }
    }
    const record = RECORDS + Math.imul(written & this.#mask, this.#recordWords)
    words[record] = words[LOST] as number
    return record + RECORD_HEADER_WORDS
  }

  /** Producer: hands the reserved record over, or `count` of them in the order of their reserving. */
  commit(count = 1): void {
    Atomics.store(this.words, WRITTEN, ((this.words[WRITTEN] as number) + count) | 0)
  }

  /**
   * Consumer: copies the oldest record and takes it; false when there is none. See `lostBefore`.
   */
  read(into: Int32Array): boolean {
    const words = this.words
    const taken = words[TAKEN] as number
    if (((Atomics.load(words, WRITTEN) - taken) | 0) <= 0) return false
    const record = RECORDS + Math.imul(taken & this.#mask, this.#recordWords)
    const start = record + RECORD_HEADER_WORDS
    const count = this.spec.valueWords
    for (let i = 0; i < count; i++) into[i] = words[start + i] as number
    const lost = words[record] as number
    this.lostBefore = (lost - (words[LOST_TOLD] as number)) | 0
    words[LOST_TOLD] = lost
    Atomics.store(words, TAKEN, (taken + 1) | 0)
    return true
  }

  /** Consumer: a word of the oldest record, which is there (`size`). */
  peek(word: number): number {
    const taken = this.words[TAKEN] as number
    const record = RECORDS + Math.imul(taken & this.#mask, this.#recordWords)
    return this.words[record + RECORD_HEADER_WORDS + word] as number
  }

  /**
   * Consumer: forgets what waits, so as to begin with the present. Returns how many records were
   * dropped so.
   */
  skip(): number {
    const words = this.words
    const written = Atomics.load(words, WRITTEN)
    const skipped = (written - (words[TAKEN] as number)) | 0
    words[LOST_TOLD] = Atomics.load(words, LOST)
    Atomics.store(words, TAKEN, written)
    return skipped
  }
}
