/**
 * cil_from_container (bpf_lxc.c): a pod sent a frame. If it is within the pod's bandwidth it goes, by
 * its type, to the ARP responder or to the IPv4 stages.
 */

import { Endpoint, type EndpointTable } from '../../endpoint/endpoint-table.js'
import { DropReason } from '../../packet/drop-reason.js'
import { Direction, type Verdict } from '../../packet/verdict.js'
import { EtherType } from '../../wire/protocols.js'
import { Bandwidth } from '../bandwidth.js'
import { type PacketContext, tailCall } from '../context.js'
import type { DatapathState, Stage } from '../stage.js'
import { TailCall } from '../tail-call.js'

export class FromContainer implements Stage {
  readonly #endpoints: EndpointTable
  readonly #bandwidth: Bandwidth

  constructor(state: DatapathState) {
    this.#endpoints = state.endpoints
    this.#bandwidth = new Bandwidth(state.endpoints, Endpoint.EGRESS_RATE, state.rateLimits.egress)
  }

  process(ctx: PacketContext): Verdict {
    const row = this.#endpoints.rowStart(ctx.ingressPort)
    ctx.direction = Direction.EGRESS
    ctx.endpointId = this.#endpoints.words[row + Endpoint.ID] as number
    ctx.sourceIdentity = this.#endpoints.words[row + Endpoint.IDENTITY] as number
    if (!this.#bandwidth.admits(ctx, ctx.ingressPort)) return DropReason.EDT_HORIZON
    if (ctx.l3Verdict === DropReason.UNSUPPORTED_L2) return DropReason.UNSUPPORTED_L2
    if (ctx.etherType === EtherType.IPV4) return tailCall(ctx, TailCall.IPV4_FROM_LXC)
    if (ctx.etherType === EtherType.ARP) return tailCall(ctx, TailCall.ARP)
    return DropReason.UNSUPPORTED_L3
  }
}
