/**
 * nodeport_lb4 (bpf/lib/nodeport.h): a packet for a service, from outside of the pods, becomes
 * one for a backend. A pod of this node gets it as it is, with the client's own address; on the way
 * to a backend elsewhere stage 15 gives it the node's address, for the reply has to come back here.
 * The reply is turned back by `nodeport-reply.ts`.
 *
 * Not here: direct server return, services for L7 proxies.
 */
import type { Conntrack } from '../conntrack/conntrack.js'
import { CtDirection, CtResult, CtState } from '../conntrack/ct-entry.js'
import type { EndpointTable } from '../endpoint/endpoint-table.js'
import type { NodeSettings } from '../endpoint/node-settings.js'
import { Identity } from '../identity/identity.js'
import { type Ipcache, NO_ENDPOINT } from '../identity/ipcache.js'
import { Balance, type LoadBalancer } from '../lb/load-balancer.js'
import { Scope } from '../lb/service-layout.js'
import { DropReason } from '../packet/drop-reason.js'
import type { Verdict } from '../packet/verdict.js'
import { ALLOWED } from '../policy/policy-map.js'
import * as icmpv4 from '../wire/icmpv4.js'
import { TupleWord } from '../wire/tuple.js'
import { type PacketContext, tailCall } from './context.js'
import { Forwarding } from './forwarding.js'
import { HostFirewall } from './host-firewall.js'
import { deliverLocally } from './local-delivery.js'
import { NO_ICMP_TYPE } from './parse.js'
import { ServiceErrorTranslation } from './service-error.js'
import type { DatapathState } from './stage.js'
import { deny } from './stages/policy-denied.js'
import { TailCall } from './tail-call.js'
import { canTranslate, hasPorts, renewHash, setDestination } from './translate.js'

/** From `process`, in place of a verdict: the packet is as it was. */
export const NOT_FOR_SERVICE = 0x100

const DESTINATION4 = TupleWord.DESTINATION + 3

export class NodePortLb {
  readonly #loadBalancer: LoadBalancer
  readonly #conntrack: Conntrack
  readonly #endpoints: EndpointTable
  readonly #ipcache: Ipcache
  readonly #node: NodeSettings
  readonly #errors: ServiceErrorTranslation
  readonly #forwarding: Forwarding
  readonly #firewall: HostFirewall
  readonly #address = new Int32Array(4)

  constructor(state: DatapathState) {
    this.#loadBalancer = state.loadBalancer
    this.#conntrack = state.conntrack
    this.#endpoints = state.endpoints
    this.#ipcache = state.ipcache
    this.#node = state.node
    this.#errors = new ServiceErrorTranslation(state)
    this.#forwarding = new Forwarding(state)
    this.#firewall = new HostFirewall(state)
  }

  /** @param scope INTERNAL for the node's own processes, which no source range binds */
  process(ctx: PacketContext, scope: Scope): Verdict | typeof NOT_FOR_SERVICE {
    const destination = ctx.words[ctx.tupleStart + DESTINATION4] as number
    if (ctx.l4Verdict !== 0 || !this.#loadBalancer.mayBeService(destination)) return NOT_FOR_SERVICE
    if (hasPorts(ctx.protocol)) return this.#balance(ctx, scope)
    const isError = ctx.icmpType !== NO_ICMP_TYPE && icmpv4.isError(ctx.icmpType)
    if (!isError || !this.#errors.translate(ctx)) return NOT_FOR_SERVICE
    this.#ipcache.find(ctx.words, ctx.destinationStart)
    return this.#toBackend(ctx, this.#ipcache.endpoint)
  }

  #balance(ctx: PacketContext, scope: Scope): Verdict | typeof NOT_FOR_SERVICE {
    const { words, tupleStart, hash, tcpFlags, nowSeconds } = ctx
    const bytes = ctx.packet.length
    const balancer = this.#loadBalancer
    switch (balancer.balance(words, tupleStart, hash, tcpFlags, bytes, nowSeconds, scope)) {
      case Balance.NONE:
        return NOT_FOR_SERVICE
      case Balance.TO_BACKEND:
        if (balancer.needsEachPacket) ctx.isRepeatable = false
        return this.#translate(ctx, scope)
      case Balance.NO_BACKEND:
        return tailCall(ctx, TailCall.IPV4_NO_SERVICE)
      case Balance.UNKNOWN_PORT:
        return DropReason.NO_SERVICE_BACKEND
      case Balance.NOT_IN_SOURCE_RANGE:
        return DropReason.NOT_IN_SOURCE_RANGE
      case Balance.IS_CLUSTER_IP:
        return DropReason.IS_CLUSTER_IP
      default:
        return DropReason.CT_CREATE_FAILED
    }
  }

  #translate(ctx: PacketContext, scope: Scope): Verdict {
    if (!canTranslate(ctx)) return DropReason.CHECKSUM_L4
    const { backend, revNatIndex, isHostPort } = this.#loadBalancer
    const address = this.#address
    address[2] = 0xffff
    address[3] = backend.address4
    ctx.destinationIdentity = this.#ipcache.find(address, 0)
    const endpoint = this.#ipcache.endpoint
    // The port of a host leads to that host's own pods only.
    if (isHostPort && endpoint === NO_ENDPOINT) return DropReason.INVALID
    setDestination(ctx, backend.address4, backend.port)
    renewHash(ctx, this.#conntrack.seed)
    if (scope === Scope.INTERNAL) {
      const admitted = this.#firewall.admitToBackend(ctx, ctx.destinationIdentity)
      if (admitted !== ALLOWED) return deny(ctx, this.#node, admitted)
    }
    const identity = scope === Scope.EXTERNAL ? Identity.WORLD : ctx.sourceIdentity
    if (!this.#track(ctx, identity, revNatIndex)) return DropReason.CT_CREATE_FAILED
    return this.#toBackend(ctx, endpoint)
  }

  /** The entry by which replies are turned back. */
  #track(ctx: PacketContext, identity: number, revNatIndex: number): boolean {
    const { words, tupleStart, hash, tcpFlags, nowSeconds } = ctx
    const bytes = ctx.packet.length
    const conntrack = this.#conntrack
    const direction = CtDirection.EGRESS_FORWARD
    const found = conntrack.lookup(words, tupleStart, hash, direction, tcpFlags, bytes, nowSeconds)
    ctx.ctResult = found
    ctx.isMonitored = conntrack.isMonitored
    if (found === CtResult.ESTABLISHED) {
      if (conntrack.isNodePort && conntrack.revNatIndex === revNatIndex) return true
      // The flow with these addresses and ports was another service's, or none's.
      ctx.ctResult = CtResult.NEW
    }
    return conntrack.create(
      words,
      tupleStart,
      hash,
      direction,
      identity,
      bytes,
      nowSeconds,
      revNatIndex,
      CtState.NODE_PORT,
    )
  }

  #toBackend(ctx: PacketContext, endpoint: number): Verdict {
    if (endpoint !== NO_ENDPOINT && endpoint !== this.#node.hostPort) {
      return deliverLocally(ctx, this.#endpoints, endpoint)
    }
    this.#forwarding.rememberSender(ctx)
    return tailCall(ctx, TailCall.NODEPORT_NAT_EGRESS)
  }
}
