/** The protocols that source NAT knows, as rows of tables by port. */
import { Protocol } from '../wire/protocols.js'

/** The first three in the order of the steering program's `nat_ports`. */
export const NatRow = { TCP: 0, UDP: 1, ICMP: 2, SCTP: 3 } as const
export const NAT_ROWS = 4
export const PORTS_PER_ROW = 65_536

/** Of a protocol without ports. */
export const NO_ROW = -1

export function natRow(protocol: number): number {
  if (protocol === Protocol.TCP) return NatRow.TCP
  if (protocol === Protocol.UDP) return NatRow.UDP
  if (protocol === Protocol.ICMPV4) return NatRow.ICMP
  return protocol === Protocol.SCTP ? NatRow.SCTP : NO_ROW
}
