/**
 * tail_ipv4_to_endpoint (bpf_lxc.c, the policy program of the destination): may the packet enter
 * the pod? If so, it leaves by the pod's port; what a service answers has the service's address
 * again.
 */

import { isReturn } from '../../conntrack/ct-entry.js'
import { Endpoint, type EndpointTable, PortKind } from '../../endpoint/endpoint-table.js'
import type { NodeSettings } from '../../endpoint/node-settings.js'
import { DropReason } from '../../packet/drop-reason.js'
import { Direction, Verdict } from '../../packet/verdict.js'
import { ALLOWED } from '../../policy/policy-map.js'
import { Bandwidth } from '../bandwidth.js'
import type { PacketContext } from '../context.js'
import { PolicyCheck } from '../policy-check.js'
import { ReverseTranslation } from '../reverse-translation.js'
import type { DatapathState, Stage } from '../stage.js'
import { deny } from './policy-denied.js'

export class Ipv4ToEndpoint implements Stage {
  readonly #endpoints: EndpointTable
  readonly #bandwidth: Bandwidth
  readonly #node: NodeSettings
  readonly #policyCheck: PolicyCheck
  readonly #reverse: ReverseTranslation

  constructor(state: DatapathState) {
    this.#endpoints = state.endpoints
    this.#bandwidth = new Bandwidth(
      state.endpoints,
      Endpoint.INGRESS_RATE,
      state.rateLimits.ingress,
    )
    this.#node = state.node
    this.#policyCheck = new PolicyCheck(state, Direction.INGRESS)
    this.#reverse = new ReverseTranslation(state)
  }

  process(ctx: PacketContext): Verdict {
    const row = this.#endpoints.rowStart(ctx.destinationEndpoint)
    const rows = this.#endpoints.words
    ctx.direction = Direction.INGRESS
    ctx.endpointId = rows[row + Endpoint.ID] as number
    ctx.destinationIdentity = rows[row + Endpoint.IDENTITY] as number
    if (rows[row + Endpoint.KIND] !== PortKind.POD) return DropReason.ENDPOINT_NOT_READY
    const verdict = this.#policyCheck.admit(ctx, row, ctx.sourceIdentity)
    if (verdict !== ALLOWED) return deny(ctx, this.#node, verdict)
    if (!this.#bandwidth.admits(ctx, ctx.destinationEndpoint)) return DropReason.EDT_HORIZON
    if (isReturn(ctx.ctResult)) {
      const failed = this.#reverse.apply(ctx)
      if (failed !== 0) return failed as DropReason
    }
    ctx.egressPort = ctx.destinationEndpoint
    return Verdict.REDIRECT
  }
}
