/**
 * The reading side of HashMap and LruHashMap: open addressing with linear probing, entries that
 * never move, and no locks.
 *
 * A reader compares the key between two reads of the slot's state word; a writer changes that word
 * before and after it writes. `lookup` therefore answers with the slot of the key asked for, at
 * some moment during the call. What the caller reads from the slot afterwards may already be
 * another entry's: who cannot bear that compares `generation` (see `foundGeneration`), or copies
 * with `read`.
 *
 * The reads are plain ones. Atomics.load is a call in V8 (13 ns against 1 for the whole check,
 * docs/maps.md), and x86 keeps loads in order, and stores, as V8 does for elements of typed arrays.
 * The second read goes through a second view of the memory, so that no compiler can take it for the
 * first. On other processors the state word is read and written atomically.
 */
import {
  DELETED,
  EMPTY,
  GENERATION_SHIFT,
  type HashLayout,
  hashLayout,
  KEY_BUSY,
  VALUE_BUSY,
} from './hash-layout.js'
import { type FixedMap, type MapOptions, type MapSpec, NOT_FOUND, type Slot } from './map.js'
import { Header } from './map-header.js'
import { KEEPS_ORDER } from './processor.js'
import { ChangeCount } from './revision.js'
import { SegmentLocks } from './segment-lock.js'

/**
 * Looks at entries that writers changed under the reader, in all of one lookup. A writer needs some
 * tens of nanoseconds.
 */
export const REREADS_MAX = 1_000

export abstract class HashReader implements FixedMap {
  readonly spec: MapSpec
  readonly words: Int32Array
  readonly capacity: number
  /** Slots to scan for a dump or a collection: a power of two, at least twice the capacity. */
  readonly slotCount: number
  /** Of the default hash, and for callers that bring their own. */
  readonly seed: number
  /** Generation of the entry that the last successful lookup found. */
  foundGeneration = 0
  /**
   * Geometry, for a caller that walks the slots of a hash itself because it looks for two keys at
   * once: from `hash & slotMask`, wrapping within the segment, until a state word is EMPTY.
   */
  readonly slotMask: number
  /** Slots of a segment less one: a mask for the place within. */
  readonly segmentMask: number
  readonly entriesStart: number
  readonly entryWords: number
  protected readonly layout: HashLayout
  protected readonly keyWords: number
  readonly changes: ChangeCount
  protected readonly locks: SegmentLocks
  /** A second view of the same memory, for accesses that must not be taken for earlier ones. */
  protected readonly again: Int32Array

  protected constructor(words: Int32Array, spec: MapSpec, options: MapOptions) {
    const layout = hashLayout(spec)
    this.spec = spec
    this.words = words
    this.again = new Int32Array(words.buffer, words.byteOffset, words.length)
    this.capacity = spec.maxEntries
    this.slotCount = layout.slots
    this.seed = words[Header.SEED] as number
    this.layout = layout
    this.entriesStart = layout.entriesStart
    this.entryWords = layout.entryWords
    this.keyWords = spec.keyWords
    this.slotMask = layout.slots - 1
    this.segmentMask = layout.segmentSlots - 1
    this.changes = new ChangeCount(words, options)
    this.locks = new SegmentLocks(words, layout.locksStart, options)
  }

  get size(): number {
    return Atomics.load(this.words, Header.SIZE)
  }

  /** For the packet path: a plain load, where `size` costs a call. */
  get isEmpty(): boolean {
    return this.words[Header.SIZE] === 0
  }

  /** Share of the capacity in use, 0 to 1. */
  get pressure(): number {
    return this.size / this.capacity
  }

  /** Locks taken over from holders that died or stood still. */
  get locksStolen(): number {
    return Atomics.load(this.words, Header.LOCKS_STOLEN)
  }

  /** Entries that a dead writer left half written, and that were removed. */
  get entriesDropped(): number {
    return Atomics.load(this.words, Header.ENTRIES_DROPPED)
  }

  /**
   * The default hash: two chains of multiply and fold over the words, then the finalizer of
   * MurmurHash3 (public domain).
   */
  hash(key: Int32Array, start = 0): number {
    const end = start + this.keyWords
    let a = this.seed
    let b = ~this.seed
    let i = start
    for (; i + 1 < end; i += 2) {
      a = Math.imul(a ^ (key[i] as number), 0x9e3779b1)
      b = Math.imul(b ^ (key[i + 1] as number), 0xc2b2ae3d)
      a ^= a >>> 15
      b ^= b >>> 13
    }
    if (i < end) a = Math.imul(a ^ (key[i] as number), 0x27d4eb2f)
    let h = a ^ Math.imul(b ^ (b >>> 16), 0x165667b1)
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
    return h ^ (h >>> 16)
  }

  /** The slot of a key, which lies at `start` in the given words, or NOT_FOUND. */
  lookup(key: Int32Array, start = 0): Slot {
    return this.lookupHashed(key, this.hash(key, start), start)
  }

  /**
   * With a hash of the caller's, the same for every use of the key; its low bits choose the slot.
   */
  lookupHashed(key: Int32Array, hash: number, start = 0): Slot {
    const words = this.words
    const segmentMask = this.segmentMask
    const last = this.keyWords - 1
    let slot = hash & this.slotMask
    const segment = slot & ~segmentMask
    let rereads = 0
    for (let i = 0; i <= segmentMask; i++) {
      const at = this.entriesStart + Math.imul(slot, this.entryWords)
      const state = this.stateAt(at)
      if (state === EMPTY) return NOT_FOUND
      if ((state & KEY_BUSY) === 0) {
        // From the end: ports differ more often than addresses do.
        let word = last
        while (word >= 0 && words[at + 1 + word] === key[start + word]) word--
        if (word < 0) {
          if (this.stateAgain(at) === state) {
            this.foundGeneration = state >>> GENERATION_SHIFT
            return slot
          }
          // A writer was here just now: look at the same slot again.
          if (rereads++ < REREADS_MAX) {
            i--
            continue
          }
        }
      }
      slot = segment | ((slot + 1) & segmentMask)
    }
    return NOT_FOUND
  }

  /**
   * Reads the state word that a lookup with this hash begins at, so that its cache miss overlaps
   * others; add up the results.
   */
  touch(hash: number): number {
    return this.words[
      this.entriesStart + Math.imul(hash & this.slotMask, this.entryWords)
    ] as number
  }

  /** Index in `words` of the slot's key. */
  keyStart(slot: Slot): number {
    return this.entriesStart + Math.imul(slot, this.entryWords) + 1
  }

  /**
   * Index in `words` of the slot's value. Single words of a live entry may be stored there
   * directly.
   */
  valueStart(slot: Slot): number {
    return this.entriesStart + Math.imul(slot, this.entryWords) + 1 + this.keyWords
  }

  isLive(slot: Slot): boolean {
    return isLiveState(this.stateOf(slot))
  }

  /**
   * A number from 1 that changes whenever the slot gets another entry, or this one another value by
   * `update`; 0 when empty, and while the value is being written. A reader that finds
   * `foundGeneration` here after it read the value has read one value, of the key it looked up.
   */
  generation(slot: Slot): number {
    const state = this.stateAgain(this.keyStart(slot) - 1)
    return isLiveState(state) && (state & VALUE_BUSY) === 0 ? state >>> GENERATION_SHIFT : 0
  }

  /**
   * The first live slot from `from` on and before `end`, or NOT_FOUND: for sweeps and dumps in
   * bounded steps.
   */
  nextLive(from: Slot, end: Slot): Slot {
    const bound = Math.min(end, this.slotCount)
    for (let slot = from; slot < bound; slot++) if (this.isLive(slot)) return slot
    return NOT_FOUND
  }

  /** All live slots, for dumps; not for the packet path. */
  *slots(): Generator<Slot> {
    for (let slot = 0; slot < this.slotCount; slot++) if (this.isLive(slot)) yield slot
  }

  /**
   * Copies key and value as they were at one moment; false when the slot holds no entry, or one
   * that changes without rest.
   */
  read(slot: Slot, key: Int32Array, value: Int32Array): boolean {
    const keyStart = this.keyStart(slot)
    const valueStart = this.valueStart(slot)
    for (let tries = 0; tries < REREADS_MAX; tries++) {
      const state = this.stateOf(slot)
      if (!isLiveState(state)) return false
      if ((state & VALUE_BUSY) !== 0) continue
      copy(this.words, keyStart, key, this.keyWords)
      copy(this.words, valueStart, value, this.spec.valueWords)
      if (this.stateAgain(keyStart - 1) === state) return true
    }
    return false
  }

  /** Before an entry is read. */
  protected stateOf(slot: Slot): number {
    return this.stateAt(this.entriesStart + Math.imul(slot, this.entryWords))
  }

  /**
   * The state word of the entry that begins at `at`, for one who walks the slots himself: before he
   * compares the key.
   */
  stateAt(at: number): number {
    return KEEPS_ORDER ? (this.words[at] as number) : Atomics.load(this.words, at)
  }

  /**
   * After he did: what he compared was one entry's if this is what `stateAt` was. An exchange that
   * changes nothing keeps the reads before it before it.
   */
  stateAgain(at: number): number {
    return KEEPS_ORDER ? (this.again[at] as number) : Atomics.or(this.words, at, 0)
  }
}

export function isLiveState(state: number): boolean {
  return state !== EMPTY && state !== DELETED && (state & KEY_BUSY) === 0
}

export function copy(from: Int32Array, start: number, into: Int32Array, count: number): void {
  for (let i = 0; i < count; i++) into[i] = from[start + i] as number
}
