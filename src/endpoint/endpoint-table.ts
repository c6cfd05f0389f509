/**
 * Endpoints and ports as the stages see them, one row per port (Cilium: cilium_lxc,
 * pkg/maps/lxcmap). The ipcache leads from an address to its row.
 *
 * A pod's row says who may send from that port (source check) and where a packet for the pod goes
 * (MAC addresses, policy). The row of the host port stands for the node's own network stack; that
 * of an uplink has the address and MAC (as `nodeMac`) of its device.
 */
import { PORTS_MAX } from '../base/limits.js'
import type { ArrayMap } from '../maps/array-map.js'
import type { MapSpec } from '../maps/map.js'
import type { Mac } from '../wire/address.js'

/** What a port is connected to; it decides the entry of the chain. */
export const PortKind = { NONE: 0, POD: 1, HOST: 2, UPLINK: 3 } as const
export type PortKind = (typeof PortKind)[keyof typeof PortKind]

/** Words of a row. */
export const Endpoint = {
  KIND: 0,
  ID: 1,
  IDENTITY: 2,
  /** Revision of the policy map; one store swaps a whole policy. */
  POLICY: 3,
  /** Four words, IPv4 as ::ffff:a.b.c.d. */
  ADDRESS: 4,
  /** MAC of the pod's own interface: upper four bytes in one word, lower two in the next. */
  MAC: 8,
  /**
   * MAC of the node's side of the pair: source of what is delivered, and the answer to the pod's
   * ARP.
   */
  NODE_MAC: 10,
  /** EndpointFlag bits. */
  FLAGS: 12,
  /** Thousands of bits per second that the endpoint may send, and get; 0 for no limit. */
  EGRESS_RATE: 13,
  INGRESS_RATE: 14,
  /** Of the port's device in bytes, as the datapath found it; 0 while nobody knows. */
  MTU: 15,
} as const

export const EndpointFlag = {
  /** What the endpoint's policy would drop passes, and is told. */
  POLICY_AUDIT: 1,
  /** What the pod sends to the outside keeps the pod's address. */
  SKIP_MASQUERADE_V4: 4,
} as const

const ROW_WORDS = 16

export const ENDPOINTS_SPEC: MapSpec = {
  name: 'endpoints',
  type: 'array',
  keyWords: 0,
  valueWords: ROW_WORDS,
  maxEntries: PORTS_MAX,
}

/** A row as the control plane writes it. */
export interface EndpointRow {
  readonly kind: PortKind
  /** 1 to 65535, unique on the node. */
  readonly id: number
  readonly identity: number
  readonly policy: number
  readonly address: Int32Array
  readonly mac: Mac
  readonly nodeMac: Mac
  /** EndpointFlag bits; none unless given. */
  readonly flags?: number
}

export class EndpointTable {
  readonly words: Int32Array
  readonly #rows: ArrayMap

  constructor(rows: ArrayMap) {
    this.#rows = rows
    this.words = rows.words
  }

  /** Index in `words` of a port's row. */
  rowStart(port: number): number {
    return this.#rows.valueStart(port)
  }

  kind(port: number): number {
    return this.words[this.rowStart(port) + Endpoint.KIND] as number
  }

  /** Is the address at `start` the one that the row's endpoint may send from? */
  ownsAddress(row: number, words: Int32Array, start: number): boolean {
    const own = this.rowStart(row) + Endpoint.ADDRESS
    const rows = this.words
    return (
      rows[own + 3] === words[start + 3] &&
      rows[own + 2] === words[start + 2] &&
      rows[own + 1] === words[start + 1] &&
      rows[own] === words[start]
    )
  }

  /** Control plane: writes a row; it takes effect when its kind, the last word stored, is there. */
  set(port: number, row: EndpointRow): void {
    const start = this.rowStart(port)
    const words = this.words
    Atomics.store(words, start + Endpoint.KIND, PortKind.NONE)
    words[start + Endpoint.ID] = row.id
    words[start + Endpoint.IDENTITY] = row.identity
    words[start + Endpoint.POLICY] = row.policy
    words.set(row.address, start + Endpoint.ADDRESS)
    words[start + Endpoint.MAC] = row.mac.high
    words[start + Endpoint.MAC + 1] = row.mac.low
    words[start + Endpoint.NODE_MAC] = row.nodeMac.high
    words[start + Endpoint.NODE_MAC + 1] = row.nodeMac.low
    words[start + Endpoint.FLAGS] = row.flags ?? 0
    words[start + Endpoint.EGRESS_RATE] = 0
    words[start + Endpoint.INGRESS_RATE] = 0
    Atomics.store(words, start + Endpoint.KIND, row.kind)
    this.#rows.changes.mark()
  }

  /** Control plane: swaps the endpoint's policy and returns the revision it had. */
  swapPolicy(port: number, policy: number): number {
    const before = Atomics.exchange(this.words, this.rowStart(port) + Endpoint.POLICY, policy)
    this.#rows.changes.mark()
    return before
  }

  setIdentity(port: number, identity: number): void {
    Atomics.store(this.words, this.rowStart(port) + Endpoint.IDENTITY, identity)
    this.#rows.changes.mark()
  }

  /** Control plane: sets or clears an EndpointFlag. */
  setFlag(port: number, flag: number, isSet: boolean): void {
    const at = this.rowStart(port) + Endpoint.FLAGS
    const flags = this.words[at] as number
    Atomics.store(this.words, at, isSet ? flags | flag : flags & ~flag)
    this.#rows.changes.mark()
  }

  /** Control plane: limits in thousands of bits per second, 0 for none. */
  setRates(port: number, egress: number, ingress: number): void {
    const start = this.rowStart(port)
    Atomics.store(this.words, start + Endpoint.EGRESS_RATE, egress)
    Atomics.store(this.words, start + Endpoint.INGRESS_RATE, ingress)
    this.#rows.changes.mark()
  }

  /** Datapath: what its device carries. It stays when the control plane writes the row anew. */
  setMtu(port: number, mtuBytes: number): void {
    const at = this.rowStart(port) + Endpoint.MTU
    if (this.words[at] === mtuBytes) return
    Atomics.store(this.words, at, mtuBytes)
    this.#rows.changes.mark()
  }

  clear(port: number): void {
    Atomics.store(this.words, this.rowStart(port) + Endpoint.KIND, PortKind.NONE)
    this.#rows.changes.mark()
  }
}
