/**
 * The MAC address that a client of a service was last heard from (Cilium: cilium_nodeport_neigh4).
 * A reply is sent there when the kernel's neighbour table does not know the next hop: the client's
 * own frames told.
 */
import type { LruHashMap } from '../maps/lru-hash-map.js'
import { type MapSpec, NOT_FOUND, UpdateFlag } from '../maps/map.js'

/** Client address, port. */
const KEY_WORDS = 2
const LAST_HEARD = 0
const MAC_HIGH = 1
const MAC_LOW = 2
const VALUE_WORDS = 3
/** Reads of a MAC that changed meanwhile. */
const REREADS_MAX = 8

export const NEIGHBOUR_MEMORY_SPEC: MapSpec = {
  name: 'nodeport_neigh4',
  type: 'lru-hash',
  keyWords: KEY_WORDS,
  valueWords: VALUE_WORDS,
  maxEntries: 16_384,
  stampWord: LAST_HEARD,
}

export class NeighbourMemory {
  readonly #map: LruHashMap
  readonly #key = new Int32Array(KEY_WORDS)
  readonly #value = new Int32Array(VALUE_WORDS)

  /** Of the last `recall` that was true: upper four bytes of the MAC, lower two. */
  macHigh = 0
  macLow = 0

  constructor(map: LruHashMap) {
    this.#map = map
  }

  /** @param port that the client's frame came in by */
  remember(
    address4: number,
    port: number,
    macHigh: number,
    macLow: number,
    nowSeconds: number,
  ): void {
    const slot = this.#find(address4, port)
    const value = this.#value
    value[LAST_HEARD] = nowSeconds
    value[MAC_HIGH] = macHigh
    value[MAC_LOW] = macLow
    if (slot === NOT_FOUND) {
      this.#map.update(this.#key, value, UpdateFlag.ANY)
      return
    }
    const { words } = this.#map
    const start = this.#map.valueStart(slot)
    if (words[start + MAC_HIGH] === macHigh && words[start + MAC_LOW] === macLow) {
      words[start + LAST_HEARD] = nowSeconds
    } else this.#map.update(this.#key, value, UpdateFlag.ANY)
  }

  recall(address4: number, port: number): boolean {
    for (let tries = 0; tries < REREADS_MAX; tries++) {
      const slot = this.#find(address4, port)
      if (slot === NOT_FOUND) return false
      const generation = this.#map.foundGeneration
      const start = this.#map.valueStart(slot)
      this.macHigh = this.#map.words[start + MAC_HIGH] as number
      this.macLow = this.#map.words[start + MAC_LOW] as number
      // Both halves of one MAC, whatever another worker writes.
      if (this.#map.generation(slot) === generation) return true
    }
    return false
  }

  #find(address4: number, port: number): number {
    this.#key[0] = address4
    this.#key[1] = port
    return this.#map.lookup(this.#key)
  }
}
