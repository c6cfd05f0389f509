/** What the lane does with a flow's packets, in two words (Flow.ACTION, Flow.AROUND). */

export const FlowAction = {
  /** The port they leave by stands in the lowest ten bits, then: */
  PORT_MASK: 0x3ff,
  /** by how much the TTL goes down, */
  HOPS_SHIFT: 10,
  /** the metric direction, */
  DIRECTION_SHIFT: 12,
  /** whether they get an envelope, */
  ENVELOPE: 1 << 14,
  /** and the greatest IP length in bytes. */
  BYTES_SHIFT: 16,
} as const

/** As far as the TTL may go down. */
export const TTL_HOPS_MAX = 3

export function packAction(
  port: number,
  hops: number,
  direction: number,
  hasEnvelope: boolean,
  bytesMax: number,
): number {
  return (
    (bytesMax << FlowAction.BYTES_SHIFT) |
    (hasEnvelope ? FlowAction.ENVELOPE : 0) |
    (direction << FlowAction.DIRECTION_SHIFT) |
    (hops << FlowAction.HOPS_SHIFT) |
    port
  )
}

/** The number of the adjacency stands above, the source port of the envelope, as in memory, below. */
export const Around = { ADJACENCY_SHIFT: 16, PORT_MASK: 0xffff } as const

export const packAround = (adjacency: number, sourcePort: number): number =>
  (adjacency << Around.ADJACENCY_SHIFT) | sourcePort
