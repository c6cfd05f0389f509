/**
 * Layout of a connection table entry and the numbers of its state machine (Cilium:
 * bpf/lib/conntrack.h, struct ct_entry).
 *
 * The key is the tuple as the connection's first packet had it, and the side it was made on. Cilium
 * stores the addresses reversed for historical reasons; ours read as the originator's.
 */
import type { MapSpec } from '../maps/map.js'
import * as tcp from '../wire/tcp.js'

/** IPv4: source, destination, ports (source << 16 | destination), protocol and side. */
export const CT4_KEY_WORDS = 4
export const CtKey = { SOURCE: 0, DESTINATION: 1, PORTS: 2, PROTOCOL: 3 } as const

/**
 * Side of an entry, or-ed into the protocol word above its low byte; numbers as in Cilium (bpf/lib/common.h,
 * TUPLE_F_OUT, TUPLE_F_IN, TUPLE_F_SERVICE).
 */
export const CtFlag = { OUT: 0, IN: 1 << 8, SERVICE: 4 << 8 } as const

export const CtResult = { NEW: 0, ESTABLISHED: 1, REPLY: 2, RELATED: 3 } as const
export type CtResult = (typeof CtResult)[keyof typeof CtResult]

/** The packet goes to whoever began the connection, or is an error about it. */
export const isReturn = (result: number): boolean => result >= CtResult.REPLY

/** Which side of the connection table a lookup is for. */
export const CtDirection = {
  EGRESS: 0,
  INGRESS: 1,
  SERVICE: 2,
  /** EGRESS for a packet that is known to be of its connection's first direction (SCOPE_FORWARD). */
  EGRESS_FORWARD: 3,
} as const
export type CtDirection = (typeof CtDirection)[keyof typeof CtDirection]

/** What the protocol word of an entry holds above the protocol. */
export function sideOf(direction: CtDirection): number {
  if (direction === CtDirection.INGRESS) return CtFlag.IN
  return direction === CtDirection.SERVICE ? CtFlag.SERVICE : CtFlag.OUT
}

/** Where there is no other direction, or it is not asked for: no entry has this side. */
const NO_SIDE = 0x7f00

/** The same for an entry of the other direction. */
export function otherSideOf(direction: CtDirection): number {
  if (direction === CtDirection.EGRESS) return CtFlag.IN
  return direction === CtDirection.INGRESS ? CtFlag.OUT : NO_SIDE
}

/** Value words. With state and key they fill one cache line of 64 bytes. */
export const Ct = {
  /** Monotonic second from which on the entry may be collected. */
  EXPIRES: 0,
  /** CtState bits. */
  STATE: 1,
  /** Reverse NAT index of its service in the upper half, NAT port in the lower. */
  REV_NAT: 2,
  SOURCE_IDENTITY: 3,
  PACKETS: 4,
  BYTES_LOW: 5,
  BYTES_HIGH: 6,
  LAST_TX_REPORT: 7,
  LAST_RX_REPORT: 8,
  /** Policy (as the endpoint's row has it) that allowed the connection; 0 for none. */
  POLICY: 9,
  /** Of a SERVICE entry, which no policy is asked about: the id of the flow's backend. */
  BACKEND: 9,
  /** Identity of the remote side at that time. */
  POLICY_IDENTITY: 10,
} as const
const CT_VALUE_WORDS = 11

/**
 * Flags in the low half; TCP flags seen above: transmitted ones from bit 16, received ones from bit
 * 24.
 */
export const CtState = {
  RX_CLOSING: 1,
  TX_CLOSING: 2,
  /** A pod's connection to itself through a service. */
  LOOPBACK: 8,
  SEEN_NON_SYN: 16,
  /** A client's connection through a service of this node, as the side of the node sees it. */
  NODE_PORT: 32,
} as const
export const CLOSING_BOTH = CtState.RX_CLOSING | CtState.TX_CLOSING
/** What a connection that begins anew in the same entry keeps. */
export const LASTING = CtState.LOOPBACK | CtState.NODE_PORT
export const TX_FLAGS_SHIFT = 16
export const RX_FLAGS_SHIFT = 24

/** What a packet does to its connection (Cilium: bpf/lib/conntrack.h, ct_tcp_select_action). */
export const isCloseAction = (tcpFlags: number): boolean =>
  (tcpFlags & (tcp.Flag.FIN | tcp.Flag.RST)) !== 0
export const isCreateAction = (tcpFlags: number): boolean =>
  (tcpFlags & (tcp.Flag.SYN | tcp.Flag.ACK)) === tcp.Flag.SYN

/** Lifetimes in seconds: the agent's defaults (Documentation/cmdref/cilium-agent.md). */
export interface CtTimeouts {
  readonly tcpSeconds: number
  readonly anySeconds: number
  readonly synSeconds: number
  readonly closeSeconds: number
  readonly serviceTcpSeconds: number
  readonly serviceAnySeconds: number
  /**
   * After its close, a flow to a service that begins again with the same ports keeps its backend
   * for so long.
   */
  readonly serviceGraceSeconds: number
  readonly reportIntervalSeconds: number
  /** TCP flags whose first sight is worth an event: FIN 1, SYN 2, RST 4. */
  readonly reportFlags: number
}
export const CT_TIMEOUTS: CtTimeouts = {
  tcpSeconds: 8000,
  anySeconds: 60,
  synSeconds: 60,
  closeSeconds: 10,
  serviceTcpSeconds: 8000,
  serviceAnySeconds: 60,
  serviceGraceSeconds: 60,
  reportIntervalSeconds: 5,
  reportFlags: 7,
}

/** How long an open connection lives from now on. @param state its flags, those of the packet at hand included */
export function lifetimeSeconds(
  timeouts: CtTimeouts,
  direction: CtDirection,
  isTcp: boolean,
  state: number,
): number {
  const isService = direction === CtDirection.SERVICE
  if (!isTcp) return isService ? timeouts.serviceAnySeconds : timeouts.anySeconds
  if ((state & CtState.SEEN_NON_SYN) === 0) return timeouts.synSeconds
  return isService ? timeouts.serviceTcpSeconds : timeouts.tcpSeconds
}

/**
 * One table for all protocols, evicting the entry that would expire first. IPv4 has its own, as in
 * Cilium: four key words instead of ten are what lets an entry fit a cache line.
 */
export const conntrack4Spec = (maxEntries: number): MapSpec => ({
  name: 'ct4',
  type: 'lru-hash',
  keyWords: CT4_KEY_WORDS,
  valueWords: CT_VALUE_WORDS,
  maxEntries,
  stampWord: Ct.EXPIRES,
})
