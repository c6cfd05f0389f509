/**
 * The policy step that both sides of a connection share (Cilium: policy_can_egress4 and
 * policy_can_ingress4 of bpf/lib/policy.h): may the packet pass, and
 * if it is the first of its connection, is the connection remembered? Replies and related errors
 * belong to a flow that was allowed; everything else is held against the policy in force, so that a
 * changed policy ends running connections too.
 *
 * The connection's entry keeps which policy allowed it, with which identity at the other end. While
 * neither has changed the answer cannot be another one, and the policy map is not asked.
 *
 * In audit mode, of the endpoint or of the node, what the policy would drop passes, is counted, and
 * its verdict event says so. Nothing is remembered of it, so that each packet is judged and counted.
 */

import type { Conntrack } from '../conntrack/conntrack.js'
import { CtDirection, CtResult, CtState, isReturn } from '../conntrack/ct-entry.js'
import { Endpoint, EndpointFlag, type EndpointTable } from '../endpoint/endpoint-table.js'
import type { NodeSettings } from '../endpoint/node-settings.js'
import { NotedReason } from '../monitor/metrics.js'
import type { Monitor } from '../monitor/monitor.js'
import { DropReason } from '../packet/drop-reason.js'
import { Direction } from '../packet/verdict.js'
import { ALLOWED, NO_POLICY, type PolicyMap } from '../policy/policy-map.js'
import * as icmpv4 from '../wire/icmpv4.js'
import type { PacketContext } from './context.js'
import { NO_ICMP_TYPE } from './parse.js'
import type { DatapathState } from './stage.js'

/**
 * Times that a lookup is made again because the policy was swapped meanwhile; more within one
 * packet's time is not a control plane at work.
 */
const SWAPS_MAX = 8

export class PolicyCheck {
  readonly #endpoints: EndpointTable
  readonly #node: NodeSettings
  readonly #policies: PolicyMap
  readonly #conntrack: Conntrack
  readonly #monitor: Monitor
  readonly #direction: Direction
  readonly #ctDirection: CtDirection
  /** That gave the last answer. */
  #policy = NO_POLICY

  constructor(state: DatapathState, direction: Direction) {
    this.#endpoints = state.endpoints
    this.#node = state.node
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
   * @param row index of the endpoint's row, whose policy it is, in the endpoint table's words
   * @param identity of the remote side
   */
  admit(ctx: PacketContext, row: number, identity: number): number {
    if (isReturn(ctx.ctResult)) return ALLOWED
    // Only the client's side turns a service's replies back, and so has to know the service.
    const revNatIndex = this.#ctDirection === CtDirection.EGRESS ? ctx.revNatIndex : 0
    const conntrack = this.#conntrack
    this.#policy = this.#endpoints.words[row + Endpoint.POLICY] as number
    if (ctx.ctResult === CtResult.ESTABLISHED) {
      const isKnown = !ctx.isMonitored && conntrack.isAllowedBy(this.#policy, identity, revNatIndex)
      if (isKnown) return ALLOWED
      // The flow with these addresses and ports was another one's: of another service with the same
      // backend, or of none. Its entry is made anew, for replies are turned back by it.
      if (conntrack.revNatIndex !== revNatIndex) ctx.ctResult = CtResult.NEW
    }
    ctx.isAudited = false
    const verdict = ctx.isLoopback ? ALLOWED : this.judge(ctx, row, identity)
    if (verdict !== ALLOWED) return verdict
    const isNew = ctx.ctResult === CtResult.NEW
    if (isNew && !this.#create(ctx, revNatIndex)) return DropReason.CT_CREATE_FAILED
    conntrack.allowBy(ctx.isAudited ? NO_POLICY : this.#policy, identity)
    return ALLOWED
  }

  /** What the policy says of this packet alone; nothing is remembered. */
  judge(ctx: PacketContext, row: number, identity: number): number {
    const verdict = this.#ask(ctx, row, identity)
    const isAudited = verdict !== ALLOWED && this.#isAudit(row)
    ctx.isAudited = isAudited
    if (isAudited) {
      this.#monitor.note(ctx, NotedReason.POLICY_AUDITED)
      // Each such packet is to be noted.
      ctx.isRepeatable = false
    }
    if (ctx.isMonitored || (verdict !== ALLOWED && !isAudited)) {
      this.#monitor.policyVerdict(ctx, this.#direction, verdict)
    }
    return isAudited ? ALLOWED : verdict
  }

  #isAudit(row: number): boolean {
    const flags = this.#endpoints.words[row + Endpoint.FLAGS] as number
    return (flags & EndpointFlag.POLICY_AUDIT) !== 0 || this.#node.isPolicyAudit
  }

  /**
   * The answer of one policy, whole: entries of a policy are deleted only after the row names
   * another one, so an answer counts if the row still names the policy that gave it.
   */
  #ask(ctx: PacketContext, row: number, identity: number): number {
    const rows = this.#endpoints.words
    for (let swaps = 0; swaps < SWAPS_MAX; swaps++) {
      this.#policy = rows[row + Endpoint.POLICY] as number
      const verdict = this.#askPolicy(ctx, this.#policy, identity)
      if (rows[row + Endpoint.POLICY] === this.#policy) return verdict
    }
    return DropReason.ENDPOINT_NOT_READY
  }

  #askPolicy(ctx: PacketContext, policy: number, identity: number): number {
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
