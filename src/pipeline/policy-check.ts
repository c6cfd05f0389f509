/**
 * The policy step that both sides of a connection share (A2 6b, A3 4-5): may the packet pass, and
 * if it is the first of its connection, is the connection remembered? Replies and related errors
 * belong to a flow that was allowed; everything else is held against the policy in force, so that a
 * changed policy ends running connections too.
 *
 * The connection's entry keeps which policy allowed it, with which identity at the other end. While
 * neither has changed the answer cannot be another one, and the policy map is not asked.
 */

import type { Conntrack } from '../conntrack/conntrack.js'
import { CtDirection, CtResult, CtState, isReturn } from '../conntrack/ct-entry.js'
import type { Monitor } from '../monitor/monitor.js'
import { DropReason } from '../packet/drop-reason.js'
import { Direction } from '../packet/verdict.js'
import { ALLOWED, type PolicyMap } from '../policy/policy-map.js'
import * as icmpv4 from '../wire/icmpv4.js'
import type { PacketContext } from './context.js'
import { NO_ICMP_TYPE } from './parse.js'
import type { DatapathState } from './stage.js'

export class PolicyCheck {
  readonly #policies: PolicyMap
  readonly #conntrack: Conntrack
  readonly #monitor: Monitor
  readonly #direction: Direction
  readonly #ctDirection: CtDirection

  constructor(state: DatapathState, direction: Direction) {
    this.#policies = state.policy
    this.#conntrack = state.conntrack
    this.#monitor = state.monitor
    this.#direction = direction
    this.#ctDirection = direction === Direction.EGRESS ? CtDirection.EGRESS : CtDirection.INGRESS
  }

  /**
   * ALLOWED, or the reason for a drop; a pod may always reach itself. The connection of `ctx` is
   * the one that conntrack looked up last.
   *
   * @param policy as the endpoint's row names it
   * @param identity of the remote side
   */
  admit(ctx: PacketContext, policy: number, identity: number): number {
    if (isReturn(ctx.ctResult)) return ALLOWED
    // Only the client's side turns a service's replies back, and so has to know the service.
    const revNatIndex = this.#ctDirection === CtDirection.EGRESS ? ctx.revNatIndex : 0
    const conntrack = this.#conntrack
    if (ctx.ctResult === CtResult.ESTABLISHED) {
      if (!ctx.isMonitored && conntrack.isAllowedBy(policy, identity, revNatIndex)) return ALLOWED
      // The flow with these addresses and ports was another one's: of another service with the same
      // backend, or of none. Its entry is made anew, for replies are turned back by it.
      if (conntrack.revNatIndex !== revNatIndex) ctx.ctResult = CtResult.NEW
    }
    const verdict = ctx.isLoopback ? ALLOWED : this.#judge(ctx, policy, identity)
    if (verdict !== ALLOWED) return verdict
    const isNew = ctx.ctResult === CtResult.NEW
    if (isNew && !this.#create(ctx, revNatIndex)) return DropReason.CT_CREATE_FAILED
    conntrack.allowBy(policy, identity)
    return ALLOWED
  }

  #judge(ctx: PacketContext, policy: number, identity: number): number {
    const verdict = this.#ask(ctx, policy, identity)
    if (ctx.isMonitored || verdict !== ALLOWED) {
      this.#monitor.policyVerdict(ctx, this.#direction, verdict)
    }
    return verdict
  }

  #ask(ctx: PacketContext, policy: number, identity: number): number {
    const isIcmp = ctx.icmpType !== NO_ICMP_TYPE
    // Without it a sender never learns the path's MTU; Cilium lets it pass by default too.
    if (isIcmp && isFragmentationNeeded(ctx)) return ALLOWED
    const port = isIcmp ? ctx.icmpType : ctx.destinationPort
    const policies = this.#policies
    const verdict = policies.lookup(policy, this.#direction, identity, ctx.protocol, port, true)
    ctx.policyMatch = policies.match
    ctx.ruleCookie = policies.cookie
    return verdict
  }

  #create(ctx: PacketContext, revNatIndex: number): boolean {
    return this.#conntrack.create(
      ctx.words,
      ctx.tupleStart,
      ctx.hash,
      this.#ctDirection,
      ctx.sourceIdentity,
      ctx.packet.length,
      ctx.nowSeconds,
      revNatIndex,
      ctx.isLoopback ? CtState.LOOPBACK : 0,
    )
  }
}

function isFragmentationNeeded(ctx: PacketContext): boolean {
  return (
    ctx.icmpType === icmpv4.Type.DESTINATION_UNREACHABLE &&
    icmpv4.code(ctx.packet, ctx.l4Offset) === icmpv4.Unreachable.FRAGMENTATION_NEEDED
  )
}
