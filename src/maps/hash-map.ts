/** A hash map that says so when it is full (BPF_MAP_TYPE_HASH). */
import { hashLayout } from './hash-layout.js'
import { HashTable, TAKEN_OVER_MAX } from './hash-table.js'
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

  /**
   * Writes an entry; readers see the old one, or all of the new one.
   *
   * @returns its slot; EXISTS (NO_EXIST) or NOT_FOUND (EXIST) by the flag; FULL at `maxEntries`, or
   * when 256 keys with hashes of one segment are there, which a good hash does not do
   */
  update(key: Int32Array, value: Int32Array, flag: UpdateFlag): Slot {
    return this.updateHashed(key, value, flag, this.hash(key))
  }

  updateHashed(key: Int32Array, value: Int32Array, flag: UpdateFlag, hash: number): Slot {
    const segment = this.segmentOf(hash & this.slotMask)
    for (let tries = 0; tries < TAKEN_OVER_MAX; tries++) {
      this.enter(segment)
      const slot = this.#updateLocked(key, value, flag, hash)
      if (this.leave(segment, slot)) {
        if (slot >= 0) this.changes.mark()
        return slot
      }
    }
    return FULL
  }

  override deleteHashed(key: Int32Array, hash: number, start = 0): boolean {
    const isDeleted = super.deleteHashed(key, hash, start)
    if (isDeleted) this.changes.mark()
    return isDeleted
  }

  override deleteSlot(slot: Slot, generation = this.generation(slot)): boolean {
    const isDeleted = super.deleteSlot(slot, generation)
    if (isDeleted) this.changes.mark()
    return isDeleted
  }

  #updateLocked(key: Int32Array, value: Int32Array, flag: UpdateFlag, hash: number): Slot {
    const found = this.probe(key, hash, 0)
    if (found !== NOT_FOUND) {
      if (flag === UpdateFlag.NO_EXIST) return EXISTS
      this.rewrite(found, value)
      return found
    }
    if (flag === UpdateFlag.EXIST) return NOT_FOUND
    const slot = this.vacant
    if (slot === NOT_FOUND || !this.takeRoom()) {
      Atomics.add(this.words, Header.REFUSED, 1)
      return FULL
    }
    this.place(slot, hash, key, value, 0)
    return slot
  }
}
