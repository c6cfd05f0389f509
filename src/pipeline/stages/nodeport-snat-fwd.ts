/**
 * tail_handle_snat_fwd_ipv4 (bpf/lib/nodeport.h): what leaves the node from an address that the
 * outside does not know gets one that it does (masquerading).
 */
import type { Verdict } from '../../packet/verdict.js'
import type { PacketContext } from '../context.js'
import { Forwarding } from '../forwarding.js'
import type { DatapathState, Stage } from '../stage.js'

export class NodePortSnatFwd implements Stage {
  readonly #forwarding: Forwarding

  constructor(state: DatapathState) {
    this.#forwarding = new Forwarding(state)
  }

  process(ctx: PacketContext): Verdict {
    return this.#forwarding.toNetwork(ctx)
  }
}
