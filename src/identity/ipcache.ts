/**
 * Who has an address (Cilium: cilium_ipcache_v2 and cilium_lxc, bpf/lib/eps.h): the identity of the
 * longest prefix that covers it, WORLD where none does; and for an address of this node the
 * endpoint behind it, so that one lookup answers both questions.
 */
import type { LpmMap } from '../maps/lpm-map.js'
import { type MapSpec, NOT_FOUND } from '../maps/map.js'
import { Identity } from './identity.js'

const IDENTITY = 0
/** Row of the endpoint table plus one; 0 for an address elsewhere. */
const ENDPOINT = 1
const VALUE_WORDS = 8

export const ipcacheSpec = (maxEntries: number): MapSpec => ({
  name: 'ipcache',
  type: 'lpm',
  keyWords: 4,
  valueWords: VALUE_WORDS,
  maxEntries,
})

/** From `find`: the address is not of this node. */
export const NO_ENDPOINT = -1

export class Ipcache {
  readonly #prefixes: LpmMap
  readonly #value = new Int32Array(VALUE_WORDS)
  readonly #found = new Int32Array(ENDPOINT + 1)

  /** Of the last `find`: the row of the endpoint that has the address, or NO_ENDPOINT. */
  endpoint = NO_ENDPOINT

  constructor(prefixes: LpmMap) {
    this.#prefixes = prefixes
  }

  /** Identity of the four address words at `start`; sets `endpoint`. */
  find(words: Int32Array, start: number): number {
    const found = this.#found
    if (this.#prefixes.lookupInto(words, start, found) === NOT_FOUND) {
      this.endpoint = NO_ENDPOINT
      return Identity.WORLD
    }
    this.endpoint = (found[ENDPOINT] as number) - 1
    return found[IDENTITY] as number
  }

  /**
   * Control plane. `prefixLength` is 0 to 128, of an IPv4 prefix 96 more than its own; `endpoint` a
   * row of this node, or NO_ENDPOINT. False when the map is full.
   */
  set(
    address: Int32Array,
    prefixLength: number,
    identity: number,
    endpoint = NO_ENDPOINT,
  ): boolean {
    this.#value[IDENTITY] = identity
    this.#value[ENDPOINT] = endpoint + 1
    return this.#prefixes.update(address, prefixLength, this.#value) >= 0
  }

  delete(address: Int32Array, prefixLength: number): boolean {
    return this.#prefixes.delete(address, prefixLength)
  }
}
