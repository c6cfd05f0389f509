/**
 * tail_ipv4_to_endpoint (bpf_lxc.c, the policy program of the destination): may the packet enter the pod? If so, it leaves by the
 * pod's port.
 */

import type { Conntrack } from '../../conntrack/conntrack.js'
import { CtResult } from '../../conntrack/ct-entry.js'
import { Endpoint, type EndpointTable, PortKind } from '../../endpoint/endpoint-table.js'
import type { Monitor } from '../../monitor/monitor.js'
import { DropReason } from '../../packet/drop-reason.js'
import { Direction, Verdict } from '../../packet/verdict.js'
import { ALLOWED, type PolicyMap } from '../../policy/policy-map.js'
import type { PacketContext } from '../context.js'
import { checkPolicy, createConnection, needsPolicy } from '../policy-check.js'
import type { DatapathState, Stage } from '../stage.js'

export class Ipv4ToEndpoint implements Stage {
  readonly #endpoints: EndpointTable
  readonly #policy: PolicyMap
  readonly #conntrack: Conntrack
  readonly #monitor: Monitor

  constructor(state: DatapathState) {
    this.#endpoints = state.endpoints
    this.#policy = state.policy
    this.#conntrack = state.conntrack
    this.#monitor = state.monitor
  }

  process(ctx: PacketContext): Verdict {
    const endpoint = ctx.destinationEndpoint
    const row = this.#endpoints.rowStart(endpoint)
    const rows = this.#endpoints.words
    ctx.direction = Direction.INGRESS
    ctx.endpointId = rows[row + Endpoint.ID] as number
    ctx.destinationIdentity = rows[row + Endpoint.IDENTITY] as number
    if (rows[row + Endpoint.KIND] !== PortKind.POD) return DropReason.ENDPOINT_NOT_READY
    if (needsPolicy(ctx.ctResult)) {
      const verdict = this.#checkIngress(ctx, rows[row + Endpoint.POLICY] as number)
      if (verdict !== ALLOWED) return verdict as DropReason
    }
    ctx.egressPort = endpoint
    return Verdict.REDIRECT
  }

  #checkIngress(ctx: PacketContext, policy: number): number {
    const identity = ctx.sourceIdentity
    const verdict = checkPolicy(ctx, this.#policy, policy, Direction.INGRESS, identity)
    if (ctx.isMonitored || verdict !== ALLOWED) {
      this.#monitor.policyVerdict(ctx, Direction.INGRESS, verdict)
    }
    if (verdict !== ALLOWED || ctx.ctResult !== CtResult.NEW) return verdict
    return createConnection(ctx, this.#conntrack, Direction.INGRESS)
  }
}
