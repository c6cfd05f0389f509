/**
 * tail_handle_arp (bpf_lxc.c): answers every ARP request of a pod, except for the pod's own
 * address, with the MAC of the node's side of its pair, so that all of its traffic comes to us. A
 * probe for its own address (RFC 5227) stays unanswered on purpose.
 */

import { Endpoint, type EndpointTable } from '../../endpoint/endpoint-table.js'
import { DropReason } from '../../packet/drop-reason.js'
import { Verdict } from '../../packet/verdict.js'
import * as arp from '../../wire/arp.js'
import * as ethernet from '../../wire/ethernet.js'
import type { PacketContext } from '../context.js'
import type { DatapathState, Stage } from '../stage.js'

export class ArpResponder implements Stage {
  readonly #endpoints: EndpointTable

  constructor(state: DatapathState) {
    this.#endpoints = state.endpoints
  }

  process(ctx: PacketContext): Verdict {
    const packet = ctx.packet
    if (!arp.isValid(packet, ctx.l3Offset)) return DropReason.INVALID
    if (!arp.isRequest(packet, ctx.l3Offset)) return Verdict.CONSUMED
    const rows = this.#endpoints.words
    const row = this.#endpoints.rowStart(ctx.ingressPort)
    if (arp.targetAddress(packet, ctx.l3Offset) === rows[row + Endpoint.ADDRESS + 3]) {
      return Verdict.CONSUMED
    }
    const macHigh = rows[row + Endpoint.NODE_MAC] as number
    const macLow = rows[row + Endpoint.NODE_MAC + 1] as number
    ethernet.turnBack(packet, 0, macHigh, macLow)
    arp.turnIntoReply(packet, ctx.l3Offset, macHigh, macLow)
    ctx.egressPort = ctx.ingressPort
    return Verdict.REDIRECT
  }
}
