/**
 * tail_nodeport_nat_fwd_ipv4 (bpf/lib/nodeport.h): a pod's packet on its way out. If it answers a
 * client that came through a service of this node, it comes from the service again.
 */
import { isReturn } from '../../conntrack/ct-entry.js'
import type { NodeSettings } from '../../endpoint/node-settings.js'
import { NO_ENDPOINT } from '../../identity/ipcache.js'
import type { DropReason } from '../../packet/drop-reason.js'
import type { Verdict } from '../../packet/verdict.js'
import { type PacketContext, tailCall } from '../context.js'
import { Forwarding } from '../forwarding.js'
import { NodePortReply, ReplyResult } from '../nodeport-reply.js'
import type { DatapathState, Stage } from '../stage.js'
import { TailCall } from '../tail-call.js'

export class NodePortNatFwd implements Stage {
  readonly #node: NodeSettings
  readonly #forwarding: Forwarding
  readonly #reply: NodePortReply

  constructor(state: DatapathState) {
    this.#node = state.node
    this.#forwarding = new Forwarding(state)
    this.#reply = new NodePortReply(state)
  }

  process(ctx: PacketContext): Verdict {
    let replied: number = ReplyResult.NONE
    if (isReturn(ctx.ctResult)) {
      replied = this.#reply.apply(ctx)
      if (replied < 0) return replied as DropReason
    }
    const destination = ctx.destinationEndpoint
    if (destination !== NO_ENDPOINT && destination === this.#node.hostPort) {
      // What a service answers to the node was asked for by the node.
      if (replied === ReplyResult.TRANSLATED) return this.#forwarding.toStack(ctx)
      return tailCall(ctx, TailCall.IPV4_TO_HOST)
    }
    if (ctx.isToTunnel) return tailCall(ctx, TailCall.TO_OVERLAY)
    return tailCall(ctx, TailCall.NODEPORT_SNAT_FWD)
  }
}
