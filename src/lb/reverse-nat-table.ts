/**
 * The frontend that a reply must seem to come from, by the index in the connection's entry (Cilium:
 * lb4_reverse_nat).
 */
import type { ArrayMap } from '../maps/array-map.js'
import { ReverseNat } from './service-layout.js'

/** Index of a connection that went through no service. */
export const NO_REVERSE_NAT = 0

export class ReverseNatTable {
  readonly #words: Int32Array
  readonly #map: ArrayMap

  /** Of the last `load` that was true. An IPv4 address is the last of four words. */
  address4 = 0
  port = 0

  constructor(map: ArrayMap) {
    this.#map = map
    this.#words = map.words
  }

  /** False when the service has been deleted meanwhile. */
  load(index: number): boolean {
    if (index === NO_REVERSE_NAT || index >= this.#map.capacity) return false
    const start = this.#map.valueStart(index)
    this.address4 = this.#words[start + ReverseNat.ADDRESS + 3] as number
    this.port = this.#words[start + ReverseNat.PORT] as number
    return this.port !== 0
  }
}
