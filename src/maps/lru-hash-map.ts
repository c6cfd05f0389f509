/**
 * A hash map that makes room (BPF_MAP_TYPE_LRU_HASH): when it is full, or the segment where a key
 * belongs, the entry with the lowest stamp among those nearby is evicted. The stamp is a value word
 * that the map's user stores, so that a lookup costs nothing more; where it holds the time at which
 * an entry expires, as in connection tracking, expired and short-lived entries go first, and a
 * flood of new ones spares the old.
 */
import { DELETED, EMPTY, hashLayout } from './hash-layout.js'
import { copy } from './hash-reader.js'
import { HashTable } from './hash-table.js'
import {
  EXISTS,
  FULL,
  type MapOptions,
  type MapSpec,
  MapType,
  NOT_FOUND,
  type Slot,
  UpdateFlag,
} from './map.js'
import {
  boundedWords,
  checkSpec,
  createWords,
  Header,
  openWords,
  publishWords,
} from './map-header.js'
import { LockRow } from './segment-lock.js'

/** Slots looked at for the oldest entry; half of them hold one in a full map. */
const EVICTION_WINDOW = 16
/** From `#updateLocked`: the map is full, and this segment has nothing to evict. */
const NEEDS_ROOM = -100
/**
 * Rounds through the segments; other writers take the room each time only if all entries move under
 * us.
 */
const TRIES_MAX = 64

export class LruHashMap extends HashTable {
  /** Key of the entry that the last update evicted; meaningful when `hasEvicted`. */
  readonly evictedKey: Int32Array
  hasEvicted = false
  /** The last update wrote over an entry with the same key, whose value this was. */
  hasReplaced = false
  readonly replacedValue: Int32Array
  readonly #stampWord: number
  /** Slot of the last new entry, spared among equals: a connection's two entries are made one after the other, close together. */
  #newest = NOT_FOUND

  private constructor(words: Int32Array, spec: MapSpec, options: MapOptions) {
    super(words, spec, options)
    this.evictedKey = new Int32Array(spec.keyWords)
    this.replacedValue = new Int32Array(spec.valueWords)
    this.#stampWord = spec.stampWord ?? 0
  }

  static wordsFor(spec: MapSpec): number {
    checkSpec(spec, MapType.LRU_HASH)
    return boundedWords(spec, hashLayout(spec).totalWords)
  }

  static bytesFor(spec: MapSpec): number {
    return LruHashMap.wordsFor(spec) * 4
  }

  static create(spec: MapSpec, buffer: ArrayBufferLike, options: MapOptions = {}): LruHashMap {
    const words = createWords(spec, buffer, LruHashMap.wordsFor(spec), options)
    publishWords(words)
    return new LruHashMap(words, spec, options)
  }

  static open(buffer: ArrayBufferLike, expected?: MapSpec, options: MapOptions = {}): LruHashMap {
    const type = MapType.LRU_HASH
    const { words, spec } = openWords(buffer, type, LruHashMap.wordsFor, expected, options)
    return new LruHashMap(words, spec, options)
  }

  /** Entries evicted by all users since the map was made; wraps. */
  get evictions(): number {
    return Atomics.load(this.words, Header.EVICTIONS)
  }

  /** Counts requests for a sweep at once, by any user in any process; wraps. */
  get sweepRequests(): number {
    return this.words[Header.SWEEP_REQUESTS] as number
  }

  requestSweep(): void {
    Atomics.add(this.words, Header.SWEEP_REQUESTS, 1)
  }

  /**
   * For gauges: a sweep of expired entries ended.
   *
   * @param deleted by this sweep
   * @param nextSeconds until the next
   */
  noteSweep(deleted: number, nextSeconds: number): void {
    Atomics.add(this.words, Header.SWEEPS, 1)
    Atomics.add(this.words, Header.COLLECTED, deleted)
    Atomics.store(this.words, Header.SWEEP_SECONDS, nextSeconds)
  }

  /**
   * Writes an entry, evicting at most one other: see `hasEvicted`.
   *
   * @returns its slot; EXISTS (NO_EXIST) or NOT_FOUND (EXIST) by the flag. FULL only if writers on
   * other threads took the room made in each of 64 rounds
   */
  update(key: Int32Array, value: Int32Array, flag: UpdateFlag): Slot {
    return this.updateHashed(key, value, flag, this.hash(key))
  }

  updateHashed(key: Int32Array, value: Int32Array, flag: UpdateFlag, hash: number): Slot {
    this.hasEvicted = false
    this.hasReplaced = false
    const segment = this.segmentOf(hash & this.slotMask)
    let hasRoom = false
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      this.enter(segment)
      const slot = this.#updateLocked(key, value, flag, hash, hasRoom)
      const isKept = this.leave(segment, slot)
      if (slot === NEEDS_ROOM) hasRoom = this.#evictElsewhere(segment)
      else if (isKept) return slot
      else hasRoom = false
    }
    Atomics.add(this.words, Header.REFUSED, 1)
    return FULL
  }

  /** @param hasRoom the size already counts the entry to come */
  #updateLocked(
    key: Int32Array,
    value: Int32Array,
    flag: UpdateFlag,
    hash: number,
    hasRoom: boolean,
  ): Slot {
    const found = this.probe(key, hash, 0)
    if (found !== NOT_FOUND || flag === UpdateFlag.EXIST) {
      if (hasRoom) this.giveRoomBack()
      if (found === NOT_FOUND) return NOT_FOUND
      if (flag === UpdateFlag.NO_EXIST) return EXISTS
      copy(this.words, this.valueStart(found), this.replacedValue, this.replacedValue.length)
      this.rewrite(found, value)
      this.hasReplaced = true
      return found
    }
    const home = hash & this.slotMask
    let slot = this.vacant
    const isSegmentFull = slot === NOT_FOUND
    if (isSegmentFull || !(hasRoom || this.takeRoom())) {
      // The new entry takes over the evicted one's room in the size.
      const evicted = this.#evictNear(home)
      if (evicted === NOT_FOUND) return NEEDS_ROOM
      if (hasRoom) this.giveRoomBack()
      if (isSegmentFull || this.#distance(home, evicted) < this.#distance(home, slot)) {
        slot = evicted
      }
    }
    this.place(slot, hash, key, value, 0)
    this.#newest = slot
    return slot
  }

  #distance(home: Slot, slot: Slot): number {
    return (slot - home) & this.segmentMask
  }

  /**
   * Evicts the entry with the lowest stamp in the window that begins at `home`, or the first one
   * behind it. Its room in the size stays counted.
   */
  #evictNear(home: Slot): Slot {
    const { words, segmentMask, entriesStart, entryWords } = this
    const stampOffset = 1 + this.keyWords + this.#stampWord
    const segment = home & ~segmentMask
    let oldest = NOT_FOUND
    let oldestStamp = 0
    for (let i = 0; i <= segmentMask; i++) {
      if (i >= EVICTION_WINDOW && oldest !== NOT_FOUND) break
      const slot = segment | ((home + i) & segmentMask)
      const at = entriesStart + Math.imul(slot, entryWords)
      const state = words[at] as number
      if (state === EMPTY || state === DELETED) continue
      const stamp = words[at + stampOffset] as number
      const age = (stamp - oldestStamp) | 0
      if (oldest === NOT_FOUND || age < 0 || (age === 0 && oldest === this.#newest)) {
        oldest = slot
        oldestStamp = stamp
      }
    }
    if (oldest === NOT_FOUND) return NOT_FOUND
    copy(this.words, this.keyStart(oldest), this.evictedKey, this.keyWords)
    this.hasEvicted = true
    this.bury(oldest)
    Atomics.add(this.words, Header.EVICTIONS, 1)
    return oldest
  }

  /**
   * Makes room in another segment; true when its entry's room is now the caller's. No lock is held
   * before or after.
   */
  #evictElsewhere(segment: number): boolean {
    const segments = this.layout.segments
    for (let i = 1; i < segments; i++) {
      const other = (segment + i) & (segments - 1)
      if (this.words[this.locks.row(other) + LockRow.LIVE] === 0) continue
      this.enter(other)
      const evicted = this.#evictNear(other * this.layout.segmentSlots)
      const isKept = this.leave(other, NOT_FOUND)
      if (evicted !== NOT_FOUND && isKept) return true
    }
    return false
  }
}
