/**
 * cil_from_netdev (bpf_host.c): a frame from the outside, of those that the uplink's XDP program
 * steers here (bpf/xdp_redirect.c); everything else on that device the kernel gets.
 */
import { Endpoint, type EndpointTable } from '../../endpoint/endpoint-table.js'
import { DropReason } from '../../packet/drop-reason.js'
import { Direction, type Verdict } from '../../packet/verdict.js'
import { EtherType } from '../../wire/protocols.js'
import { type PacketContext, tailCall } from '../context.js'
import type { DatapathState, Stage } from '../stage.js'
import { TailCall } from '../tail-call.js'

export class FromNetdev implements Stage {
  readonly #endpoints: EndpointTable

  constructor(state: DatapathState) {
    this.#endpoints = state.endpoints
  }

  process(ctx: PacketContext): Verdict {
    const row = this.#endpoints.rowStart(ctx.ingressPort)
    ctx.direction = Direction.INGRESS
    ctx.endpointId = this.#endpoints.words[row + Endpoint.ID] as number
    if (ctx.l3Verdict === DropReason.UNSUPPORTED_L2) return DropReason.UNSUPPORTED_L2
    if (ctx.etherType === EtherType.IPV4) return tailCall(ctx, TailCall.IPV4_FROM_NETDEV)
    return DropReason.UNSUPPORTED_L3
  }
}
