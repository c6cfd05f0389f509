/**
 * The control plane's side of the backends: gives out ids, one per address, port and protocol,
 * counts the sets that hold each, and writes their rows. An id that is gone is not used again
 * before its row has been given out 32,767 times.
 */
import { ErrorCode, RingpathError } from '../base/errors.js'
import type { ArrayMap } from '../maps/array-map.js'
import { ipv4Words } from '../wire/address.js'
import { BACKEND_ROW_BITS, BACKEND_ROW_MASK, Backend, NO_BACKEND } from './service-layout.js'
import type { PlannedBackend } from './service-spec.js'

const GENERATION_MAX = 0x7fff

interface Holder {
  readonly id: number
  holders: number
}

export class BackendWriter {
  readonly #map: ArrayMap
  readonly #byKey = new Map<string, Holder>()
  readonly #byId = new Map<number, string>()
  /** Where the search for a free row begins: rows rest as long as possible. */
  #nextRow = 1

  /** Takes over the rows that are there, held by nobody until `hold`. */
  constructor(map: ArrayMap) {
    this.#map = map
    for (let row = 1; row < this.#rowCount; row++) {
      const start = map.valueStart(row)
      const id = map.words[start + Backend.ID] as number
      if (id === NO_BACKEND) continue
      const address4 = map.words[start + Backend.ADDRESS + 3] as number
      const port = map.words[start + Backend.PORT] as number
      const protocol = ((map.words[start + Backend.STATE] as number) >>> 8) & 0xff
      this.#remember(backendKey(address4, port, protocol), id, 0)
    }
  }

  get size(): number {
    return this.#byKey.size
  }

  /**
   * The id of a backend, made if need be and held once more; EMAP_FULL when there is no row for it.
   */
  acquire(backend: PlannedBackend, protocol: number): number {
    const key = backendKey(backend.address4, backend.port, protocol)
    const known = this.#byKey.get(key)
    if (known !== undefined) {
      known.holders++
      return known.id
    }
    const row = this.#freeRow()
    const words = this.#map.words
    const start = this.#map.valueStart(row)
    const generation = (words[start + Backend.LAST_ID] as number) >>> BACKEND_ROW_BITS
    const id = (((generation % GENERATION_MAX) + 1) << BACKEND_ROW_BITS) | row
    words.set(ipv4Words(backend.address4), start + Backend.ADDRESS)
    words[start + Backend.PORT] = backend.port
    words[start + Backend.STATE] = (protocol << 8) | backend.state
    words[start + Backend.LAST_ID] = id
    Atomics.store(words, start + Backend.ID, id)
    this.#remember(key, id, 1)
    return id
  }

  /** Holds a backend that is there once more, by its id; false when there is none of it. */
  hold(id: number): boolean {
    const holder = this.#byKey.get(this.#byId.get(id) ?? '')
    if (holder === undefined) return false
    holder.holders++
    return true
  }

  /** A backend that nobody holds any more is deleted. */
  release(id: number): void {
    const key = this.#byId.get(id)
    const holder = this.#byKey.get(key ?? '')
    if (key === undefined || holder === undefined || --holder.holders > 0) return
    const row = id & BACKEND_ROW_MASK
    Atomics.store(this.#map.words, this.#map.valueStart(row) + Backend.ID, NO_BACKEND)
    this.#map.changes.mark()
    this.#byKey.delete(key)
    this.#byId.delete(id)
  }

  /** Deletes what a dead control plane left half made. */
  deleteUnheld(): void {
    for (const { id, holders } of [...this.#byKey.values()]) if (holders === 0) this.release(id)
  }

  /** Brings the state of a backend that is there up to date. */
  setState(backend: PlannedBackend, protocol: number): void {
    const known = this.#byKey.get(backendKey(backend.address4, backend.port, protocol))
    if (known === undefined) return
    const start = this.#map.valueStart(known.id & BACKEND_ROW_MASK)
    Atomics.store(this.#map.words, start + Backend.STATE, (protocol << 8) | backend.state)
    this.#map.changes.mark()
  }

  #remember(key: string, id: number, holders: number): void {
    this.#byKey.set(key, { id, holders })
    this.#byId.set(id, key)
  }

  get #rowCount(): number {
    return Math.min(this.#map.capacity, 1 << BACKEND_ROW_BITS)
  }

  /** Row 0 stays empty, so that no id is 0. */
  #freeRow(): number {
    const rows = this.#rowCount
    for (let i = 0; i < rows - 1; i++) {
      const row = 1 + ((this.#nextRow - 1 + i) % (rows - 1))
      if (this.#map.words[this.#map.valueStart(row) + Backend.ID] !== NO_BACKEND) continue
      this.#nextRow = row + 1
      return row
    }
    throw new RingpathError(
      ErrorCode.MAP_FULL,
      `map ${this.#map.spec.name}: full with ${this.#byKey.size} backends; raise its size`,
    )
  }
}

const backendKey = (address4: number, port: number, protocol: number): string =>
  `${address4}:${port}/${protocol}`
