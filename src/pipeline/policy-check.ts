/**
 * The policy step that both sides of a connection share (A2 6b, A3 4): replies and related errors belong to a flow that was
 * allowed; everything else is asked anew for each packet, so that a changed policy ends running connections too.
 */

import type { Conntrack } from '../conntrack/conntrack.js'
import { CtDirection, CtResult } from '../conntrack/ct-entry.js'
import { DropReason } from '../packet/drop-reason.js'
import { Direction } from '../packet/verdict.js'
import { ALLOWED, type PolicyMap } from '../policy/policy-map.js'
import * as icmpv4 from '../wire/icmpv4.js'
import type { PacketContext } from './context.js'
import { NO_ICMP_TYPE } from './parse.js'

/** ALLOWED, or the reason of the drop. `identity` is the remote side's. */
export function checkPolicy(
  ctx: PacketContext,
  policies: PolicyMap,
  policy: number,
  direction: Direction,
  identity: number,
): number {
  const isIcmp = ctx.icmpType !== NO_ICMP_TYPE
  const port = isIcmp ? ctx.icmpType : ctx.destinationPort
  // Without it a sender never learns the path's MTU; Cilium lets it pass by default too.
  if (isIcmp && isFragmentationNeeded(ctx)) return ALLOWED
  const verdict = policies.lookup(policy, direction, identity, ctx.protocol, port, true)
  ctx.policyMatch = policies.match
  ctx.ruleCookie = policies.cookie
  return verdict
}

/** Makes the entry of a connection that was let through; ALLOWED, or CT_CREATE_FAILED. */
export function createConnection(
  ctx: PacketContext,
  conntrack: Conntrack,
  direction: Direction,
): number {
  const isCreated = conntrack.create(
    ctx.words,
    ctx.tupleStart,
    ctx.hash,
    direction === Direction.EGRESS ? CtDirection.EGRESS : CtDirection.INGRESS,
    ctx.sourceIdentity,
    ctx.packet.length,
    ctx.nowSeconds,
  )
  return isCreated ? ALLOWED : DropReason.CT_CREATE_FAILED
}

export const needsPolicy = (ctResult: number): boolean =>
  ctResult === CtResult.NEW || ctResult === CtResult.ESTABLISHED

function isFragmentationNeeded(ctx: PacketContext): boolean {
  return (
    ctx.icmpType === icmpv4.Type.DESTINATION_UNREACHABLE &&
    icmpv4.code(ctx.packet, ctx.l4Offset) === icmpv4.Unreachable.FRAGMENTATION_NEEDED
  )
}
