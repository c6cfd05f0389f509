/**
 * Events that the datapath leaves in its ring, as fixed rows of int32 words: drops, policy verdicts
 * and traces (Cilium: bpf/lib/notify.h, drop.h, trace.h, policy_log.h; types and observation points
 * have its numbers).
 */

/** Cilium's message types (pkg/monitor/api/types.go). */
export const EventType = { DROP: 1, TRACE: 4, POLICY_VERDICT: 5 } as const
export type EventType = (typeof EventType)[keyof typeof EventType]

/** Where a packet was seen; numbers as in Cilium (bpf/lib/trace.h, enum trace_point). */
export const ObservationPoint = {
  TO_ENDPOINT: 0,
  TO_HOST: 2,
  TO_STACK: 3,
  TO_OVERLAY: 4,
  FROM_ENDPOINT: 5,
  FROM_HOST: 7,
  FROM_OVERLAY: 9,
  FROM_NETWORK: 10,
  TO_NETWORK: 11,
} as const
export type ObservationPoint = (typeof ObservationPoint)[keyof typeof ObservationPoint]

/** Words of a row; the frame's first bytes follow the header. */
export const EventWord = {
  TYPE: 0,
  SECONDS: 1,
  NANOSECONDS: 2,
  /**
   * Drop: the positive code. Policy verdict: 0, or the positive code, also of what passed by audit
   * mode. Trace: an ObservationPoint.
   */
  CODE: 3,
  DIRECTION: 4,
  ENDPOINT: 5,
  INGRESS_PORT: 6,
  /** -1 unless the packet left. */
  EGRESS_PORT: 7,
  SOURCE_IDENTITY: 8,
  DESTINATION_IDENTITY: 9,
  /** CtResult of the last lookup. */
  CT_RESULT: 10,
  /** PolicyMatch, and the cookie of the rule that decided. */
  POLICY_MATCH: 11,
  RULE_COOKIE: 12,
  FRAME_BYTES: 13,
  /** Bytes of the frame that follow in the row. */
  SAMPLE_BYTES: 14,
  /** TailCall of the last stage. */
  STAGE: 15,
  /** Ten words as in src/wire/tuple.ts. */
  TUPLE: 16,
  TCP_FLAGS: 26,
  /** Policy verdict: 1 when the packet passed all the same, by audit mode. */
  IS_AUDITED: 27,
  /**
   * Four words of a drop's own, 0 where it has none. Of 167 (no NAT mapping): ports tried, ports
   * there are, ports in use toward this destination, entries of the NAT table.
   */
  DETAIL: 28,
  SAMPLE: 32,
} as const

export const EVENT_DETAIL_WORDS = 4

/** As much of a frame as Cilium keeps of a drop. */
export const SAMPLE_BYTES_MAX = 128
export const EVENT_WORDS = EventWord.SAMPLE + SAMPLE_BYTES_MAX / 4
