/** What becomes of a packet after a stage: a small number, negative for a drop. */
import type { DropReason } from './drop-reason.js'

export const Verdict = {
  /** Go on with `ctx.nextStage`. */
  CONTINUE: 0,
  /** Leave by `ctx.egressPort`. */
  REDIRECT: 1,
  /** Handled here, nothing leaves; the frame goes back to the pool without being a loss. */
  CONSUMED: 2,
} as const
export type Verdict = (typeof Verdict)[keyof typeof Verdict] | DropReason

/**
 * Side of the endpoint that a packet was seen on; numbers as in Cilium's metrics
 * (bpf/lib/common.h).
 */
export const Direction = { INGRESS: 1, EGRESS: 2, SERVICE: 3 } as const
export type Direction = (typeof Direction)[keyof typeof Direction]
