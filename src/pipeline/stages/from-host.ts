/**
 * tail_handle_ipv4_from_host (bpf_host.c): a packet of the node's network stack. It may go to a pod of this node; to nobody else,
 * for the stack has its own ways out and would only get it back.
 */

import type { EndpointTable } from '../../endpoint/endpoint-table.js'
import { NO_ENDPOINT } from '../../endpoint/endpoint-table.js'
import { Identity } from '../../identity/identity.js'
import type { Ipcache } from '../../identity/ipcache.js'
import { DropReason } from '../../packet/drop-reason.js'
import type { Verdict } from '../../packet/verdict.js'
import { completePartialChecksum } from '../../wire/partial-checksum.js'
import type { PacketContext } from '../context.js'
import { deliverLocally } from '../local-delivery.js'
import type { DatapathState, Stage } from '../stage.js'

export class Ipv4FromHost implements Stage {
  readonly #endpoints: EndpointTable
  readonly #ipcache: Ipcache

  constructor(state: DatapathState) {
    this.#endpoints = state.endpoints
    this.#ipcache = state.ipcache
  }

  process(ctx: PacketContext): Verdict {
    if (ctx.l3Verdict !== 0) return DropReason.INVALID
    if (ctx.isFragment) return DropReason.FRAGMENT_UNSUPPORTED
    if (ctx.l4Verdict === 0) {
      completePartialChecksum(ctx.packet, ctx.l3Offset, ctx.l4Offset, ctx.protocol)
    }
    const source = this.#endpoints.find(ctx.words, ctx.sourceStart)
    const isOfHost = source !== NO_ENDPOINT && this.#endpoints.isHost
    ctx.sourceIdentity = isOfHost
      ? Identity.HOST
      : this.#ipcache.identityOf(ctx.words, ctx.sourceStart)
    const destination = this.#endpoints.find(ctx.words, ctx.destinationStart)
    if (destination === NO_ENDPOINT || this.#endpoints.isHost) return DropReason.UNROUTABLE
    return deliverLocally(ctx, this.#endpoints, destination)
  }
}
