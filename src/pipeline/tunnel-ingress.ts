/**
 * cil_from_overlay (bpf_overlay.c), as the tunnel device runs it: a datagram to the node's tunnel
 * port is opened, and the packet inside takes its place in the chain.
 */
import type { EndpointTable } from '../endpoint/endpoint-table.js'
import type { NodeSettings } from '../endpoint/node-settings.js'
import { VxlanTunnel } from '../overlay/vxlan-tunnel.js'
import { DropReason } from '../packet/drop-reason.js'
import type { Verdict } from '../packet/verdict.js'
import { Protocol } from '../wire/protocols.js'
import { TupleWord } from '../wire/tuple.js'
import { type PacketContext, tailCall } from './context.js'
import { reparse } from './parse.js'
import type { DatapathState } from './stage.js'
import { TailCall } from './tail-call.js'

export class TunnelIngress {
  readonly #endpoints: EndpointTable
  readonly #node: NodeSettings
  readonly #seed: number
  readonly #tunnel = new VxlanTunnel()

  constructor(state: DatapathState) {
    this.#endpoints = state.endpoints
    this.#node = state.node
    this.#seed = state.conntrack.seed
  }

  /** A datagram to the tunnel port of this node; its UDP header has been found valid. */
  isTunnelled(ctx: PacketContext): boolean {
    if (ctx.protocol !== Protocol.UDP || ctx.l4Verdict !== 0) return false
    if (ctx.destinationPort !== this.#node.tunnelPort || this.#node.tunnelPort === 0) return false
    const destination4 = ctx.words[ctx.tupleStart + TupleWord.DESTINATION + 3]
    return (
      destination4 === this.#node.nodeAddress ||
      this.#endpoints.ownsAddress(ctx.ingressPort, ctx.words, ctx.destinationStart)
    )
  }

  /** Our tunnels never cut a datagram; one that somebody cut nobody puts together here. */
  open(ctx: PacketContext): Verdict {
    if (ctx.isFragment) return DropReason.FRAGMENT_UNSUPPORTED
    const vni = this.#tunnel.decapsulate(ctx.packet, ctx.l3Offset, ctx.l4Offset)
    if (vni < 0) return vni as DropReason
    reparse(ctx, this.#seed)
    ctx.sourceIdentity = vni
    ctx.isFromTunnel = true
    return tailCall(ctx, TailCall.IPV4_FROM_OVERLAY)
  }
}
