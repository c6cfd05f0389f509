/**
 * What the lane notes of a burst's frames as they come in: of each the home of its flow, the rest of
 * those that it leaves to the chain, for the learner.
 */

/** Words of a frame's note: eight, as a power of two. */
export const NOTE_SHIFT = 3
export const Note = {
  /**
   * FlowAccess.homeOf its flow, or-ed with its kind (Plain) in the low bits, which a home leaves 0. 0, which
   * is Plain.NONE, if it is not plain.
   */
  HOME_AND_KIND: 0,
  /** Addresses and ports as it came in, see plain4.ts. */
  ENDS_A: 1,
  ENDS_B: 2,
  ENDS_C: 3,
  /** Ingress port << 8 | IP protocol. */
  INGRESS: 4,
  TTL: 5,
} as const
export const KIND_MASK = 3
