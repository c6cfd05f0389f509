/**
 * cil_from_netdev (bpf_host.c): a frame from the outside, of those that the uplink's XDP program
 * steers here (bpf/xdp_redirect.c); everything else on that device the kernel gets. What may not
 * enter goes first: denied sources (Cilium's prefilter, bpf_xdp.c), and VLANs that are not allowed.
 */
import { Endpoint, type EndpointTable } from '../../endpoint/endpoint-table.js'
import type { NodeSettings } from '../../endpoint/node-settings.js'
import type { LpmMap } from '../../maps/lpm-map.js'
import { NOT_FOUND } from '../../maps/map.js'
import type { VlanFilter } from '../../netdev/vlan-filter.js'
import { NO_PORT } from '../../packet/burst.js'
import { DropReason } from '../../packet/drop-reason.js'
import { Direction, Verdict } from '../../packet/verdict.js'
import { ETHERNET_HEADER_BYTES } from '../../wire/ethernet.js'
import { EtherType } from '../../wire/protocols.js'
import * as vlan from '../../wire/vlan.js'
import { type PacketContext, tailCall } from '../context.js'
import { L2Responder } from '../l2-responder.js'
import { reparse } from '../parse.js'
import type { DatapathState, Stage } from '../stage.js'
import { TailCall } from '../tail-call.js'

/** Where a tag begins: after the two MAC addresses. */
const TAG = ETHERNET_HEADER_BYTES - 2
/** 802.1Q: the tag tells of a priority, and of no VLAN. */
const NO_VLAN = 0

export class FromNetdev implements Stage {
  readonly #endpoints: EndpointTable
  readonly #node: NodeSettings
  readonly #denied: LpmMap
  readonly #vlans: VlanFilter
  readonly #responder: L2Responder
  readonly #seed: number

  constructor(state: DatapathState) {
    this.#endpoints = state.endpoints
    this.#node = state.node
    this.#denied = state.deniedSources
    this.#vlans = state.vlans
    this.#responder = new L2Responder(state)
    this.#seed = state.conntrack.seed
  }

  process(ctx: PacketContext): Verdict {
    const row = this.#endpoints.rowStart(ctx.ingressPort)
    ctx.direction = Direction.INGRESS
    ctx.endpointId = this.#endpoints.words[row + Endpoint.ID] as number
    for (let tags = 0; tags < vlan.VLAN_TAGS_MAX && vlan.isTagType(ctx.etherType); tags++) {
      if (!vlan.isValid(ctx.packet, TAG)) return DropReason.UNSUPPORTED_L2
      const id = vlan.id(ctx.packet, TAG)
      if (id !== NO_VLAN) return this.#filterVlan(ctx, id)
      vlan.pop(ctx.packet)
      reparse(ctx, this.#seed)
    }
    return this.#enter(ctx)
  }

  #enter(ctx: PacketContext): Verdict {
    if (ctx.l3Verdict === DropReason.UNSUPPORTED_L2) return DropReason.UNSUPPORTED_L2
    if (ctx.etherType === EtherType.IPV4) {
      if (this.#isDenied(ctx)) return DropReason.POLICY_DENY
      return tailCall(ctx, TailCall.IPV4_FROM_NETDEV)
    }
    if (ctx.etherType === EtherType.ARP) return this.#responder.answer(ctx)
    return DropReason.UNSUPPORTED_L3
  }

  /** Of a packet without a valid header the source is 0.0.0.0 and never denied: it goes no further. */
  #isDenied(ctx: PacketContext): boolean {
    if (ctx.l3Verdict !== 0) return false
    return this.#denied.lookup(ctx.words, ctx.sourceStart) !== NOT_FOUND
  }

  /** An allowed one is the business of the node's stack, which gets it with its tag. */
  #filterVlan(ctx: PacketContext, id: number): Verdict {
    if (!this.#vlans.allows(id)) return DropReason.VLAN_FILTERED
    const host = this.#node.hostPort
    if (host === NO_PORT) return DropReason.UNROUTABLE
    ctx.egressPort = host
    return Verdict.REDIRECT
  }
}
