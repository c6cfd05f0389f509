/**
 * tail_nodeport_rev_dnat_ipv4 (bpf/lib/nodeport.h): the reply of a service's backend elsewhere comes
 * from the service again, and goes on to the client. Anything else is for a pod of this node, or was
 * steered here for nothing and goes to the node's own network stack.
 */
import type { EndpointTable } from '../../endpoint/endpoint-table.js'
import type { NodeSettings } from '../../endpoint/node-settings.js'
import { type Ipcache, IpcacheFlag, NO_ENDPOINT } from '../../identity/ipcache.js'
import { DropReason } from '../../packet/drop-reason.js'
import type { Verdict } from '../../packet/verdict.js'
import * as ipv4 from '../../wire/ipv4.js'
import { type PacketContext, tailCall } from '../context.js'
import { Forwarding } from '../forwarding.js'
import { deliverLocally } from '../local-delivery.js'
import { NodePortReply, ReplyResult } from '../nodeport-reply.js'
import type { DatapathState, Stage } from '../stage.js'
import { TailCall } from '../tail-call.js'

export class NodePortRevNat implements Stage {
  readonly #endpoints: EndpointTable
  readonly #ipcache: Ipcache
  readonly #node: NodeSettings
  readonly #forwarding: Forwarding
  readonly #reply: NodePortReply

  constructor(state: DatapathState) {
    this.#endpoints = state.endpoints
    this.#ipcache = state.ipcache
    this.#node = state.node
    this.#forwarding = new Forwarding(state)
    this.#reply = new NodePortReply(state)
  }

  process(ctx: PacketContext): Verdict {
    const replied = this.#reply.apply(ctx)
    if (replied < 0) return replied as DropReason
    this.#ipcache.find(ctx.words, ctx.destinationStart)
    const destination = this.#ipcache.endpoint
    if (destination !== NO_ENDPOINT && destination !== this.#node.hostPort) {
      return deliverLocally(ctx, this.#endpoints, destination)
    }
    const isReply = replied === ReplyResult.TRANSLATED
    const isOnItsWay = isReply || this.#isOfRemotePod(ctx)
    if (destination === NO_ENDPOINT && isOnItsWay) return this.#onward(ctx)
    // What our NAT or a service turned back was asked for by the node.
    if (ctx.isNatAnswer || isReply) return this.#forwarding.toStack(ctx)
    // The node's own stack sent it to an address of ours that answers nothing: it would come again.
    if (ctx.ingressPort === this.#node.hostPort) return DropReason.UNROUTABLE
    if (ctx.isFromTunnel && !countHop(ctx)) return tailCall(ctx, TailCall.TIME_EXCEEDED)
    const isToNode = destination === this.#node.hostPort
    return isToNode ? tailCall(ctx, TailCall.IPV4_TO_HOST) : this.#forwarding.toStack(ctx)
  }

  /**
   * The answer to what a pod of another node sent through this one, its egress gateway; an ICMP error
   * about it as well, which has no original to be restored (`isTranslated`).
   */
  #isOfRemotePod(ctx: PacketContext): boolean {
    return ctx.isNatAnswer && (this.#ipcache.flags & IpcacheFlag.REMOTE) !== 0
  }

  /** To the client, where he lies by the ipcache's last answer. */
  #onward(ctx: PacketContext): Verdict {
    if (this.#node.tunnelPort === 0 || !this.#ipcache.needsTunnel) {
      return this.#forwarding.toNetwork(ctx)
    }
    ctx.isToTunnel = true
    ctx.tunnelEndpoint4 = this.#ipcache.tunnelEndpoint4
    return tailCall(ctx, TailCall.TO_OVERLAY)
  }
}

/** ipv4_host_delivery (bpf_overlay.c): the tunnel's end is a router in front of the node's stack. */
function countHop(ctx: PacketContext): boolean {
  if (ipv4.ttl(ctx.packet, ctx.l3Offset) <= 1) return false
  ipv4.decrementTtl(ctx.packet, ctx.l3Offset)
  return true
}
