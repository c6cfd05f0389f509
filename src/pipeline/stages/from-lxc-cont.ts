/**
 * tail_handle_ipv4_cont (bpf_lxc.c): the pod's side of the decision. Who is the destination, may the pod speak to it, and which way
 * does it lie: a pod of this node, or the node's own network stack, which routes everything else.
 */

import type { Conntrack } from '../../conntrack/conntrack.js'
import { CtResult } from '../../conntrack/ct-entry.js'
import { Endpoint, type EndpointTable, NO_ENDPOINT } from '../../endpoint/endpoint-table.js'
import type { NodeSettings } from '../../endpoint/node-settings.js'
import type { Ipcache } from '../../identity/ipcache.js'
import type { Monitor } from '../../monitor/monitor.js'
import { NO_PORT } from '../../packet/burst.js'
import { DropReason } from '../../packet/drop-reason.js'
import { Direction, Verdict } from '../../packet/verdict.js'
import { ALLOWED, type PolicyMap } from '../../policy/policy-map.js'
import type { PacketContext } from '../context.js'
import { deliverLocally, rewriteMacs } from '../local-delivery.js'
import { checkPolicy, createConnection, needsPolicy } from '../policy-check.js'
import type { DatapathState, Stage } from '../stage.js'

export class Ipv4FromLxcCont implements Stage {
  readonly #endpoints: EndpointTable
  readonly #ipcache: Ipcache
  readonly #policy: PolicyMap
  readonly #conntrack: Conntrack
  readonly #monitor: Monitor
  readonly #node: NodeSettings

  constructor(state: DatapathState) {
    this.#endpoints = state.endpoints
    this.#ipcache = state.ipcache
    this.#policy = state.policy
    this.#conntrack = state.conntrack
    this.#monitor = state.monitor
    this.#node = state.node
  }

  process(ctx: PacketContext): Verdict {
    ctx.destinationIdentity = this.#ipcache.identityOf(ctx.words, ctx.destinationStart)
    if (needsPolicy(ctx.ctResult)) {
      const verdict = this.#checkEgress(ctx)
      if (verdict !== ALLOWED) return verdict as DropReason
    }
    const destination = this.#endpoints.find(ctx.words, ctx.destinationStart)
    if (destination !== NO_ENDPOINT && !this.#endpoints.isHost) {
      return deliverLocally(ctx, this.#endpoints, destination)
    }
    return this.#toStack(ctx)
  }

  #checkEgress(ctx: PacketContext): number {
    const row = this.#endpoints.rowStart(ctx.ingressPort)
    const policy = this.#endpoints.words[row + Endpoint.POLICY] as number
    const identity = ctx.destinationIdentity
    const verdict = checkPolicy(ctx, this.#policy, policy, Direction.EGRESS, identity)
    if (ctx.isMonitored || verdict !== ALLOWED) {
      this.#monitor.policyVerdict(ctx, Direction.EGRESS, verdict)
    }
    if (verdict !== ALLOWED || ctx.ctResult !== CtResult.NEW) return verdict
    return createConnection(ctx, this.#conntrack, Direction.EGRESS)
  }

  /** Left as it is but for the MAC addresses: the node's stack is a router of its own and counts the TTL down itself. */
  #toStack(ctx: PacketContext): Verdict {
    if (this.#node.hostPort === NO_PORT) return DropReason.UNROUTABLE
    rewriteMacs(ctx, this.#endpoints, this.#node.hostPort)
    ctx.egressPort = this.#node.hostPort
    return Verdict.REDIRECT
  }
}
