/**
 * L2 announcement (bpf_host.c, handle_l2_announcement): ARP requests from outside for addresses
 * that this node stands for are answered with the uplink's MAC, so that a client of the network
 * reaches a service without a router in between.
 *
 * Only while the control plane is alive: which node answers is its decision, and one whose control
 * plane is gone does not learn that another node has taken over. What is not answered stays without
 * an answer of the kernel too; the frame was steered here because the address is ours.
 */
import { Endpoint, type EndpointTable } from '../endpoint/endpoint-table.js'
import type { NodeSettings } from '../endpoint/node-settings.js'
import type { L2Announcements } from '../netdev/l2-announcements.js'
import { DropReason } from '../packet/drop-reason.js'
import { Verdict } from '../packet/verdict.js'
import * as arp from '../wire/arp.js'
import * as ethernet from '../wire/ethernet.js'
import type { PacketContext } from './context.js'
import type { DatapathState } from './stage.js'

export class L2Responder {
  readonly #endpoints: EndpointTable
  readonly #node: NodeSettings
  readonly #announcements: L2Announcements

  constructor(state: DatapathState) {
    this.#endpoints = state.endpoints
    this.#node = state.node
    this.#announcements = state.announcements
  }

  answer(ctx: PacketContext): Verdict {
    const { packet, l3Offset, ingressPort } = ctx
    if (!arp.isValid(packet, l3Offset)) return DropReason.INVALID
    if (!arp.isRequest(packet, l3Offset)) return Verdict.CONSUMED
    const target = arp.targetAddress(packet, l3Offset)
    // RFC 5227: an announcement asks for its sender's own address and wants no answer.
    if (target === arp.senderAddress(packet, l3Offset)) return Verdict.CONSUMED
    if (!this.#node.isAgentAlive(ctx.nowSeconds)) return Verdict.CONSUMED
    if (!this.#announcements.take(target, ingressPort)) return Verdict.CONSUMED
    const row = this.#endpoints.rowStart(ingressPort)
    const macHigh = this.#endpoints.words[row + Endpoint.NODE_MAC] as number
    const macLow = this.#endpoints.words[row + Endpoint.NODE_MAC + 1] as number
    ethernet.turnBack(packet, 0, macHigh, macLow)
    arp.turnIntoReply(packet, l3Offset, macHigh, macLow)
    ctx.egressPort = ingressPort
    return Verdict.REDIRECT
  }
}
