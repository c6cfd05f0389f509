/**
 * Who has an address (Cilium: cilium_ipcache_v2 and cilium_lxc, bpf/lib/eps.h): the identity of the
 * longest prefix that covers it, WORLD where none does; and for an address of this node the
 * endpoint behind it, for one elsewhere in the cluster the node that has it, so that one lookup
 * answers all questions.
 */
import type { LpmMap } from '../maps/lpm-map.js'
import { type MapSpec, NOT_FOUND } from '../maps/map.js'
import { Identity } from './identity.js'

const IDENTITY = 0
/** Row of the endpoint table plus one; 0 for an address elsewhere. */
const ENDPOINT = 1
/** IPv4 address of the node that has the address, 0 where none is known. */
const TUNNEL_ENDPOINT = 2
const FLAGS = 3
const VALUE_WORDS = 8
const WORDS_READ = FLAGS + 1

/** Bits of the last word. */
export const IpcacheFlag = {
  /** The address is behind another node of the cluster. */
  REMOTE: 1,
  /** It is reached by plain routing, though others are behind a tunnel. */
  SKIP_TUNNEL: 2,
} as const

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
  readonly #found = new Int32Array(WORDS_READ)

  /** Of the last `find`: the row of the endpoint that has the address, or NO_ENDPOINT. */
  endpoint = NO_ENDPOINT
  /** Of the last `find`: IPv4 address of the node behind which the address is, or 0. */
  tunnelEndpoint4 = 0
  /** Of the last `find`: bits of IpcacheFlag. */
  flags = 0

  constructor(prefixes: LpmMap) {
    this.#prefixes = prefixes
  }

  /**
   * Identity of the four address words at `start`; sets `endpoint`, `tunnelEndpoint4` and `flags`.
   */
  find(words: Int32Array, start: number): number {
    const found = this.#found
    if (this.#prefixes.lookupInto(words, start, found) === NOT_FOUND) {
      this.endpoint = NO_ENDPOINT
      this.tunnelEndpoint4 = 0
      this.flags = 0
      return Identity.WORLD
    }
    this.endpoint = (found[ENDPOINT] as number) - 1
    this.tunnelEndpoint4 = found[TUNNEL_ENDPOINT] as number
    this.flags = found[FLAGS] as number
    return found[IDENTITY] as number
  }

  /** Of the last `find`: only through the tunnel, if there is one, is the address reached. */
  get needsTunnel(): boolean {
    return (this.flags & (IpcacheFlag.REMOTE | IpcacheFlag.SKIP_TUNNEL)) === IpcacheFlag.REMOTE
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
    this.#value[TUNNEL_ENDPOINT] = 0
    this.#value[FLAGS] = 0
    return this.#prefixes.update(address, prefixLength, this.#value) >= 0
  }

  /**
   * Control plane: addresses elsewhere in the cluster. `tunnelEndpoint4` is the IPv4 address of the
   * node that has them, or 0; `flags` are bits of IpcacheFlag. False when the map is full.
   */
  setRemote(
    address: Int32Array,
    prefixLength: number,
    identity: number,
    tunnelEndpoint4: number,
    flags: number,
  ): boolean {
    this.#value[IDENTITY] = identity
    this.#value[ENDPOINT] = 0
    this.#value[TUNNEL_ENDPOINT] = tunnelEndpoint4
    this.#value[FLAGS] = flags
    return this.#prefixes.update(address, prefixLength, this.#value) >= 0
  }

  delete(address: Int32Array, prefixLength: number): boolean {
    return this.#prefixes.delete(address, prefixLength)
  }
}
