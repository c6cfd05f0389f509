/** Words of the flow lane's table, in which each flow is one cache line, and of the lane's clock. */

export const FLOW_SHIFT = 4
export const FLOW_WORDS = 1 << FLOW_SHIFT
/**
 * Places that a flow may have; side by side, for a processor fetches neighbouring lines together.
 * Of as many flows as half the places, one in 270 finds no room in eight, and one in 43 in four:
 * two such flows displace each other, and all their packets take the chain.
 */
export const WAYS = 8

/** Words of a flow. */
export const Flow = {
  /** Addresses and ports as the packet comes in, see plain4.ts. */
  ENDS_A: 0,
  ENDS_B: 1,
  ENDS_C: 2,
  /** Port it comes in by << 8 | protocol; NEVER_USED or FORGOTTEN where there is no flow. */
  WAY: 3,
  /** State of the maps that the decision was made in; 0 for none. */
  EPOCH: 4,
  /** Or renewed. */
  LEARNED_AT: 5,
  /** What is done with a packet: see flow-action.ts. */
  ACTION: 6,
  /** As it leaves. */
  NEW_ENDS_A: 7,
  NEW_ENDS_B: 8,
  NEW_ENDS_C: 9,
  /** What that adds to the checksums, see plain4.ts. */
  DELTAS: 10,
  /** Number of its adjacency << 16 | source port of its envelope, as in memory. */
  AROUND: 11,
  /** Repeated since its connections were told, the last one at. */
  PACKETS: 12,
  BYTES: 13,
  REPEATED_AT: 14,
  /** Sum of the pseudo header as it comes in, without the length, see plain4.ts. */
  PSEUDO: 15,
} as const

export const NO_FLOW = -1
/** No flow was ever put into the place; so none that could have had it lies behind it. */
export const NEVER_USED = 0
/** There was one; whoever looks for another goes on. */
export const FORGOTTEN = -1

/** Words of the clock: of the burst at hand, and the present state of the maps. */
export const Clock = { MILLISECONDS: 0, EPOCH: 1 } as const
/** More than 64 bytes: V8 keeps smaller arrays in its heap, and cannot take them for constant. */
export const CLOCK_WORDS = 32
