/**
 * The halves of the source NAT's mappings (snat-entry.ts) in their table, and what is counted with
 * them: ports in use, which the steering of replies is told, and mappings toward each destination.
 *
 * Several workers may work on them at once. A half is read whole: one whose place went to another while
 * it was read is looked up again.
 */
import type { LruHashMap } from '../maps/lru-hash-map.js'
import { NOT_FOUND, type Slot, UpdateFlag } from '../maps/map.js'
import type { DestinationUse } from './destination-use.js'
import { natRow } from './nat-protocol.js'
import type { PortUse } from './port-use.js'
import { SNAT_KEY_WORDS, SNAT_VALUE_WORDS, Snat, SnatDirection, SnatKey } from './snat-entry.js'

/** Times that a half is looked up whose places go to others all the while. */
const LOOKUPS_MAX = 8

export class MappingTable {
  readonly entries: LruHashMap
  readonly #portUse: PortUse
  readonly #destinations: DestinationUse
  readonly #key = new Int32Array(SNAT_KEY_WORDS)
  readonly #value = new Int32Array(SNAT_VALUE_WORDS)

  /** Of the half that was read or inserted last. */
  generation = 0

  constructor(entries: LruHashMap, portUse: PortUse, destinations: DestinationUse) {
    this.entries = entries
    this.#portUse = portUse
    this.#destinations = destinations
  }

  /**
   * @param value gets the half's value, words as in Snat
   * @returns its slot, or NOT_FOUND
   */
  read(key: Int32Array, value: Int32Array, hash = this.entries.hash(key)): Slot {
    const { entries } = this
    for (let lookups = 0; lookups < LOOKUPS_MAX; lookups++) {
      const slot = entries.lookupHashed(key, hash)
      if (slot === NOT_FOUND) return NOT_FOUND
      const generation = entries.foundGeneration
      const start = entries.valueStart(slot)
      for (let i = 0; i < SNAT_VALUE_WORDS; i++) value[i] = entries.words[start + i] as number
      if (entries.generation(slot) !== generation) continue
      this.generation = generation
      return slot
    }
    return NOT_FOUND
  }

  /** Only stored: the last one of several workers counts. */
  setExpires(slot: Slot, expires: number): void {
    const { entries } = this
    entries.words[entries.valueStart(slot) + Snat.EXPIRES] = expires
  }

  /** @returns its slot; EXISTS where there is one with this key already, which is left as it is */
  insert(key: Int32Array, value: Int32Array, hash = this.entries.hash(key)): Slot {
    const { entries } = this
    const slot = entries.updateHashed(key, value, UpdateFlag.NO_EXIST, hash)
    this.generation = entries.writtenGeneration
    if (entries.hasEvicted) {
      this.#uncount(entries.evictedKey)
      // Its port may be another flow's at once.
      entries.changes.mark()
    }
    if (slot >= 0) this.#count(key)
    return slot
  }

  /**
   * Removes the half in the slot, whose key this is, unless it is another one by now; the other half of
   * its mapping is left to its own devices.
   *
   * @returns whether it did
   */
  remove(slot: Slot, generation: number, key: Int32Array): boolean {
    if (!this.entries.deleteSlot(slot, generation)) return false
    this.#uncount(key)
    return true
  }

  /** Removes what has this key, whatever it is. */
  removeKey(key: Int32Array): void {
    if (this.entries.delete(key)) this.#uncount(key)
  }

  /** Removes what was inserted there, unless it is another one by now. */
  removeInserted(slot: Slot, generation: number): void {
    const { entries } = this
    if (slot < 0 || entries.generation(slot) !== generation) return
    const start = entries.keyStart(slot)
    for (let i = 0; i < SNAT_KEY_WORDS; i++) this.#key[i] = entries.words[start + i] as number
    this.remove(slot, generation, this.#key)
  }

  /**
   * Counts everything anew, for the first worker, before any other begins: one that was killed may have
   * been between an entry and its count.
   */
  countAnew(): void {
    this.#portUse.reset()
    this.#destinations.reset()
    for (const slot of this.entries.slots()) {
      if (this.entries.read(slot, this.#key, this.#value)) this.#count(this.#key)
    }
  }

  #count(key: Int32Array): void {
    const protocol = key[SnatKey.PROTOCOL] as number
    if ((protocol & SnatDirection.IN) === 0) return
    this.#portUse.take(natRow(protocol & 0xff), (key[SnatKey.PORTS] as number) & 0xffff)
    this.#destinations.take(key)
  }

  #uncount(key: Int32Array): void {
    const protocol = key[SnatKey.PROTOCOL] as number
    if ((protocol & SnatDirection.IN) === 0) return
    this.#portUse.release(natRow(protocol & 0xff), (key[SnatKey.PORTS] as number) & 0xffff)
    this.#destinations.release(key)
  }
}
