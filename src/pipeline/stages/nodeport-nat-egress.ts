/**
 * tail_nodeport_nat_egress_ipv4 (bpf/lib/nodeport.h): a request to a backend elsewhere leaves from
 * the node's own address, so that the reply comes back to this node: the uplink's on the network,
 * that of the node's host pair in the tunnel, by which the other node sends the reply. The node's own
 * stack would answer a client without us: a request to it comes from the address that stands for pods
 * that reach themselves (Cilium: --ipv4-service-loopback-address), which the stack has to route to its host pair.
 */
import { Endpoint, type EndpointTable, PortKind } from '../../endpoint/endpoint-table.js'
import type { NodeSettings } from '../../endpoint/node-settings.js'
import { Identity } from '../../identity/identity.js'
import { type Ipcache, NO_ENDPOINT } from '../../identity/ipcache.js'
import type { ServiceSettings } from '../../lb/service-settings.js'
import { NO_PORT } from '../../packet/burst.js'
import { DropReason } from '../../packet/drop-reason.js'
import type { Verdict } from '../../packet/verdict.js'
import { ALLOWED } from '../../policy/policy-map.js'
import { FibResult } from '../../routing/fib.js'
import * as ipv4 from '../../wire/ipv4.js'
import { type PacketContext, tailCall } from '../context.js'
import { Forwarding, NO_REFUSAL } from '../forwarding.js'
import { HostFirewall } from '../host-firewall.js'
import { SourceTranslation, Translation } from '../source-translation.js'
import type { DatapathState, Stage } from '../stage.js'
import { TailCall } from '../tail-call.js'
import { deny } from './policy-denied.js'

export class NodePortNatEgress implements Stage {
  readonly #endpoints: EndpointTable
  readonly #ipcache: Ipcache
  readonly #node: NodeSettings
  readonly #services: ServiceSettings
  readonly #translation: SourceTranslation
  readonly #forwarding: Forwarding
  readonly #firewall: HostFirewall

  constructor(state: DatapathState) {
    this.#endpoints = state.endpoints
    this.#ipcache = state.ipcache
    this.#node = state.node
    this.#services = state.serviceSettings
    this.#translation = new SourceTranslation(state)
    this.#forwarding = new Forwarding(state)
    this.#firewall = new HostFirewall(state)
  }

  process(ctx: PacketContext): Verdict {
    this.#ipcache.find(ctx.words, ctx.destinationStart)
    if (this.#ipcache.endpoint !== NO_ENDPOINT) return this.#toStack(ctx)
    if (this.#node.tunnelPort !== 0 && this.#ipcache.needsTunnel) return this.#toTunnel(ctx)
    const way = this.#forwarding.route(ctx)
    if (way === FibResult.UNREACHABLE) return DropReason.NO_FIB
    // Before the packet is changed: its sender is told about the one that he sent.
    if (ipv4.ttl(ctx.packet, ctx.l3Offset) <= 1) return tailCall(ctx, TailCall.TIME_EXCEEDED)
    const refusal = this.#forwarding.refusal(ctx, way)
    if (refusal !== NO_REFUSAL) return tailCall(ctx, refusal)
    const result = this.#translate(ctx, this.#forwarding.uplinkAddress4 || this.#node.nodeAddress)
    if (result < Translation.NOT_NEEDED) return result as DropReason
    return this.#forwarding.leave(ctx, way)
  }

  #toStack(ctx: PacketContext): Verdict {
    const admitted = this.#firewall.admitFromClient(ctx)
    if (admitted !== ALLOWED) return deny(ctx, this.#node, admitted)
    const result = this.#translate(ctx, this.#services.loopbackAddress)
    if (result < Translation.NOT_NEEDED) return result as DropReason
    return this.#forwarding.toStack(ctx)
  }

  #toTunnel(ctx: PacketContext): Verdict {
    ctx.isToTunnel = true
    ctx.tunnelEndpoint4 = this.#ipcache.tunnelEndpoint4
    // Of the outside, the other node is to know no more than that it is the world.
    if (this.#endpoints.kind(ctx.ingressPort) === PortKind.UPLINK && !ctx.isFromTunnel) {
      ctx.sourceIdentity = Identity.WORLD
    }
    const result = this.#translate(ctx, this.#hostAddress4())
    if (result < Translation.NOT_NEEDED) return result as DropReason
    return tailCall(ctx, TailCall.TO_OVERLAY)
  }

  #hostAddress4(): number {
    const { hostPort, nodeAddress } = this.#node
    if (hostPort === NO_PORT) return nodeAddress
    const row = this.#endpoints.rowStart(hostPort)
    return this.#endpoints.words[row + Endpoint.ADDRESS + 3] as number
  }

  #translate(ctx: PacketContext, address4: number): number {
    return address4 === 0 ? DropReason.NO_FIB : this.#translation.forward(ctx, address4, false)
  }
}
