/**
 * tail_handle_ipv4 (bpf_overlay.c): a packet that another node sent through the tunnel, its outer
 * headers gone. Who sent it says the tunnel: the other node has checked. From here it goes on like
 * one from the network: to a service, an address of our NAT, a pod, or the node itself; or out of the
 * node again, when an egress policy makes this node its pod's gateway.
 */
import { Identity } from '../../identity/identity.js'
import type { Ipcache } from '../../identity/ipcache.js'
import { Scope } from '../../lb/service-layout.js'
import { type EgressGateway, EgressWay } from '../../nat/egress-gateway.js'
import { DropReason } from '../../packet/drop-reason.js'
import type { Verdict } from '../../packet/verdict.js'
import { completePartialChecksum4 } from '../../wire/partial-checksum.js'
import { EtherType } from '../../wire/protocols.js'
import { type PacketContext, tailCall } from '../context.js'
import { FragmentTracking } from '../fragment-tracking.js'
import { NOT_FOR_SERVICE, NodePortLb } from '../nodeport-lb.js'
import type { DatapathState, Stage } from '../stage.js'
import { TailCall } from '../tail-call.js'

export class Ipv4FromOverlay implements Stage {
  readonly #ipcache: Ipcache
  readonly #fragments: FragmentTracking
  readonly #services: NodePortLb
  readonly #egressGateway: EgressGateway

  constructor(state: DatapathState) {
    this.#ipcache = state.ipcache
    this.#fragments = new FragmentTracking(state)
    this.#services = new NodePortLb(state)
    this.#egressGateway = state.egressGateway
  }

  process(ctx: PacketContext): Verdict {
    if (ctx.l3Verdict === DropReason.UNSUPPORTED_L2) return DropReason.UNSUPPORTED_L2
    if (ctx.etherType !== EtherType.IPV4) return DropReason.UNSUPPORTED_L3
    if (ctx.l3Verdict !== 0) return DropReason.INVALID
    // Whoever encapsulates for his node calls it a remote node, which it is to us.
    if (ctx.sourceIdentity === Identity.HOST) return DropReason.INVALID_IDENTITY
    if (ctx.isFragment) {
      const failed = this.#fragments.resolve(ctx)
      if (failed !== 0) return failed as DropReason
    } else if (ctx.l4Verdict === 0) {
      // The other node's kernel leaves the inner checksum to "the hardware" as well.
      completePartialChecksum4(ctx.packet, ctx.l3Offset, ctx.l4Offset, ctx.words, ctx.tupleStart)
    }
    const known = this.#ipcache.find(ctx.words, ctx.sourceStart)
    if (isRemoteNode(ctx.sourceIdentity) && known !== Identity.WORLD) ctx.sourceIdentity = known
    const verdict = this.#services.process(ctx, Scope.EXTERNAL)
    if (verdict !== NOT_FOR_SERVICE) return verdict
    const way = this.#egressGateway.find(ctx.words, ctx.tupleStart)
    if (way === EgressWay.HERE) return tailCall(ctx, TailCall.NODEPORT_SNAT_FWD)
    if (way === EgressWay.NO_ADDRESS) return DropReason.NO_EGRESS_IP
    return tailCall(ctx, TailCall.NODEPORT_NAT_INGRESS)
  }
}

const isRemoteNode = (identity: number): boolean =>
  identity === Identity.REMOTE_NODE || identity === Identity.KUBE_APISERVER
