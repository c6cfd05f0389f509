/**
 * A hash map that makes room (BPF_MAP_TYPE_LRU_HASH): when it is full, or the part of it where a key belongs, the entry with the
 * lowest stamp among those nearby is evicted. The stamp is a value word that the map's user keeps; where it holds the time at
 * which an entry expires, as in connection tracking, short-lived entries go first and a flood of new ones spares the old.
 */
import { HashTable, hashLayout } from './hash-table.js'
import {
  EXISTS,
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

/** Slots looked at for the oldest entry; half of them hold one. */
const EVICTION_WINDOW = 32

export class LruHashMap extends HashTable {
  /** Key of the entry that the last update evicted; meaningful when `hasEvicted`. */
  readonly evictedKey: Int32Array
  hasEvicted = false

  private constructor(words: Int32Array, spec: MapSpec, options: MapOptions) {
    super(words, spec, options)
    this.evictedKey = new Int32Array(spec.keyWords)
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

  get evictions(): number {
    return Atomics.load(this.words, Header.EVICTIONS)
  }

  /** The entry's slot; EXISTS or NOT_FOUND (with EXIST) when nothing was written. Never FULL. */
  update(key: Int32Array, value: Int32Array, flag: UpdateFlag): Slot {
    return this.updateHashed(key, value, flag, this.hash(key))
  }

  updateHashed(key: Int32Array, value: Int32Array, flag: UpdateFlag, hash: number): Slot {
    this.hasEvicted = false
    const segment = hash & this.slotMask & ~this.segmentMask
    this.acquire(segment)
    const slot = this.#updateLocked(key, value, flag, hash)
    this.lock.release(this.segmentNumber(segment))
    return slot
  }

  #updateLocked(key: Int32Array, value: Int32Array, flag: UpdateFlag, hash: number): Slot {
    const found = this.lookupHashed(key, hash)
    if (found !== NOT_FOUND && flag === UpdateFlag.NO_EXIST) return EXISTS
    if (found === NOT_FOUND && flag === UpdateFlag.EXIST) return NOT_FOUND
    if (found !== NOT_FOUND) {
      this.writeLocked(found, key, value)
      return found
    }
    // A segment without any entry has free slots, so one of the two ways always finds a place. It may then lift
    // the size above the capacity, by at most one entry for each segment.
    if (this.size >= this.capacity) this.#evict(hash)
    let slot = this.freeSlot(hash)
    if (slot === NOT_FOUND) {
      this.#evict(hash)
      slot = this.freeSlot(hash)
    }
    this.writeLocked(slot, key, value)
    return slot
  }

  /** Evicts the entry with the lowest stamp near the key's home; beyond the window, the first one there is. */
  #evict(hash: number): void {
    const home = hash & this.slotMask
    const segment = home & ~this.segmentMask
    const stampOffset = this.spec.stampWord ?? 0
    let oldest = NOT_FOUND
    let oldestStamp = 0
    for (let i = 0; i <= this.segmentMask; i++) {
      if (i >= EVICTION_WINDOW && oldest !== NOT_FOUND) break
      const slot = segment | ((home + i) & this.segmentMask)
      if (!this.isLive(slot)) continue
      const stamp = this.words[this.valueStart(slot) + stampOffset] as number
      if (oldest === NOT_FOUND || stamp - oldestStamp < 0) {
        oldest = slot
        oldestStamp = stamp
      }
    }
    if (oldest === NOT_FOUND) return
    const start = this.keyStart(oldest)
    for (let i = 0; i < this.keyWords; i++) this.evictedKey[i] = this.words[start + i] as number
    this.hasEvicted = true
    this.removeLocked(oldest)
    Atomics.add(this.words, Header.EVICTIONS, 1)
  }
}
