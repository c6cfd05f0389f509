/**
 * tail_nodeport_nat_ingress_ipv4 (bpf/lib/nodeport.h): a packet to an address and port that our NAT
 * gave out goes back to whom it was given.
 */
import type { Verdict } from '../../packet/verdict.js'
import { type PacketContext, tailCall } from '../context.js'
import type { Stage } from '../stage.js'
import { TailCall } from '../tail-call.js'

export class NodePortNatIngress implements Stage {
  process(ctx: PacketContext): Verdict {
    return tailCall(ctx, TailCall.NODEPORT_REVNAT)
  }
}
