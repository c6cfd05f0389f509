/**
 * Services as the packet path reads them (Cilium: lb4_lookup_service, lb4_select_backend_id).
 *
 * A lookup copies the master entry as it was at one moment. The runs that it names may be given to
 * others as soon as the entry changes, so what is read from a run counts only if the entry is still
 * the same afterwards; otherwise it is looked up again.
 */
import type { Prng } from '../base/prng.js'
import type { HashMap } from '../maps/hash-map.js'
import { NOT_FOUND, type Slot } from '../maps/map.js'
import type { BackendTable } from './backend-table.js'
import { maglevHash } from './maglev.js'
import {
  ANY_PORT,
  ANY_PROTOCOL,
  NO_BACKEND,
  Scope,
  SERVICE_KEY_WORDS,
  SERVICE_VALUE_WORDS,
  Service,
  ServiceFlag,
  ServiceKey,
  servicePortWord,
} from './service-layout.js'
import type { ServiceMaps } from './service-maps.js'

export const ServiceMatch = {
  NONE: 0,
  FOUND: 1,
  /** The address is a service's, the port is not one of it. */
  UNKNOWN_PORT: 2,
} as const
export type ServiceMatch = (typeof ServiceMatch)[keyof typeof ServiceMatch]

/**
 * Times that a changing entry is looked at again; a writer needs microseconds between two changes.
 */
const TRIES_MAX = 8

export class ServiceTable {
  readonly #services: HashMap
  readonly #slots: Int32Array
  readonly #slotsStart: number
  readonly #tables: Int32Array
  readonly #tablesStart: number
  readonly #prng: Prng
  readonly #key = new Int32Array(SERVICE_KEY_WORDS)
  readonly #value = new Int32Array(SERVICE_VALUE_WORDS)
  #slot: Slot = NOT_FOUND
  #generation = 0

  /** Of the last lookup that found a service. */
  revNatIndex = 0
  flags = 0
  affinitySeconds = 0

  constructor(maps: ServiceMaps, prng: Prng) {
    this.#services = maps.services
    this.#slots = maps.slots.words
    this.#slotsStart = maps.slots.valueStart(0)
    this.#tables = maps.maglev.words
    this.#tablesStart = maps.maglev.valueStart(0)
    this.#prng = prng
  }

  /**
   * The service of a destination address at `start`, port and protocol.
   * Four probes at most, one in the usual case.
   *
   * @param scope whose view it is, where there are two
   */
  lookup(
    words: Int32Array,
    start: number,
    port: number,
    protocol: number,
    scope: Scope,
  ): ServiceMatch {
    const key = this.#key
    for (let i = 0; i < 4; i++) key[ServiceKey.ADDRESS + i] = words[start + i] as number
    if (
      this.#load(port, protocol, Scope.EXTERNAL) ||
      this.#load(port, ANY_PROTOCOL, Scope.EXTERNAL)
    ) {
      const hasOneView = (this.flags & ServiceFlag.TWO_SCOPES) === 0
      if (hasOneView || scope === Scope.EXTERNAL) return ServiceMatch.FOUND
      const found = this.#key[ServiceKey.PORT] as number
      this.#key[ServiceKey.PORT] = found | Scope.INTERNAL
      if (this.#read()) return ServiceMatch.FOUND
      // It went back to one view between the two lookups.
      this.#key[ServiceKey.PORT] = found
      return this.#read() ? ServiceMatch.FOUND : ServiceMatch.NONE
    }
    key[ServiceKey.PORT] = servicePortWord(ANY_PORT, ANY_PROTOCOL, Scope.EXTERNAL)
    return this.#services.lookup(key) === NOT_FOUND ? ServiceMatch.NONE : ServiceMatch.UNKNOWN_PORT
  }

  /**
   * A backend for a new flow of the service found last, or NO_BACKEND.
   *
   * @param start index of the flow's tuple
   * @param ports source << 16 | destination
   */
  choose(words: Int32Array, start: number, ports: number, protocol: number, seed: number): number {
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const count = this.#value[Service.COUNT] as number
      if (count === 0) return NO_BACKEND
      const size = this.#value[Service.TABLE_SIZE] as number
      let id: number
      if (size === 0) {
        const first = this.#slotsStart + (this.#value[Service.SLOTS_START] as number)
        id = this.#slots[first + this.#prng.below(count)] as number
      } else {
        const first = this.#tablesStart + (this.#value[Service.TABLE_START] as number)
        const clientPorts = this.affinitySeconds === 0 ? ports : ports & 0xffff
        const hash = maglevHash(words, start, clientPorts, protocol, seed)
        id = this.#tables[first + ((hash >>> 0) % size)] as number
      }
      if (this.#services.generation(this.#slot) === this.#generation) return id
      if (!this.#read()) return NO_BACKEND
    }
    return NO_BACKEND
  }

  /** May a new flow of the service found last go to this backend? */
  offers(id: number): boolean {
    const first = this.#slotsStart + (this.#value[Service.SLOTS_START] as number)
    const end = first + (this.#value[Service.COUNT] as number)
    for (let i = first; i < end; i++) if (this.#slots[i] === id) return true
    return false
  }

  /** Is a backend of the service found last at this address? `backend` is used for the search. */
  hasBackendAt(address4: number, backend: BackendTable): boolean {
    const first = this.#slotsStart + (this.#value[Service.SLOTS_START] as number)
    const end = first + (this.#value[Service.TOTAL] as number)
    for (let i = first; i < end; i++) {
      if (backend.load(this.#slots[i] as number) && backend.address4 === address4) return true
    }
    return false
  }

  #load(port: number, protocol: number, scope: Scope): boolean {
    this.#key[ServiceKey.PORT] = servicePortWord(port, protocol, scope)
    return this.#read()
  }

  /** Copies the entry of `#key`; false when there is none. */
  #read(): boolean {
    const services = this.#services
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const slot = services.lookup(this.#key)
      if (slot === NOT_FOUND) return false
      const generation = services.foundGeneration
      const from = services.valueStart(slot)
      for (let i = 0; i < SERVICE_VALUE_WORDS; i++)
        this.#value[i] = services.words[from + i] as number
      // The same as before: the value was read whole, and is of this key.
      if (services.generation(slot) !== generation) continue
      this.#slot = slot
      this.#generation = generation
      this.revNatIndex = this.#value[Service.REV_NAT_INDEX] as number
      this.flags = this.#value[Service.FLAGS] as number
      this.affinitySeconds = this.#value[Service.AFFINITY_SECONDS] as number
      return true
    }
    return false
  }
}
