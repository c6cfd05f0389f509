/**
 * Open addressing with linear probing, the common part of HashMap and LruHashMap.
 *
 * Entries never move: a slot stays an entry's own while it lives. An entry begins with a state word: 0 empty, 1 deleted
 * (probing goes on), another odd number while it is written, an even generation while it lives. Readers take no lock: they
 * compare the key between two reads of that word. Writers hold the lock of the segment in which all probing for a key stays, so
 * that writers of different segments do not meet. At most half of the slots hold entries.
 */
import { type FixedMap, type MapOptions, type MapSpec, NOT_FOUND, type Slot } from './map.js'
import { HEADER_WORDS, Header } from './map-header.js'
import { SegmentLock } from './segment-lock.js'

export const EMPTY = 0
export const DELETED = 1
/** Header word from which generations are drawn. */
const GENERATION = Header.OWN
/** Entries of up to this many words are packed to a power of two, larger ones to whole cache lines. */
const PACKED_WORDS_MAX = 8
const LINE_WORDS = 16
const SEGMENT_SLOTS = 256
/** Rereads of an entry that a writer is busy with; it needs some tens of nanoseconds. */
const REREADS_MAX = 10_000

export interface HashLayout {
  readonly slots: number
  readonly segmentSlots: number
  readonly entryWords: number
  readonly entriesStart: number
  readonly totalWords: number
}

export function hashLayout(spec: MapSpec): HashLayout {
  const slots = Math.max(16, powerOfTwo(spec.maxEntries * 2))
  const segmentSlots = Math.min(slots, SEGMENT_SLOTS)
  const bare = 1 + spec.keyWords + spec.valueWords
  const isPacked = bare <= PACKED_WORDS_MAX
  const entryWords = isPacked ? powerOfTwo(bare) : Math.ceil(bare / LINE_WORDS) * LINE_WORDS
  const lockWords = Math.ceil(slots / segmentSlots / LINE_WORDS) * LINE_WORDS
  const entriesStart = HEADER_WORDS + lockWords
  return {
    slots,
    segmentSlots,
    entryWords,
    entriesStart,
    totalWords: entriesStart + slots * entryWords,
  }
}

const powerOfTwo = (atLeast: number): number => 2 ** Math.ceil(Math.log2(atLeast))

export abstract class HashTable implements FixedMap {
  readonly spec: MapSpec
  readonly words: Int32Array
  readonly capacity: number
  /** Slots to scan for a dump or a collection; twice the capacity or more. */
  readonly slotCount: number
  /** Of the default hash, and for callers that bring their own. */
  readonly seed: number
  protected readonly entriesStart: number
  protected readonly entryWords: number
  protected readonly keyWords: number
  protected readonly slotMask: number
  protected readonly segmentMask: number
  protected readonly lock: SegmentLock

  protected constructor(words: Int32Array, spec: MapSpec, options: MapOptions) {
    const layout = hashLayout(spec)
    this.spec = spec
    this.words = words
    this.capacity = spec.maxEntries
    this.slotCount = layout.slots
    this.seed = words[Header.SEED] as number
    this.entriesStart = layout.entriesStart
    this.entryWords = layout.entryWords
    this.keyWords = spec.keyWords
    this.slotMask = layout.slots - 1
    this.segmentMask = layout.segmentSlots - 1
    this.lock = new SegmentLock(words, HEADER_WORDS, options)
  }

  get size(): number {
    return Atomics.load(this.words, Header.SIZE)
  }

  hash(key: Int32Array): number {
    let h = this.seed
    for (let i = 0; i < this.keyWords; i++) {
      h = Math.imul(h ^ (key[i] as number), 0x9e3779b1)
      h ^= h >>> 15
    }
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
    return h ^ (h >>> 16)
  }

  lookup(key: Int32Array): Slot {
    return this.lookupHashed(key, this.hash(key))
  }

  /** With a hash of the caller's, the same for every use of the key. */
  lookupHashed(key: Int32Array, hash: number): Slot {
    const words = this.words
    const home = hash & this.slotMask
    const segment = home & ~this.segmentMask
    let rereads = 0
    for (let i = 0; i <= this.segmentMask; i++) {
      const slot = segment | ((home + i) & this.segmentMask)
      const at = this.entriesStart + slot * this.entryWords
      const state = Atomics.load(words, at)
      if (state === EMPTY) return NOT_FOUND
      if (state === DELETED) continue
      if ((state & 1) === 0) {
        if (!this.#isKeyAt(key, at + 1)) continue
        if (Atomics.load(words, at) === state) return slot
      }
      // A writer is at this entry, or was just now: look at it again.
      if (rereads++ < REREADS_MAX) i--
    }
    return NOT_FOUND
  }

  /** Reads the state word that a lookup with this hash begins at, so that its cache miss overlaps others. */
  touch(hash: number): number {
    return this.words[this.entriesStart + (hash & this.slotMask) * this.entryWords] as number
  }

  keyStart(slot: Slot): number {
    return this.entriesStart + slot * this.entryWords + 1
  }

  valueStart(slot: Slot): number {
    return this.entriesStart + slot * this.entryWords + 1 + this.keyWords
  }

  isLive(slot: Slot): boolean {
    const state = Atomics.load(this.words, this.entriesStart + slot * this.entryWords)
    return state !== EMPTY && (state & 1) === 0
  }

  /** Changes whenever the slot gets another entry, or this one another value. */
  generation(slot: Slot): number {
    return Atomics.load(this.words, this.entriesStart + slot * this.entryWords)
  }

  /** All live slots, for dumps; not for the packet path. */
  *slots(): Generator<Slot> {
    for (let slot = 0; slot < this.slotCount; slot++) if (this.isLive(slot)) yield slot
  }

  delete(key: Int32Array): boolean {
    return this.deleteHashed(key, this.hash(key))
  }

  deleteHashed(key: Int32Array, hash: number): boolean {
    const segment = hash & this.slotMask & ~this.segmentMask
    this.#acquire(segment)
    const slot = this.lookupHashed(key, hash)
    if (slot !== NOT_FOUND) this.removeLocked(slot)
    this.lock.release(this.segmentNumber(segment))
    return slot !== NOT_FOUND
  }

  /** Deletes what is in the slot; false when nothing is. */
  deleteSlot(slot: Slot): boolean {
    const segment = slot & ~this.segmentMask
    this.#acquire(segment)
    const isThere = this.isLive(slot)
    if (isThere) this.removeLocked(slot)
    this.lock.release(this.segmentNumber(segment))
    return isThere
  }

  protected acquire(segment: number): void {
    this.#acquire(segment)
  }

  protected segmentNumber(segment: number): number {
    return segment / (this.segmentMask + 1)
  }

  /** The first slot on the key's way that holds no entry, or NOT_FOUND. The caller has the lock. */
  protected freeSlot(hash: number): Slot {
    const home = hash & this.slotMask
    const segment = home & ~this.segmentMask
    for (let i = 0; i <= this.segmentMask; i++) {
      const slot = segment | ((home + i) & this.segmentMask)
      const state = this.words[this.entriesStart + slot * this.entryWords] as number
      if (state === EMPTY || state === DELETED) return slot
    }
    return NOT_FOUND
  }

  protected writeLocked(slot: Slot, key: Int32Array, value: Int32Array): void {
    const words = this.words
    const at = this.entriesStart + slot * this.entryWords
    const isNew = words[at] === EMPTY || words[at] === DELETED
    // Even, and never 0 (empty); with its lowest bit set it is never 1 (deleted).
    const generation = Atomics.add(words, GENERATION, 2) & ~1 || 2
    Atomics.store(words, at, generation | 1)
    for (let i = 0; i < this.keyWords; i++) words[at + 1 + i] = key[i] as number
    const start = at + 1 + this.keyWords
    for (let i = 0; i < this.spec.valueWords; i++) words[start + i] = value[i] as number
    Atomics.store(words, at, generation)
    if (isNew) Atomics.add(words, Header.SIZE, 1)
  }

  /** A deleted slot in front of an empty one is empty itself: no probe needs it to go on. */
  protected removeLocked(slot: Slot): void {
    const words = this.words
    const segment = slot & ~this.segmentMask
    Atomics.store(words, this.entriesStart + slot * this.entryWords, DELETED)
    Atomics.sub(words, Header.SIZE, 1)
    const next = segment | ((slot + 1) & this.segmentMask)
    if ((words[this.entriesStart + next * this.entryWords] as number) !== EMPTY) return
    for (let i = 0; i <= this.segmentMask; i++) {
      const before = segment | ((slot - i) & this.segmentMask)
      const at = this.entriesStart + before * this.entryWords
      if (words[at] !== DELETED) return
      Atomics.store(words, at, EMPTY)
    }
  }

  /** Takes the segment's lock; what a writer that died left half written becomes a deleted slot. */
  #acquire(segment: number): void {
    const isStolen = this.lock.acquire(this.segmentNumber(segment))
    if (!isStolen) return
    for (let i = 0; i <= this.segmentMask; i++) {
      const at = this.entriesStart + (segment + i) * this.entryWords
      const state = this.words[at] as number
      if ((state & 1) === 1 && state !== DELETED) Atomics.store(this.words, at, DELETED)
    }
  }

  #isKeyAt(key: Int32Array, start: number): boolean {
    const words = this.words
    for (let i = this.keyWords - 1; i >= 0; i--) if (words[start + i] !== key[i]) return false
    return true
  }
}
