/**
 * tail_handle_ipv4_from_netdev (bpf_host.c): who sent it, and is it for a service? Otherwise it may
 * be for an address of our NAT, or for a pod.
 */
import type { Ipcache } from '../../identity/ipcache.js'
import { Scope } from '../../lb/service-layout.js'
import { DropReason } from '../../packet/drop-reason.js'
import type { Verdict } from '../../packet/verdict.js'
import { completePartialChecksum4 } from '../../wire/partial-checksum.js'
import { type PacketContext, tailCall } from '../context.js'
import { FragmentTracking } from '../fragment-tracking.js'
import { NOT_FOR_SERVICE, NodePortLb } from '../nodeport-lb.js'
import type { DatapathState, Stage } from '../stage.js'
import { TailCall } from '../tail-call.js'
import { TunnelIngress } from '../tunnel-ingress.js'

export class Ipv4FromNetdev implements Stage {
  readonly #ipcache: Ipcache
  readonly #fragments: FragmentTracking
  readonly #tunnel: TunnelIngress
  readonly #services: NodePortLb

  constructor(state: DatapathState) {
    this.#ipcache = state.ipcache
    this.#fragments = new FragmentTracking(state)
    this.#tunnel = new TunnelIngress(state)
    this.#services = new NodePortLb(state)
  }

  process(ctx: PacketContext): Verdict {
    if (ctx.l3Verdict !== 0) return DropReason.INVALID
    if (this.#tunnel.isTunnelled(ctx)) return this.#tunnel.open(ctx)
    if (ctx.isFragment) {
      const failed = this.#fragments.resolve(ctx)
      if (failed !== 0) return failed as DropReason
    } else if (ctx.l4Verdict === 0) {
      // An uplink may be a veth, whose other end leaves checksums to "the hardware".
      completePartialChecksum4(ctx.packet, ctx.l3Offset, ctx.l4Offset, ctx.words, ctx.tupleStart)
    }
    ctx.sourceIdentity = this.#ipcache.find(ctx.words, ctx.sourceStart)
    const verdict = this.#services.process(ctx, Scope.EXTERNAL)
    if (verdict !== NOT_FOR_SERVICE) return verdict
    return tailCall(ctx, TailCall.NODEPORT_NAT_INGRESS)
  }
}
