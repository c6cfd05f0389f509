/**
 * The one place that answers a sender: an ICMP error, or a TCP reset, made of the packet in place
 * and sent out by the port it came in by (Cilium: generate_icmp4_reply of bpf/lib/icmp.h).
 *
 * Every answer costs a token of that port's bucket (RFC 1812 section 4.3.2.8), so that a sender
 * uses up nobody's answers but its own. Not here: IPv6.
 */

import { assert } from '../base/assert.js'
import type { TokenBuckets } from '../base/token-buckets.js'
import { Endpoint, type EndpointTable, PortKind } from '../endpoint/endpoint-table.js'
import type { NodeSettings } from '../endpoint/node-settings.js'
import { Identity } from '../identity/identity.js'
import type { Ipcache } from '../identity/ipcache.js'
import { NotedReason } from '../monitor/metrics.js'
import type { Monitor } from '../monitor/monitor.js'
import { NO_PORT } from '../packet/burst.js'
import { Verdict } from '../packet/verdict.js'
import * as ethernet from '../wire/ethernet.js'
import * as icmpv4 from '../wire/icmpv4.js'
import * as ipv4 from '../wire/ipv4.js'
import { Protocol } from '../wire/protocols.js'
import { isReset, turnIntoReset } from '../wire/tcp-reset.js'
import { IPV4_MAPPED } from '../wire/tuple.js'
import { type PacketContext, tailCall } from './context.js'
import type { DatapathState } from './stage.js'
import { TailCall } from './tail-call.js'
import { restoreOriginal } from './translate.js'
import { undoPacket } from './undo.js'

/** From `nodeAddress`: nobody to answer for. */
export const NO_ADDRESS = 0

export class IcmpAnswer {
  readonly #endpoints: EndpointTable
  readonly #node: NodeSettings
  readonly #ipcache: Ipcache
  readonly #monitor: Monitor
  readonly #state: DatapathState
  readonly #buckets: TokenBuckets
  /** As an address of four words. */
  readonly #sender = Int32Array.of(0, 0, IPV4_MAPPED, 0)

  constructor(state: DatapathState) {
    this.#endpoints = state.endpoints
    this.#node = state.node
    this.#ipcache = state.ipcache
    this.#monitor = state.monitor
    this.#state = state
    this.#buckets = state.rateLimits.answers
  }

  /**
   * What the node calls itself towards whoever sent the packet: the address of the uplink it came
   * in by, else the node's, else that of the host pair; NO_ADDRESS when it has none.
   */
  nodeAddress(ctx: PacketContext): number {
    const rows = this.#endpoints.words
    const row = this.#endpoints.rowStart(ctx.ingressPort)
    if (rows[row + Endpoint.KIND] === PortKind.UPLINK) {
      return rows[row + Endpoint.ADDRESS + 3] as number
    }
    if (this.#node.nodeAddress !== NO_ADDRESS) return this.#node.nodeAddress
    const host = this.#node.hostPort
    if (host === NO_PORT) return NO_ADDRESS
    return rows[this.#endpoints.rowStart(host) + Endpoint.ADDRESS + 3] as number
  }

  /** It came from a pod of this node, or from the node itself. */
  isLocalSender(ctx: PacketContext): boolean {
    return this.#endpoints.kind(ctx.ingressPort) !== PortKind.UPLINK
  }

  /** May the packet be answered by an ICMP error, and is there a token? Takes it. */
  mayAnswer(ctx: PacketContext): boolean {
    const packet = ctx.packet
    if (packet.headroom < icmpv4.ERROR_OVERHEAD_BYTES || ethernet.isToGroup(packet, 0)) return false
    if (!icmpv4.mayAnswerWithError(packet, ctx.l3Offset)) return false
    if (ctx.isFromTunnel && !this.#findTunnel(ctx)) return false
    return this.#takeToken(ctx)
  }

  /** The same for a reset, which only whole segments get. */
  mayReset(ctx: PacketContext): boolean {
    if (ctx.protocol !== Protocol.TCP || ctx.l4Verdict !== 0 || ctx.isFragment) return false
    return !isReset(ctx.packet, ctx.l4Offset) && this.mayAnswer(ctx)
  }

  /**
   * Turns the packet, as its sender sent it, into an error and sends it back. `mayAnswer` has been
   * true.
   *
   * @param rest the second word of the ICMP header: the next hop's MTU, or zero
   * @param from the address that answers; NO_ADDRESS: whom the packet was for
   */
  sendError(
    ctx: PacketContext,
    type: number,
    code: number,
    rest: number,
    from: number,
    quoteBytesMax: number,
  ): Verdict {
    const packet = ctx.packet
    restoreOriginal(ctx)
    const source = from === NO_ADDRESS ? destinationOf(ctx) : from
    const hasRoom = icmpv4.encloseInError(packet, type, code, rest, source, quoteBytesMax)
    assert(hasRoom, 'an error was begun in a frame without room')
    return this.#turnBack(ctx)
  }

  /** Turns the segment into its reset, from whom it was for. `mayReset` has been true. */
  sendReset(ctx: PacketContext): Verdict {
    restoreOriginal(ctx)
    turnIntoReset(ctx.packet, ctx.l3Offset)
    return this.#turnBack(ctx)
  }

  /**
   * Back by the port it came in by. A pod's MAC is known even when the frame's have been rewritten;
   * what an uplink brought has to be answered before that. What a tunnel brought goes back into it.
   */
  #turnBack(ctx: PacketContext): Verdict {
    // The packet goes nowhere, so nothing that it began is remembered.
    undoPacket(this.#state)
    // The event that belongs to the packet is its drop, and the next one's token is another.
    ctx.isMonitored = false
    ctx.isRepeatable = false
    this.#monitor.note(ctx, NotedReason.ANSWER_SENT)
    if (ctx.isFromTunnel) {
      ctx.sourceIdentity = Identity.HOST
      return tailCall(ctx, TailCall.TO_OVERLAY)
    }
    const rows = this.#endpoints.words
    const row = this.#endpoints.rowStart(ctx.ingressPort)
    const nodeMac = row + Endpoint.NODE_MAC
    ethernet.turnBack(ctx.packet, 0, rows[nodeMac] as number, rows[nodeMac + 1] as number)
    if (this.isLocalSender(ctx)) {
      const mac = row + Endpoint.MAC
      ethernet.setDestination(ctx.packet, 0, rows[mac] as number, rows[mac + 1] as number)
    }
    ctx.egressPort = ctx.ingressPort
    return Verdict.REDIRECT
  }

  /** The node that the packet's sender is behind; a translated packet has another source by now. */
  #findTunnel(ctx: PacketContext): boolean {
    const sender = this.#sender
    sender[3] = ctx.isTranslated ? ctx.originalSource4 : (ctx.words[ctx.sourceStart + 3] as number)
    this.#ipcache.find(sender, 0)
    ctx.tunnelEndpoint4 = this.#ipcache.tunnelEndpoint4
    return this.#ipcache.needsTunnel && ctx.tunnelEndpoint4 !== NO_ADDRESS
  }

  #takeToken(ctx: PacketContext): boolean {
    const { answersPerSecond, answersBurst } = this.#node
    const { ingressPort, nowSeconds, nowNanoseconds } = ctx
    const buckets = this.#buckets
    if (buckets.take(ingressPort, answersPerSecond, answersBurst, nowSeconds, nowNanoseconds)) {
      return true
    }
    this.#monitor.note(ctx, NotedReason.ANSWER_LIMITED)
    return false
  }
}

const destinationOf = (ctx: PacketContext): number => ipv4.destination(ctx.packet, ctx.l3Offset)
