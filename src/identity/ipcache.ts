/**
 * Address to identity (Cilium: cilium_ipcache, bpf/lib/eps.h). The longest prefix wins; what no prefix covers is WORLD.
 */
import type { LpmMap } from '../maps/lpm-map.js'
import { type MapSpec, NOT_FOUND } from '../maps/map.js'
import { Identity } from './identity.js'

const IDENTITY = 0

export const ipcacheSpec = (maxEntries: number): MapSpec => ({
  name: 'ipcache',
  type: 'lpm',
  keyWords: 4,
  valueWords: 8,
  maxEntries,
})

export class Ipcache {
  readonly #prefixes: LpmMap

  constructor(prefixes: LpmMap) {
    this.#prefixes = prefixes
  }

  /** Identity of the four address words at `start`. */
  identityOf(words: Int32Array, start: number): number {
    const slot = this.#prefixes.lookup(words, start)
    if (slot === NOT_FOUND) return Identity.WORLD
    return this.#prefixes.words[this.#prefixes.valueStart(slot) + IDENTITY] as number
  }

  /** Control plane. `prefixLength` is 0 to 128, of an IPv4 prefix 96 more than its own. False when the map is full. */
  set(address: Int32Array, prefixLength: number, identity: number): boolean {
    const value = new Int32Array(this.#prefixes.spec.valueWords)
    value[IDENTITY] = identity
    return this.#prefixes.update(address, prefixLength, value) >= 0
  }

  delete(address: Int32Array, prefixLength: number): boolean {
    return this.#prefixes.delete(address, prefixLength)
  }
}
