/** Backends by id, as the packet path reads them (Cilium: lb4_backends_v3). */
import type { ArrayMap } from '../maps/array-map.js'
import { BACKEND_ROW_MASK, Backend, NO_BACKEND } from './service-layout.js'

export class BackendTable {
  readonly #words: Int32Array
  readonly #map: ArrayMap

  /** Of the last `load` that was true. An IPv4 address is the last of four words. */
  address4 = 0
  port = 0

  constructor(map: ArrayMap) {
    this.#map = map
    this.#words = map.words
  }

  /** Reads a backend; false when there is none of that id (any more). */
  load(id: number): boolean {
    const row = id & BACKEND_ROW_MASK
    if (id === NO_BACKEND || row >= this.#map.capacity) return false
    const words = this.#words
    const start = this.#map.valueStart(row)
    if (words[start + Backend.ID] !== id) return false
    this.address4 = words[start + Backend.ADDRESS + 3] as number
    this.port = words[start + Backend.PORT] as number
    // The id is taken away before a row is written anew: still there, so what was read is this
    // backend's.
    return Atomics.load(words, start + Backend.ID) === id
  }
}
