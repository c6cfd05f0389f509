/**
 * Who has an address (Cilium: cilium_ipcache_v2 and cilium_lxc, bpf/lib/eps.h): the identity of the
 * longest prefix that covers it, WORLD where none does; and for an address of this node the
 * endpoint behind it, for one elsewhere in the cluster the node that has it, so that one lookup
 * answers all questions.
 */
import type { LpmMap } from '../maps/lpm-map.js'
import { type MapSpec, NOT_FOUND, type Slot } from '../maps/map.js'
import { ADDRESS_WORDS, IPV4_PREFIX_BITS, isIpv4Words } from '../wire/address.js'
import { Identity } from './identity.js'

const IDENTITY = 0
/** Row of the endpoint table plus one; 0 for an address elsewhere. */
const ENDPOINT = 1
/** IPv4 address of the node that has the address, 0 where none is known. */
const TUNNEL_ENDPOINT = 2
const FLAGS = 3
/** Identity that policy gives the prefix where nobody has it, or 0. */
const CIDR_IDENTITY = 4
/** 1 where somebody has it: an endpoint, this node, another one. */
const IS_OWNED = 5
const VALUE_WORDS = 8
const WORDS_READ = FLAGS + 1
/** Four address words, and the prefix length. */
const PREFIX_WORDS = 5
const ADDRESS_BITS = 128

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

interface Prefix {
  readonly words: Int32Array
  readonly prefixLength: number
}

export class Ipcache {
  readonly #prefixes: LpmMap
  readonly #value = new Int32Array(VALUE_WORDS)
  readonly #found = new Int32Array(WORDS_READ)
  /** The control plane's own: prefixes that policy has given an identity; read when first asked. */
  #noted: Map<string, Prefix> | null = null

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
    const value = this.#valueOf(address, prefixLength)
    value[IDENTITY] = identity
    value[ENDPOINT] = endpoint + 1
    value[TUNNEL_ENDPOINT] = 0
    value[FLAGS] = 0
    value[IS_OWNED] = 1
    return this.#writeOwned(address, prefixLength, value)
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
    const value = this.#valueOf(address, prefixLength)
    value[IDENTITY] = identity
    value[ENDPOINT] = 0
    value[TUNNEL_ENDPOINT] = tunnelEndpoint4
    value[FLAGS] = flags
    value[IS_OWNED] = 1
    return this.#writeOwned(address, prefixLength, value)
  }

  /** Control plane: nobody has the prefix any more; an identity that policy gives it stays. */
  delete(address: Int32Array, prefixLength: number): boolean {
    const value = this.#valueOf(address, prefixLength)
    if (value[IS_OWNED] === 0) return false
    const cidrIdentity = value[CIDR_IDENTITY] as number
    if (cidrIdentity === 0) this.#prefixes.delete(address, prefixLength)
    else {
      this.#valueAround(address, prefixLength)
      this.#writeCidr(address, prefixLength, cidrIdentity)
    }
    this.#renewInside(address, prefixLength)
    return true
  }

  /**
   * Control plane: room for a prefix that policy will give an identity; until then its addresses
   * have the one that they have now. False when the map is full.
   */
  reserveCidr(address: Int32Array, prefixLength: number): boolean {
    if (this.#prefixes.find(address, prefixLength) !== NOT_FOUND) return true
    const value = this.#valueAround(address, prefixLength)
    return this.#writeCidr(address, prefixLength, value[IDENTITY] as number)
  }

  /**
   * Control plane: the identity of a prefix by policy, which counts where nobody has the prefix.
   * Which node has it is inherited from the prefix around it. False when the map is full.
   */
  setCidr(address: Int32Array, prefixLength: number, identity: number): boolean {
    if (!this.reserveCidr(address, prefixLength)) return false
    const value = this.#valueOf(address, prefixLength)
    if (value[IS_OWNED] === 0) return this.#writeCidr(address, prefixLength, identity)
    value[CIDR_IDENTITY] = identity
    this.#note(address, prefixLength)
    return this.#prefixes.update(address, prefixLength, value) >= 0
  }

  /** Control plane: takes it away again. */
  deleteCidr(address: Int32Array, prefixLength: number): void {
    this.#cidrsNoted().delete(keyOf(address, prefixLength))
    const value = this.#valueOf(address, prefixLength)
    if (value[IS_OWNED] === 0) {
      this.#prefixes.delete(address, prefixLength)
      return
    }
    value[CIDR_IDENTITY] = 0
    this.#prefixes.update(address, prefixLength, value)
  }

  /** All identities that policy has given prefixes. */
  *cidrs(): Generator<{ words: Int32Array; prefixLength: number; identity: number }> {
    const prefix = new Int32Array(PREFIX_WORDS)
    const value = new Int32Array(VALUE_WORDS)
    for (const slot of this.#prefixes.slots()) {
      if (!this.#prefixes.read(slot, prefix, value) || value[CIDR_IDENTITY] === 0) continue
      const words = prefix.slice(0, PREFIX_WORDS - 1)
      const prefixLength = prefix[PREFIX_WORDS - 1] as number
      yield { words, prefixLength, identity: value[CIDR_IDENTITY] as number }
    }
  }

  /** Writes the scratch value, as that of a prefix that nobody has. */
  #writeCidr(address: Int32Array, prefixLength: number, identity: number): boolean {
    const value = this.#value
    value[IDENTITY] = identity
    value[CIDR_IDENTITY] = identity
    value[ENDPOINT] = 0
    value[IS_OWNED] = 0
    this.#note(address, prefixLength)
    return this.#prefixes.update(address, prefixLength, value) >= 0
  }

  #writeOwned(address: Int32Array, prefixLength: number, value: Int32Array): boolean {
    if (this.#prefixes.update(address, prefixLength, value) < 0) return false
    this.#renewInside(address, prefixLength)
    return true
  }

  /** Prefixes of policies inherit anew which node has them, when that of one around them changed. */
  #renewInside(address: Int32Array, prefixLength: number): void {
    if (prefixLength === ADDRESS_BITS) return
    const inside = [...this.#cidrsNoted().values()].filter((prefix) => {
      return prefix.prefixLength > prefixLength && covers(address, prefixLength, prefix.words)
    })
    // From the widest on, for the others may inherit from it.
    inside.sort((a, b) => a.prefixLength - b.prefixLength)
    for (const prefix of inside) {
      const value = this.#valueOf(prefix.words, prefix.prefixLength)
      const identity = value[CIDR_IDENTITY] as number
      if (value[IS_OWNED] !== 0 || identity === 0) continue
      this.#valueAround(prefix.words, prefix.prefixLength)
      this.#writeCidr(prefix.words, prefix.prefixLength, identity)
    }
  }

  #note(address: Int32Array, prefixLength: number): void {
    const key = keyOf(address, prefixLength)
    const noted = this.#cidrsNoted()
    if (!noted.has(key)) noted.set(key, { words: address.slice(0, ADDRESS_WORDS), prefixLength })
  }

  #cidrsNoted(): Map<string, Prefix> {
    if (this.#noted === null) {
      this.#noted = new Map()
      for (const { words, prefixLength } of this.cidrs()) {
        this.#noted.set(keyOf(words, prefixLength), { words, prefixLength })
      }
    }
    return this.#noted
  }

  /** The scratch value with what the longest prefix around this one has; WORLD without one. */
  #valueAround(address: Int32Array, prefixLength: number): Int32Array {
    // What is around a prefix is around its first address; only a longer one there hides it.
    const first = this.#prefixes.lookup(address, 0)
    if (first === NOT_FOUND) return this.#worldValue()
    if (this.#lengthOf(first) < prefixLength) return this.#load(first)
    const isIpv4 = isIpv4Words(address) && prefixLength >= IPV4_PREFIX_BITS
    for (let length = prefixLength - 1; length >= 0; length--) {
      // Of the prefixes around all of IPv4 only ::/0 is one that somebody would have.
      if (isIpv4 && length < IPV4_PREFIX_BITS) length = 0
      const slot = this.#prefixes.find(address, length)
      if (slot !== NOT_FOUND) return this.#load(slot)
    }
    return this.#worldValue()
  }

  #worldValue(): Int32Array {
    this.#value.fill(0)
    this.#value[IDENTITY] = Identity.WORLD
    return this.#value
  }

  #lengthOf(slot: Slot): number {
    return this.#prefixes.words[this.#prefixes.keyStart(slot) + PREFIX_WORDS - 1] as number
  }

  /** The scratch value with what exactly this prefix has, or zeros. */
  #valueOf(address: Int32Array, prefixLength: number): Int32Array {
    const slot = this.#prefixes.find(address, prefixLength)
    if (slot === NOT_FOUND) this.#value.fill(0)
    else this.#load(slot)
    return this.#value
  }

  #load(slot: Slot): Int32Array {
    const start = this.#prefixes.valueStart(slot)
    for (let i = 0; i < VALUE_WORDS; i++) {
      this.#value[i] = this.#prefixes.words[start + i] as number
    }
    return this.#value
  }
}

const keyOf = (words: Int32Array, prefixLength: number): string =>
  `${words.subarray(0, ADDRESS_WORDS).join()}/${prefixLength}`

/** Do the first `prefixLength` bits of both agree? */
function covers(prefix: Int32Array, prefixLength: number, words: Int32Array): boolean {
  for (let i = 0; i < ADDRESS_WORDS; i++) {
    const bits = Math.min(Math.max(prefixLength - 32 * i, 0), 32)
    const differing = (prefix[i] as number) ^ (words[i] as number)
    // A shift by 32 would shift by 0.
    if (bits > 0 && differing >>> (32 - bits) !== 0) return false
  }
  return true
}
