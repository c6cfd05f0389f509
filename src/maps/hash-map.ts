/** A hash map that says so when it is full (BPF_MAP_TYPE_HASH). */
import { HashTable, hashLayout } from './hash-table.js'
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
import { boundedWords, checkSpec, createWords, openWords, publishWords } from './map-header.js'

export class HashMap extends HashTable {
  static wordsFor(spec: MapSpec): number {
    checkSpec(spec, MapType.HASH)
    return boundedWords(spec, hashLayout(spec).totalWords)
  }

  static bytesFor(spec: MapSpec): number {
    return HashMap.wordsFor(spec) * 4
  }

  static create(spec: MapSpec, buffer: ArrayBufferLike, options: MapOptions = {}): HashMap {
    const words = createWords(spec, buffer, HashMap.wordsFor(spec), options)
    publishWords(words)
    return new HashMap(words, spec, options)
  }

  static open(buffer: ArrayBufferLike, expected?: MapSpec, options: MapOptions = {}): HashMap {
    const { words, spec } = openWords(buffer, MapType.HASH, HashMap.wordsFor, expected, options)
    return new HashMap(words, spec, options)
  }

  /** The entry's slot; EXISTS, NOT_FOUND (with EXIST) or FULL when nothing was written. */
  update(key: Int32Array, value: Int32Array, flag: UpdateFlag): Slot {
    return this.updateHashed(key, value, flag, this.hash(key))
  }

  updateHashed(key: Int32Array, value: Int32Array, flag: UpdateFlag, hash: number): Slot {
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
    if (found === NOT_FOUND && this.size >= this.capacity) return FULL
    const slot = found === NOT_FOUND ? this.freeSlot(hash) : found
    if (slot === NOT_FOUND) return FULL
    this.writeLocked(slot, key, value)
    return slot
  }
}
