/**
 * What a node knows of the others (Cilium: pkg/node/manager, pkg/ipcache): which node has which
 * addresses, whose they are, and whether they are reached through the overlay or by plain routing.
 * Each change is checked whole before the first prefix is written. IPv4 only, as the stages are.
 */
import { ErrorCode, RingpathError } from '../base/errors.js'
import type { NodeSettings } from '../endpoint/node-settings.js'
import { IDENTITY_MAX, Identity } from '../identity/identity.js'
import { type Ipcache, IpcacheFlag, NO_ENDPOINT } from '../identity/ipcache.js'
import type { DatapathMaps } from '../pipeline/datapath-maps.js'
import {
  type Cidr,
  formatCidr,
  IPV4_PREFIX_BITS,
  isIpv4Words,
  type Mac,
  parseCidr,
  parseIpv4,
  parseMac,
} from '../wire/address.js'

/** Cilium's default, and the one that the Linux kernel had before IANA gave out 4789. */
export const DEFAULT_TUNNEL_PORT = 8472
const HOST_PREFIX_BITS = 128

export interface TunnelOptions {
  /** 'native': pods of other nodes are reached by plain routing, whatever their prefixes say. */
  readonly mode: 'native' | 'tunnel'
  /** UDP port of VXLAN, 1 to 65535; 8472 unless given. */
  readonly port?: number
  /**
   * MAC that frames inside the tunnel are addressed to, for peers who look at it: the MAC of a Linux
   * peer's vxlan devices, or of a hardware tunnel endpoint. Ours do not; unless given it stays what
   * the sender wrote.
   */
  readonly innerMac?: string
}

/** Addresses elsewhere in the cluster. */
export interface RemoteSpec {
  /** "10.0.2.0/24", or one address. */
  readonly prefix: string
  /** 1 to 0xffffff. */
  readonly identity: number
  /** Of the node that has them. In tunnel mode packets to them are dropped (160) while it is not known. */
  readonly tunnelEndpoint?: string
  /** They are reached by plain routing in tunnel mode, too. */
  readonly skipTunnel?: boolean
}

/** Another node. */
export interface PeerSpec {
  readonly name: string
  /** Where it is on the network, and receives the overlay's packets. */
  readonly address: string
  /** Prefixes that its pods' addresses are from. A pod that nothing more is known of is UNMANAGED. */
  readonly podCidrs: readonly string[]
  /** Further addresses of the node itself, which are reached as its pods are. */
  readonly hostAddresses?: readonly string[]
  /** Its pods are reached by plain routing in tunnel mode, too. */
  readonly skipTunnel?: boolean
}

interface Entry {
  readonly cidr: Cidr
  readonly identity: number
  readonly tunnelEndpoint4: number
  readonly flags: number
}

export class RemoteNodes {
  readonly #ipcache: Ipcache
  readonly #node: NodeSettings
  /** Prefixes of each peer, by their text. */
  readonly #peers = new Map<string, ReadonlyMap<string, Entry>>()

  constructor(maps: DatapathMaps) {
    this.#ipcache = maps.ipcache
    this.#node = maps.node
  }

  setTunnel(options: TunnelOptions): void {
    const { mode, port = DEFAULT_TUNNEL_PORT } = options
    if (mode !== 'native' && mode !== 'tunnel') {
      throw invalid('tunnel.mode', String(mode), "'native' or 'tunnel'")
    }
    if (!Number.isInteger(port) || port < 1 || port > 0xffff) {
      throw invalid('tunnel.port', String(port), 'a whole number from 1 to 65535')
    }
    const mac =
      options.innerMac === undefined ? null : checkMac('tunnel.innerMac', options.innerMac)
    this.#node.setTunnelMac(mac)
    this.#node.tunnelPort = mode === 'tunnel' ? port : 0
  }

  set(spec: RemoteSpec): void {
    const { identity, tunnelEndpoint } = spec
    if (!Number.isInteger(identity) || identity < 1 || identity > IDENTITY_MAX) {
      const expected = `a whole number from 1 to ${IDENTITY_MAX}`
      throw invalid('remote.identity', String(identity), expected)
    }
    const cidr = this.#elsewhere('remote.prefix', spec.prefix)
    const tunnelEndpoint4 =
      tunnelEndpoint === undefined ? 0 : checkAddress('remote.tunnelEndpoint', tunnelEndpoint)
    this.#write({ cidr, identity, tunnelEndpoint4, flags: remoteFlags(spec.skipTunnel) })
  }

  delete(prefix: string): boolean {
    const { words, prefixBits } = this.#elsewhere('remote.prefix', prefix)
    return this.#ipcache.delete(words, prefixBits)
  }

  addPeer(spec: PeerSpec): void {
    const entries = this.#entriesOf(spec)
    const before = this.#peers.get(spec.name) ?? new Map<string, Entry>()
    const written: Entry[] = []
    try {
      for (const entry of entries.values()) {
        this.#write(entry)
        written.push(entry)
      }
    } catch (error) {
      // An entry that was there before takes no room to be written once more.
      for (const entry of written) this.#remove(entry)
      for (const entry of before.values()) this.#write(entry)
      throw error
    }
    for (const [key, entry] of before) if (!entries.has(key)) this.#remove(entry)
    this.#peers.set(spec.name, entries)
  }

  removePeer(name: string): boolean {
    const entries = this.#peers.get(name)
    if (entries === undefined) return false
    for (const entry of entries.values()) this.#remove(entry)
    return this.#peers.delete(name)
  }

  #entriesOf(spec: PeerSpec): Map<string, Entry> {
    if (spec.name === '') throw invalid('peer.name', spec.name, 'a name')
    const address4 = checkAddress('peer.address', spec.address)
    const flags = remoteFlags(spec.skipTunnel)
    const entries = new Map<string, Entry>()
    const add = (field: string, text: string, entry: Omit<Entry, 'cidr'>): void => {
      const cidr = this.#elsewhere(field, text)
      const key = formatCidr(cidr)
      const owner = [...this.#peers].find(([name, had]) => name !== spec.name && had.has(key))
      if (owner !== undefined) throw invalid(field, text, `a prefix that is not of ${owner[0]}`)
      if (entries.has(key)) throw invalid(field, text, 'each prefix once')
      entries.set(key, { ...entry, cidr })
    }
    // The node itself is never behind the tunnel: it is what the tunnel's packets are sent to.
    add('peer.address', spec.address, {
      identity: Identity.REMOTE_NODE,
      tunnelEndpoint4: 0,
      flags: flags & IpcacheFlag.SKIP_TUNNEL,
    })
    const behind = { tunnelEndpoint4: address4, flags }
    for (const text of spec.podCidrs) {
      add('peer.podCidrs', text, { ...behind, identity: Identity.UNMANAGED })
    }
    for (const text of spec.hostAddresses ?? []) {
      add('peer.hostAddresses', text, { ...behind, identity: Identity.REMOTE_NODE })
    }
    return entries
  }

  /** A prefix that is not the address of this node or one of its pods. */
  #elsewhere(field: string, text: string): Cidr {
    const cidr = checkPrefix(field, text)
    if (cidr.prefixBits === HOST_PREFIX_BITS) {
      this.#ipcache.find(cidr.words, 0)
      if (this.#ipcache.endpoint !== NO_ENDPOINT) {
        throw invalid(field, text, 'no address of this node or its pods')
      }
    }
    return cidr
  }

  #write(entry: Entry): void {
    const { cidr, identity, tunnelEndpoint4, flags } = entry
    const { words, prefixBits } = cidr
    if (this.#ipcache.setRemote(words, prefixBits, identity, tunnelEndpoint4, flags)) return
    throw new RingpathError(ErrorCode.MAP_FULL, 'map ipcache: full; raise its size')
  }

  #remove(entry: Entry): void {
    this.#ipcache.delete(entry.cidr.words, entry.cidr.prefixBits)
  }
}

const remoteFlags = (skipTunnel = false): number =>
  IpcacheFlag.REMOTE | (skipTunnel ? IpcacheFlag.SKIP_TUNNEL : 0)

function checkPrefix(field: string, text: string): Cidr {
  const expected = 'an IPv4 prefix such as 10.0.2.0/24'
  let cidr: Cidr
  try {
    cidr = parseCidr(text)
  } catch (error) {
    throw invalid(field, text, expected, error)
  }
  if (isIpv4Words(cidr.words) && cidr.prefixBits >= IPV4_PREFIX_BITS) return cidr
  throw invalid(field, text, expected)
}

function checkMac(field: string, text: string): Mac {
  const expected = 'the MAC address of one station, such as 02:00:00:00:00:01'
  try {
    const mac = parseMac(text)
    // The lowest bit of the first byte is that of groups.
    if ((mac.high & 0x0100_0000) === 0) return mac
  } catch (error) {
    throw invalid(field, text, expected, error)
  }
  throw invalid(field, text, expected)
}

function checkAddress(field: string, text: string): number {
  try {
    const address4 = parseIpv4(text)
    if (address4 !== 0) return address4
  } catch (error) {
    throw invalid(field, text, 'an IPv4 address such as 192.0.2.7', error)
  }
  throw invalid(field, text, 'an IPv4 address other than 0.0.0.0')
}

function invalid(field: string, value: string, expected: string, cause?: unknown): RingpathError {
  const message = `${field}: '${value}', expected ${expected}`
  return new RingpathError(ErrorCode.CONFIG_INVALID, message, cause)
}
