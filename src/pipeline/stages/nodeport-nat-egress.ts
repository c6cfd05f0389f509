/**
 * tail_nodeport_nat_egress_ipv4 (bpf/lib/nodeport.h): a request to a backend elsewhere leaves from
 * the node's own address, so that the reply comes back to this node.
 */
import type { Verdict } from '../../packet/verdict.js'
import type { PacketContext } from '../context.js'
import { Forwarding } from '../forwarding.js'
import type { DatapathState, Stage } from '../stage.js'

export class NodePortNatEgress implements Stage {
  readonly #forwarding: Forwarding

  constructor(state: DatapathState) {
    this.#forwarding = new Forwarding(state)
  }

  process(ctx: PacketContext): Verdict {
    return this.#forwarding.toNetwork(ctx)
  }
}
