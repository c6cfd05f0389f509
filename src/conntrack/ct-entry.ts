/**
 * Layout of a connection table entry and the numbers of its state machine (Cilium: bpf/lib/conntrack.h, struct ct_entry).
 *
 * The key is the tuple as the connection's first packet had it, and the side it was made on. Cilium stores the addresses
 * reversed for historical reasons; ours read as the originator's.
 */
import type { MapSpec } from '../maps/map.js'

/** source[4], destination[4], ports (source << 16 | destination), protocol and flags. */
export const CT_KEY_WORDS = 10
export const CtKey = { SOURCE: 0, DESTINATION: 4, PORTS: 8, PROTOCOL: 9 } as const

/** Side of an entry, or-ed into the protocol word above its low byte (A10: OUT 0, IN 1, SERVICE 4). */
export const CtFlag = { OUT: 0, IN: 1 << 8, SERVICE: 4 << 8 } as const

export const CtResult = { NEW: 0, ESTABLISHED: 1, REPLY: 2, RELATED: 3 } as const
export type CtResult = (typeof CtResult)[keyof typeof CtResult]

/** Which side of the connection table a lookup is for. */
export const CtDirection = { EGRESS: 0, INGRESS: 1, SERVICE: 2 } as const
export type CtDirection = (typeof CtDirection)[keyof typeof CtDirection]

/** Value words. */
export const Ct = {
  /** Monotonic second at which the entry may be collected. */
  LIFETIME: 0,
  /** CtState bits. */
  STATE: 1,
  /** Reverse NAT index in the upper half, NAT port in the lower. */
  REV_NAT: 2,
  SOURCE_IDENTITY: 3,
  PACKETS: 4,
  BYTES_LOW: 5,
  BYTES_HIGH: 6,
  /** TCP flags seen: transmitted in the low byte, received in the next. */
  FLAGS_SEEN: 7,
  LAST_TX_REPORT: 8,
  LAST_RX_REPORT: 9,
} as const
const CT_VALUE_WORDS = 21

export const CtState = {
  RX_CLOSING: 1,
  TX_CLOSING: 2,
  SEEN_NON_SYN: 16,
} as const
export const CLOSING_BOTH = CtState.RX_CLOSING | CtState.TX_CLOSING

/** Lifetimes in seconds: the agent's defaults (Documentation/cmdref/cilium-agent.md). */
export interface CtTimeouts {
  readonly tcpSeconds: number
  readonly anySeconds: number
  readonly synSeconds: number
  readonly closeSeconds: number
  readonly reportIntervalSeconds: number
  /** TCP flags whose first sight is worth an event: FIN 1, SYN 2, RST 4. */
  readonly reportFlags: number
}
export const CT_TIMEOUTS: CtTimeouts = {
  tcpSeconds: 8000,
  anySeconds: 60,
  synSeconds: 60,
  closeSeconds: 10,
  reportIntervalSeconds: 5,
  reportFlags: 7,
}

/** One table for all protocols and both families, evicting the entry that would expire first. */
export const conntrackSpec = (maxEntries: number): MapSpec => ({
  name: 'conntrack',
  type: 'lru-hash',
  keyWords: CT_KEY_WORDS,
  valueWords: CT_VALUE_WORDS,
  maxEntries,
})
