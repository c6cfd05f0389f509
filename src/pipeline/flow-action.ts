/** What the lane does with a flow's packets, in two words (Flow.ACTION, Flow.AROUND). */

import { PORTS_MAX } from '../base/limits.js'
import { L3_OFFSET } from '../wire/plain4.js'

/**
 * Flow.ACTION: bits 0-9 egress port, 10-11 by how much the TTL goes down, 12-13 metric direction, 14 whether
 * it gets an envelope, 16-31 greatest length in bytes from the MAC header on, as received.
 */
export const FlowAction = {
  PORT_MASK: PORTS_MAX - 1,
  HOPS_SHIFT: 10,
  HOPS_MASK: 3,
  DIRECTION_SHIFT: 12,
  DIRECTION_MASK: 3,
  ENVELOPE: 1 << 14,
  BYTES_SHIFT: 16,
} as const

/** What the word has room for. The few bytes that a packet may be longer take the chain. */
const FRAME_BYTES_MAX = 0xffff
/** As far as the TTL may go down. */
export const TTL_HOPS_MAX = FlowAction.HOPS_MASK

/** @param bytesMax of the packet from the IP header on, see PacketContext.repeatableBytesMax */
export function packAction(
  port: number,
  hops: number,
  direction: number,
  hasEnvelope: boolean,
  bytesMax: number,
): number {
  return (
    (Math.min(bytesMax + L3_OFFSET, FRAME_BYTES_MAX) << FlowAction.BYTES_SHIFT) |
    (hasEnvelope ? FlowAction.ENVELOPE : 0) |
    (direction << FlowAction.DIRECTION_SHIFT) |
    (hops << FlowAction.HOPS_SHIFT) |
    port
  )
}

/** Flow.AROUND: bits 0-15 UDP source port of the envelope, as in memory, 16-31 number of the adjacency. */
export const Around = { SOURCE_PORT_MASK: 0xffff, ADJACENCY_SHIFT: 16 } as const

export const packAround = (adjacency: number, sourcePort: number): number =>
  (adjacency << Around.ADJACENCY_SHIFT) | sourcePort
