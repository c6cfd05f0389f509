/**
 * tail_nodeport_rev_dnat_ipv4 (bpf/lib/nodeport.h): the reply of a service's backend elsewhere comes
 * from the service again. Whatever it is, it now goes where its destination lies: a pod of this
 * node, or the node's own network stack.
 */
import type { EndpointTable } from '../../endpoint/endpoint-table.js'
import type { NodeSettings } from '../../endpoint/node-settings.js'
import { type Ipcache, NO_ENDPOINT } from '../../identity/ipcache.js'
import type { Verdict } from '../../packet/verdict.js'
import type { PacketContext } from '../context.js'
import { Forwarding } from '../forwarding.js'
import { deliverLocally } from '../local-delivery.js'
import type { DatapathState, Stage } from '../stage.js'

export class NodePortRevNat implements Stage {
  readonly #endpoints: EndpointTable
  readonly #ipcache: Ipcache
  readonly #node: NodeSettings
  readonly #forwarding: Forwarding

  constructor(state: DatapathState) {
    this.#endpoints = state.endpoints
    this.#ipcache = state.ipcache
    this.#node = state.node
    this.#forwarding = new Forwarding(state)
  }

  process(ctx: PacketContext): Verdict {
    this.#ipcache.find(ctx.words, ctx.destinationStart)
    const destination = this.#ipcache.endpoint
    if (destination === NO_ENDPOINT || destination === this.#node.hostPort) {
      return this.#forwarding.toStack(ctx)
    }
    return deliverLocally(ctx, this.#endpoints, destination)
  }
}
