/**
 * tail_nodeport_nat_ingress_ipv4 (bpf/lib/nodeport.h): a packet to an address and port that our NAT
 * gave out goes back to whom it was given. What has no mapping is not the NAT's: the node itself may
 * use the same port toward somebody else.
 */
import type { DropReason } from '../../packet/drop-reason.js'
import type { Verdict } from '../../packet/verdict.js'
import { type PacketContext, tailCall } from '../context.js'
import { SourceTranslation, Translation } from '../source-translation.js'
import type { DatapathState, Stage } from '../stage.js'
import { TailCall } from '../tail-call.js'

export class NodePortNatIngress implements Stage {
  readonly #translation: SourceTranslation

  constructor(state: DatapathState) {
    this.#translation = new SourceTranslation(state)
  }

  process(ctx: PacketContext): Verdict {
    const result = this.#translation.reverse(ctx)
    if (result < Translation.NOT_NEEDED) return result as DropReason
    ctx.isNatAnswer = result === Translation.DONE
    return tailCall(ctx, TailCall.NODEPORT_REVNAT)
  }
}
