/**
 * tail_handle_snat_fwd_ipv4 (bpf/lib/nodeport.h): what leaves the node from an address that the
 * outside does not know gets one that it does (masquerading). What the node's own stack is to route
 * stays as it is.
 */
import { CtResult } from '../../conntrack/ct-entry.js'
import { type EndpointTable, PortKind } from '../../endpoint/endpoint-table.js'
import { NO_ENDPOINT } from '../../identity/ipcache.js'
import type { Masquerade } from '../../nat/masquerade.js'
import type { DropReason } from '../../packet/drop-reason.js'
import type { Verdict } from '../../packet/verdict.js'
import { FibResult } from '../../routing/fib.js'
import { type PacketContext, tailCall } from '../context.js'
import { Forwarding, NO_REFUSAL } from '../forwarding.js'
import { SourceTranslation, Translation } from '../source-translation.js'
import type { DatapathState, Stage } from '../stage.js'

export class NodePortSnatFwd implements Stage {
  readonly #endpoints: EndpointTable
  readonly #masquerade: Masquerade
  readonly #translation: SourceTranslation
  readonly #forwarding: Forwarding

  constructor(state: DatapathState) {
    this.#endpoints = state.endpoints
    this.#masquerade = state.masquerade
    this.#translation = new SourceTranslation(state)
    this.#forwarding = new Forwarding(state)
  }

  process(ctx: PacketContext): Verdict {
    const way = this.#forwarding.route(ctx)
    const refusal = this.#forwarding.refusal(ctx, way)
    if (refusal !== NO_REFUSAL) return tailCall(ctx, refusal)
    if (way === FibResult.FOUND || way === FibResult.NO_NEIGHBOUR) {
      const failed = this.#hideSource(ctx)
      if (failed !== 0) return failed as DropReason
    }
    return this.#forwarding.leave(ctx, way)
  }

  /** 0, or the reason for a drop. */
  #hideSource(ctx: PacketContext): number {
    const kind = this.#endpoints.kind(ctx.ingressPort)
    const pod = kind === PortKind.POD ? ctx.ingressPort : NO_ENDPOINT
    const isReply = ctx.ctResult === CtResult.REPLY
    const masquerade = this.#masquerade
    const address4 = this.#forwarding.uplinkAddress4
    if (!masquerade.applies(ctx.words, ctx.tupleStart, pod, isReply, address4)) return 0
    // Nobody else keeps a connection of what another node sent for us to let out.
    const needsCt = masquerade.isOfHost || ctx.isFromTunnel
    const result = this.#translation.forward(ctx, masquerade.address4, needsCt)
    return result < Translation.NOT_NEEDED ? result : 0
  }
}
