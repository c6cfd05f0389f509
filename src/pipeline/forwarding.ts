/**
 * Ways out of the pods' part of the node: to the network by an uplink (fib_redirect_v4,
 * bpf/lib/fib.h), or to the node's own network stack, which routes whatever is not ours to route.
 */
import { Endpoint, type EndpointTable, PortKind } from '../endpoint/endpoint-table.js'
import type { NodeSettings } from '../endpoint/node-settings.js'
import { NO_PORT } from '../packet/burst.js'
import { DropReason } from '../packet/drop-reason.js'
import { Verdict } from '../packet/verdict.js'
import { type Fib, FibResult } from '../routing/fib.js'
import type { NeighbourMemory } from '../routing/neighbour-memory.js'
import * as ethernet from '../wire/ethernet.js'
import * as ipv4 from '../wire/ipv4.js'
import { TupleWord } from '../wire/tuple.js'
import { type PacketContext, tailCall } from './context.js'
import { isTooLarge, rewriteMacs } from './local-delivery.js'
import type { DatapathState } from './stage.js'
import { TailCall } from './tail-call.js'

const SOURCE4 = TupleWord.SOURCE + 3
const DESTINATION4 = TupleWord.DESTINATION + 3

/** From `refusal`: no stage, the packet may go. */
export const NO_REFUSAL = 0

export class Forwarding {
  readonly #endpoints: EndpointTable
  readonly #node: NodeSettings
  readonly #fib: Fib
  readonly #memory: NeighbourMemory

  constructor(state: DatapathState) {
    this.#endpoints = state.endpoints
    this.#node = state.node
    this.#fib = state.fib
    this.#memory = state.neighbourMemory
  }

  /**
   * By the uplink that the routing table names. Where it names none of ours, or nobody knows the
   * next hop's MAC, the node's stack routes the packet as it is now, and resolves the neighbour;
   * it also cuts what is too large for the way and may be cut.
   */
  toNetwork(ctx: PacketContext): Verdict {
    const way = this.route(ctx)
    const refusal = this.refusal(ctx, way)
    return refusal === NO_REFUSAL ? this.leave(ctx, way) : tailCall(ctx, refusal)
  }

  /** The first half of `toNetwork`, for who has to know the way before he rewrites the packet. */
  route(ctx: PacketContext): FibResult {
    return this.#fib.lookup(ctx.words[ctx.tupleStart + DESTINATION4] as number, ctx.hash)
  }

  /** By the last `route`: the node's IPv4 address on the uplink found, or 0 without an uplink. */
  get uplinkAddress4(): number {
    const { port } = this.#fib
    if (port === NO_PORT) return 0
    const row = this.#endpoints.rowStart(port)
    return this.#endpoints.words[row + Endpoint.ADDRESS + 3] as number
  }

  /**
   * The stage for a packet that may not take the way that `route` found, else NO_REFUSAL. Asked
   * before a packet is changed: its sender is told about the one that he sent. The node's stack
   * would tell the address that our NAT gave the packet.
   */
  refusal(ctx: PacketContext, way: FibResult): TailCall | typeof NO_REFUSAL {
    if (way === FibResult.NOT_OURS) return this.#refusalOfStack(ctx)
    if (way !== FibResult.FOUND && way !== FibResult.NO_NEIGHBOUR) return NO_REFUSAL
    const { packet, l3Offset } = ctx
    if (ipv4.ttl(packet, l3Offset) <= 1) return TailCall.TIME_EXCEEDED
    if (!this.#isTooLarge(ctx) || !ipv4.dontFragment(packet, l3Offset)) return NO_REFUSAL
    ctx.mtuBytes = this.#fib.mtuBytes
    return TailCall.IPV4_FRAGMENTATION_NEEDED
  }

  /** The stack routes the packet, if only its pair carries it. */
  #refusalOfStack(ctx: PacketContext): TailCall | typeof NO_REFUSAL {
    const host = this.#node.hostPort
    if (host === NO_PORT || !isTooLarge(ctx, this.#endpoints, host)) return NO_REFUSAL
    if (!ipv4.dontFragment(ctx.packet, ctx.l3Offset)) return NO_REFUSAL
    ctx.mtuBytes = this.#endpoints.words[this.#endpoints.rowStart(host) + Endpoint.MTU] as number
    return TailCall.IPV4_FRAGMENTATION_NEEDED
  }

  /** The second half: `way` is what `route` answered, and `refusal` did not refuse. */
  leave(ctx: PacketContext, way: FibResult): Verdict {
    const fib = this.#fib
    if (way === FibResult.UNREACHABLE) return DropReason.NO_FIB
    if (way === FibResult.NOT_OURS) return this.toStack(ctx)
    ctx.routePort = fib.port
    if (this.#isTooLarge(ctx)) {
      ctx.isRepeatable = false
      return this.toStack(ctx)
    }
    ctx.repeatableBytesMax = fib.mtuBytes
    if (way === FibResult.NO_NEIGHBOUR) return this.#leaveByMemory(ctx, fib.port)
    return this.#leave(ctx, fib.port, fib.macHigh, fib.macLow)
  }

  /**
   * Left as it is but for the MAC addresses: the node's stack is a router of its own and counts the
   * TTL down itself.
   */
  toStack(ctx: PacketContext): Verdict {
    const host = this.#node.hostPort
    if (host === NO_PORT) return DropReason.UNROUTABLE
    if (isTooLarge(ctx, this.#endpoints, host)) return DropReason.FRAGMENTATION_NEEDED
    rewriteMacs(ctx, this.#endpoints, host)
    ctx.egressPort = host
    return Verdict.REDIRECT
  }

  /** Notes whom the client's packet came from, for replies while the next hop is not known. */
  rememberSender(ctx: PacketContext): void {
    const { ingressPort, packet, nowSeconds } = ctx
    if (ctx.isFromTunnel || this.#endpoints.kind(ingressPort) !== PortKind.UPLINK) return
    const client = ctx.words[ctx.tupleStart + SOURCE4] as number
    const macHigh = ethernet.sourceHigh(packet, 0)
    const macLow = ethernet.sourceLow(packet, 0)
    this.#memory.remember(client, ingressPort, macHigh, macLow, nowSeconds)
  }

  #isTooLarge(ctx: PacketContext): boolean {
    return ipv4.totalLength(ctx.packet, ctx.l3Offset) > this.#fib.mtuBytes
  }

  #leaveByMemory(ctx: PacketContext, port: number): Verdict {
    const memory = this.#memory
    const destination = ctx.words[ctx.tupleStart + DESTINATION4] as number
    if (!memory.recall(destination, port)) return this.toStack(ctx)
    return this.#leave(ctx, port, memory.macHigh, memory.macLow)
  }

  #leave(ctx: PacketContext, port: number, macHigh: number, macLow: number): Verdict {
    const packet = ctx.packet
    ipv4.decrementTtl(packet, ctx.l3Offset)
    const rows = this.#endpoints.words
    const own = this.#endpoints.rowStart(port) + Endpoint.NODE_MAC
    ethernet.setDestination(packet, 0, macHigh, macLow)
    ethernet.setSource(packet, 0, rows[own] as number, rows[own + 1] as number)
    ctx.egressPort = port
    return Verdict.REDIRECT
  }
}
