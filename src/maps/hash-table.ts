/**
 * The writing side that HashMap and LruHashMap share: deletion, and the steps of an update under
 * the lock of one segment.
 *
 * Deleting leaves a DELETED slot behind, for probes that go on to later entries; it becomes EMPTY
 * as soon as no entry's probe passes it. Most of that is seen at once (the next slot is empty); the
 * rest is swept now and then, segment by segment, with the distance that each state word tells.
 * Without the sweep, churn at half load fills a segment with deleted slots.
 *
 * A writer killed inside leaves its lock, at most one busy entry, and counters that are off by one.
 * Whoever takes the lock over drops the busy entry and counts again (`recount`).
 */
import {
  DELETED,
  DISTANCE_SHIFT,
  EMPTY,
  GENERATION_MASK,
  GENERATION_SHIFT,
  KEY_BUSY,
  VALUE_BUSY,
} from './hash-layout.js'
import { HashReader, isLiveState } from './hash-reader.js'
import { NOT_FOUND, type Slot } from './map.js'
import { Header } from './map-header.js'
import { KEEPS_ORDER } from './processor.js'
import { LockRow } from './segment-lock.js'

/** A sweep costs a look at each slot of the segment; it is made once for this share of them. */
const GRAVES_PER_SWEEP = 1 / 8
/**
 * Times an operation is begun again after its lock was taken over, which needs a stop of a quarter
 * second each.
 */
export const TAKEN_OVER_MAX = 8

export abstract class HashTable extends HashReader {
  /**
   * Of the last `probe` that found no entry: the first slot on the key's way that is free, or
   * NOT_FOUND.
   */
  protected vacant: Slot = NOT_FOUND
  /**
   * Generation of the entry that the last update wrote. `generation(slot)` may be another's by now:
   * the lock is released.
   */
  writtenGeneration = 0
  readonly #segmentShift = 31 - Math.clz32(this.layout.segmentSlots)
  readonly #gravesMax = Math.max(2, (this.layout.segmentSlots * GRAVES_PER_SWEEP) | 0)
  /** The spec of a map that was opened is an object of another shape than that of one made here. */
  readonly #valueWords = this.spec.valueWords

  /** True when the key was there. */
  delete(key: Int32Array, start = 0): boolean {
    return this.deleteHashed(key, this.hash(key, start), start)
  }

  deleteHashed(key: Int32Array, hash: number, start = 0): boolean {
    const segment = this.segmentOf(hash & this.slotMask)
    for (let tries = 0; tries < TAKEN_OVER_MAX; tries++) {
      this.enter(segment)
      const slot = this.probe(key, hash, start)
      if (slot !== NOT_FOUND) this.remove(slot)
      if (this.leave(segment, slot)) return slot !== NOT_FOUND
    }
    return false
  }

  /**
   * Deletes what is in the slot, if it is still of the generation given; false when it deleted
   * nothing.
   */
  deleteSlot(slot: Slot, generation = this.generation(slot)): boolean {
    const segment = this.segmentOf(slot)
    this.enter(segment)
    const isThere = generation !== 0 && this.generation(slot) === generation
    if (isThere) this.remove(slot)
    return this.leave(segment, isThere ? slot : NOT_FOUND) && isThere
  }

  /**
   * Gives the entry in the slot another value, if it is still of the generation given; false when it
   * changed nothing. It is of a new generation then.
   */
  updateSlot(slot: Slot, generation: number, value: Int32Array): boolean {
    const segment = this.segmentOf(slot)
    this.enter(segment)
    const isThere = generation !== 0 && this.generation(slot) === generation
    if (isThere) this.rewrite(slot, value)
    return this.leave(segment, isThere ? slot : NOT_FOUND) && isThere
  }

  /**
   * Counts the entries again, holding every lock for some microseconds per thousand segments.
   * `acquire` does it after each takeover; call it too when adopting the map of a process that was
   * killed, which may have died between two locks.
   */
  recount(): void {
    const segments = this.layout.segments
    let size = 0
    for (let segment = 0; segment < segments; segment++) {
      if (this.locks.acquire(segment)) this.#repair(segment)
      size += this.words[this.locks.row(segment) + LockRow.LIVE] as number
    }
    Atomics.store(this.words, Header.SIZE, size)
    for (let segment = 0; segment < segments; segment++) this.locks.release(segment)
  }

  protected segmentOf(slot: Slot): number {
    return slot >>> this.#segmentShift
  }

  /**
   * Takes the segment's lock, in good order. Never two at a time, but for `recount`, which takes
   * them in ascending order.
   */
  protected enter(segment: number): void {
    while (this.locks.acquire(segment)) {
      this.#repair(segment)
      this.locks.release(segment)
      this.recount()
    }
  }

  /**
   * Releases the lock. False when it was taken over meanwhile, because this thread stood still for
   * long: what it wrote to `slot` may have met what another wrote there, so the entry is dropped
   * and the caller begins again.
   */
  protected leave(segment: number, slot: Slot): boolean {
    if (this.locks.release(segment)) return true
    this.enter(segment)
    if (slot >= 0 && isLiveState(this.stateOf(slot))) this.#drop(slot)
    this.#repair(segment)
    this.locks.release(segment)
    this.recount()
    return false
  }

  /** The key's slot, or NOT_FOUND with `vacant` set. Under the lock: no entry changes meanwhile. */
  protected probe(key: Int32Array, hash: number, start: number): Slot {
    const words = this.words
    const home = hash & this.slotMask
    const segment = home & ~this.segmentMask
    this.vacant = NOT_FOUND
    for (let distance = 0; distance <= this.segmentMask; distance++) {
      const slot = segment | ((home + distance) & this.segmentMask)
      const at = this.keyStart(slot)
      const state = words[at - 1] as number
      if (state === EMPTY || state === DELETED) {
        if (this.vacant === NOT_FOUND) this.vacant = slot
        if (state === EMPTY) return NOT_FOUND
        continue
      }
      let i = 0
      while (i < this.keyWords && words[at + i] === key[start + i]) i++
      if (i === this.keyWords) return slot
    }
    return NOT_FOUND
  }

  /** Adds one to the size unless the map is full. */
  protected takeRoom(): boolean {
    const words = this.words
    for (;;) {
      const size = words[Header.SIZE] as number
      if (size >= this.capacity) return false
      if (Atomics.compareExchange(words, Header.SIZE, size, size + 1) === size) return true
    }
  }

  protected giveRoomBack(): void {
    Atomics.sub(this.words, Header.SIZE, 1)
  }

  /** Writes a new entry into a free slot of its segment; readers see all of it or nothing. */
  protected place(
    slot: Slot,
    hash: number,
    key: Int32Array,
    value: Int32Array,
    start: number,
  ): void {
    const words = this.words
    const at = this.keyStart(slot)
    const distance = (slot - (hash & this.slotMask)) & this.segmentMask
    const state = this.#newGeneration(slot) | (distance << DISTANCE_SHIFT)
    this.#beginWrite(at - 1, state | KEY_BUSY)
    for (let i = 0; i < this.keyWords; i++) words[at + i] = key[start + i] as number
    this.#writeValue(slot, value)
    this.#endWrite(at - 1, state)
    this.writtenGeneration = state >>> GENERATION_SHIFT
    this.#countLive(slot, 1)
  }

  /** Another value for an entry. Lookups go on finding it; `read` waits for the end. */
  protected rewrite(slot: Slot, value: Int32Array): void {
    const at = this.keyStart(slot) - 1
    const before = this.words[at] as number
    const distance = before & (this.segmentMask << DISTANCE_SHIFT)
    // The old generation until the value is whole: who found the entry now sees it change.
    this.#beginWrite(at, before | VALUE_BUSY)
    this.#writeValue(slot, value)
    const state = this.#newGeneration(slot) | distance
    this.#endWrite(at, state)
    this.writtenGeneration = state >>> GENERATION_SHIFT
  }

  protected remove(slot: Slot): void {
    this.bury(slot)
    this.giveRoomBack()
  }

  /** Removes an entry without giving its room in the size back. */
  protected bury(slot: Slot): void {
    this.#countLive(slot, -1)
    const next = this.#neighbour(slot, 1)
    if (this.stateOf(next) === EMPTY) {
      this.#empty(slot)
      this.#emptyBefore(slot)
      return
    }
    this.#endWrite(this.keyStart(slot) - 1, DELETED)
    const graves = this.locks.row(this.segmentOf(slot)) + LockRow.GRAVES
    const count = (this.words[graves] as number) + 1
    this.words[graves] = count
    if (count >= this.#gravesMax) this.#sweep(this.segmentOf(slot))
  }

  /** Deleted slots before an empty one are on nobody's way. */
  #emptyBefore(slot: Slot): void {
    for (let i = 1; i <= this.segmentMask; i++) {
      const before = this.#neighbour(slot, -i)
      if (this.stateOf(before) !== DELETED) return
      this.#empty(before)
    }
  }

  /**
   * Empties every deleted slot that no entry's probe passes. `passes` is how many slots before the
   * one looked at are still on the way to an entry behind it; the first of two rounds, from the
   * segment's end, only learns what wraps round.
   */
  #sweep(segment: number): void {
    const { words, segmentMask, entryWords } = this
    const first = segment << this.#segmentShift
    const start = this.entriesStart + Math.imul(first, entryWords)
    let passes = 0
    for (let i = 2 * segmentMask + 1; i >= 0; i--) {
      const state = words[start + Math.imul(i & segmentMask, entryWords)] as number
      if (passes > 0) passes--
      else if (state === DELETED && i <= segmentMask) this.#empty(first + i)
      if (state === EMPTY || state === DELETED) continue
      const distance = (state >>> DISTANCE_SHIFT) & segmentMask
      if (distance > passes) passes = distance
    }
    this.words[this.locks.row(segment) + LockRow.GRAVES] = 0
  }

  /**
   * After a takeover: drops what was being written and what is there twice, and counts what lives.
   */
  #repair(segment: number): void {
    const first = segment * this.layout.segmentSlots
    let live = 0
    for (let slot = first; slot < first + this.layout.segmentSlots; slot++) {
      const state = this.stateOf(slot)
      if (state === EMPTY || state === DELETED) continue
      const home = first + ((slot - (state >>> DISTANCE_SHIFT)) & this.segmentMask)
      const isBusy = (state & (KEY_BUSY | VALUE_BUSY)) !== 0
      if (isBusy || this.probe(this.words, home, this.keyStart(slot)) !== slot) this.#drop(slot)
      else live++
    }
    this.words[this.locks.row(segment) + LockRow.LIVE] = live
  }

  #drop(slot: Slot): void {
    Atomics.store(this.words, this.keyStart(slot) - 1, DELETED)
    Atomics.add(this.words, Header.ENTRIES_DROPPED, 1)
  }

  #empty(slot: Slot): void {
    this.#endWrite(this.keyStart(slot) - 1, EMPTY)
  }

  /** Readers see this state before anything that is written after it. */
  #beginWrite(at: number, state: number): void {
    if (KEEPS_ORDER) this.words[at] = state
    else Atomics.exchange(this.words, at, state)
  }

  /** Readers that see this state see what was written before it. */
  #endWrite(at: number, state: number): void {
    if (KEEPS_ORDER) this.again[at] = state
    else Atomics.store(this.words, at, state)
  }

  #neighbour(slot: Slot, by: number): Slot {
    return (slot & ~this.segmentMask) | ((slot + by) & this.segmentMask)
  }

  #countLive(slot: Slot, by: number): void {
    const live = this.locks.row(this.segmentOf(slot)) + LockRow.LIVE
    this.words[live] = (this.words[live] as number) + by
  }

  /**
   * From the lock's own sequence, so that two entries of a slot differ for four million
   * acquisitions.
   */
  #newGeneration(slot: Slot): number {
    const sequence = this.words[this.locks.row(this.segmentOf(slot)) + LockRow.SEQUENCE] as number
    // Not `& GENERATION_MASK || 1`: the first two of each round would be the same.
    return (1 + ((sequence >>> 0) % GENERATION_MASK)) << GENERATION_SHIFT
  }

  #writeValue(slot: Slot, value: Int32Array): void {
    const start = this.valueStart(slot)
    const count = this.#valueWords
    for (let i = 0; i < count; i++) this.words[start + i] = value[i] as number
  }
}
