/**
 * tail_handle_ipv4_from_host (bpf_host.c): a packet of the node's network stack. It may go to a
 * service, to a pod of this node, or through the tunnel to one of another, if the node's own policy
 * lets it; to nobody else, for the stack has its own ways out and would only get it back.
 */

import type { EndpointTable } from '../../endpoint/endpoint-table.js'
import type { NodeSettings } from '../../endpoint/node-settings.js'
import { Identity } from '../../identity/identity.js'
import { type Ipcache, NO_ENDPOINT } from '../../identity/ipcache.js'
import { Scope } from '../../lb/service-layout.js'
import type { ServiceSettings } from '../../lb/service-settings.js'
import { DropReason } from '../../packet/drop-reason.js'
import type { Verdict } from '../../packet/verdict.js'
import { ALLOWED } from '../../policy/policy-map.js'
import { completePartialChecksum4 } from '../../wire/partial-checksum.js'
import { type PacketContext, tailCall } from '../context.js'
import { FragmentTracking } from '../fragment-tracking.js'
import { HostFirewall } from '../host-firewall.js'
import { deliverLocally } from '../local-delivery.js'
import { NOT_FOR_SERVICE, NodePortLb } from '../nodeport-lb.js'
import type { DatapathState, Stage } from '../stage.js'
import { TailCall } from '../tail-call.js'
import { deny } from './policy-denied.js'

export class Ipv4FromHost implements Stage {
  readonly #endpoints: EndpointTable
  readonly #ipcache: Ipcache
  readonly #fragments: FragmentTracking
  readonly #node: NodeSettings
  readonly #services: NodePortLb
  readonly #serviceSettings: ServiceSettings
  readonly #firewall: HostFirewall

  constructor(state: DatapathState) {
    this.#endpoints = state.endpoints
    this.#ipcache = state.ipcache
    this.#fragments = new FragmentTracking(state)
    this.#node = state.node
    this.#services = new NodePortLb(state)
    this.#serviceSettings = state.serviceSettings
    this.#firewall = new HostFirewall(state)
  }

  process(ctx: PacketContext): Verdict {
    if (ctx.l3Verdict !== 0) return DropReason.INVALID
    if (ctx.isFragment) {
      const failed = this.#fragments.resolve(ctx)
      if (failed !== 0) return failed as DropReason
    } else if (ctx.l4Verdict === 0) {
      completePartialChecksum4(ctx.packet, ctx.l3Offset, ctx.l4Offset, ctx.words, ctx.tupleStart)
    }
    ctx.sourceIdentity = this.#ipcache.find(ctx.words, ctx.sourceStart)
    // What the stack answers to a client of one of its services, whose request had our stand-in.
    if (ctx.words[ctx.destinationStart + 3] === this.#serviceSettings.loopbackAddress) {
      return tailCall(ctx, TailCall.NODEPORT_NAT_INGRESS)
    }
    const scope = ctx.sourceIdentity === Identity.HOST ? Scope.INTERNAL : Scope.EXTERNAL
    const verdict = this.#services.process(ctx, scope)
    if (verdict !== NOT_FOR_SERVICE) return verdict
    ctx.destinationIdentity = this.#ipcache.find(ctx.words, ctx.destinationStart)
    const destination = this.#ipcache.endpoint
    const isToTunnel = this.#node.tunnelPort !== 0 && this.#ipcache.needsTunnel
    const isLocal = destination !== NO_ENDPOINT && destination !== ctx.ingressPort
    if (!isToTunnel && !isLocal) return DropReason.UNROUTABLE
    const admitted = this.#firewall.admitEgress(ctx, ctx.destinationIdentity)
    if (admitted !== ALLOWED) return deny(ctx, this.#node, admitted)
    if (isToTunnel) {
      ctx.isToTunnel = true
      ctx.tunnelEndpoint4 = this.#ipcache.tunnelEndpoint4
      return tailCall(ctx, TailCall.TO_OVERLAY)
    }
    return deliverLocally(ctx, this.#endpoints, destination)
  }
}
