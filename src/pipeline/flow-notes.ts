/**
 * What the lane notes of a burst's frames as they come in: of each the place of its flow, the rest of
 * those that it leaves to the chain, for the learner.
 */

/** Words of a frame's note: eight, as a power of two. */
export const NOTE_SHIFT = 3
export const Note = {
  /** Where its flow begins to be looked for, with its kind (Plain) in the bits below. */
  PLACE: 0,
  /** Addresses and ports as it came in, see plain4.ts. */
  ENDS_A: 1,
  ENDS_B: 2,
  ENDS_C: 3,
  /** Port it came in by << 8 | protocol. */
  WAY: 4,
  TTL: 5,
} as const
export const KIND_MASK = 3
