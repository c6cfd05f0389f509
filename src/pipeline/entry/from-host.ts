/**
 * cil_from_host (bpf_host.c): the node's own network stack sent a frame through the host pair,
 * either for a process of the node or forwarded from outside. Who it is from is told by its
 * address: the node's own are HOST, others are looked up.
 */

import { Endpoint, type EndpointTable } from '../../endpoint/endpoint-table.js'
import { DropReason } from '../../packet/drop-reason.js'
import { Direction, type Verdict } from '../../packet/verdict.js'
import { EtherType } from '../../wire/protocols.js'
import { type PacketContext, tailCall } from '../context.js'
import type { DatapathState, Stage } from '../stage.js'
import { TailCall } from '../tail-call.js'

export class FromHost implements Stage {
  readonly #endpoints: EndpointTable

  constructor(state: DatapathState) {
    this.#endpoints = state.endpoints
  }

  process(ctx: PacketContext): Verdict {
    const row = this.#endpoints.rowStart(ctx.ingressPort)
    ctx.direction = Direction.INGRESS
    ctx.endpointId = this.#endpoints.words[row + Endpoint.ID] as number
    if (ctx.l3Verdict === DropReason.UNSUPPORTED_L2) return DropReason.UNSUPPORTED_L2
    if (ctx.etherType === EtherType.IPV4) return tailCall(ctx, TailCall.IPV4_FROM_HOST)
    if (ctx.etherType === EtherType.ARP) return tailCall(ctx, TailCall.ARP)
    return DropReason.UNSUPPORTED_L3
  }
}
