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
  /** Ingress port << 8 | IP protocol; NEVER_USED or FORGOTTEN where there is no flow. */
  INGRESS: 3,
  /** Clock.EPOCH when it was learned; 0: no flow here. */
  EPOCH: 4,
  /** Clock.MILLISECONDS when it was learned or renewed. */
  LEARNED_AT: 5,
  /** What is done with a packet: see flow-action.ts. */
  ACTION: 6,
  /** As it leaves. */
  NEW_ENDS_A: 7,
  NEW_ENDS_B: 8,
  NEW_ENDS_C: 9,
  /** What that adds to the checksums, see plain4.ts. */
  DELTAS: 10,
  /** What is put around a packet: see flow-action.ts. */
  AROUND: 11,
  /** Packets repeated since its connections were told, and their bytes from the MAC header on, as received. */
  PACKETS: 12,
  BYTES: 13,
  /** Clock.MILLISECONDS of the last one. */
  REPEATED_AT: 14,
  /** Of the pseudo header as it comes in: plain4.pseudo. */
  PSEUDO: 15,
} as const

export const NO_FLOW = -1
/** No flow was ever put into the place; so none that could have had it lies behind it. */
export const NEVER_USED = 0
/** There was one; whoever looks for another goes on. */
export const FORGOTTEN = -1

/**
 * Words of the clock: monotonic milliseconds of the burst at hand modulo 2^32, and a number of the maps'
 * present state, never 0.
 */
export const Clock = { MILLISECONDS: 0, EPOCH: 1 } as const
/** More than 64 bytes: V8 keeps smaller arrays in its heap, and cannot take them for constant. */
export const CLOCK_WORDS = 32
