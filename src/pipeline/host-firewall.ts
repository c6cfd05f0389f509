/**
 * The policy of the node itself (bpf/lib/host_firewall.h): what its own stack sends to pods and
 * services, and what comes to it by us, is held against the policy of the host endpoint. Off unless
 * the node's settings say otherwise.
 *
 * What it does not see is what does not come by us: packets that an uplink's steering program leaves
 * to the kernel, and everything that the kernel sends to the outside by itself. So of what an uplink
 * brings, a segment that opens nothing, or an ICMP error, may belong to a connection of the node's
 * own, and passes where conntrack knows nothing of it.
 */
import { CtResult, isCreateAction } from '../conntrack/ct-entry.js'
import { Endpoint, type EndpointTable, PortKind } from '../endpoint/endpoint-table.js'
import type { NodeSettings } from '../endpoint/node-settings.js'
import { Identity } from '../identity/identity.js'
import { NO_PORT } from '../packet/burst.js'
import { Direction } from '../packet/verdict.js'
import { ALLOWED } from '../policy/policy-map.js'
import { Protocol } from '../wire/protocols.js'
import { ConnectionLookup, isAboutConnection } from './connection-lookup.js'
import type { PacketContext } from './context.js'
import { PolicyCheck } from './policy-check.js'
import type { DatapathState } from './stage.js'

export class HostFirewall {
  readonly #endpoints: EndpointTable
  readonly #node: NodeSettings
  readonly #lookupIngress: ConnectionLookup
  readonly #lookupEgress: ConnectionLookup
  readonly #ingress: PolicyCheck
  readonly #egress: PolicyCheck

  constructor(state: DatapathState) {
    this.#endpoints = state.endpoints
    this.#node = state.node
    this.#lookupIngress = new ConnectionLookup(state, Direction.INGRESS)
    this.#lookupEgress = new ConnectionLookup(state, Direction.EGRESS)
    this.#ingress = new PolicyCheck(state, Direction.INGRESS)
    this.#egress = new PolicyCheck(state, Direction.EGRESS)
  }

  /** ALLOWED, or the reason why the packet may not enter the node's own stack. */
  admitIngress(ctx: PacketContext): number {
    if (!this.#isFor(ctx, Direction.INGRESS)) return ALLOWED
    const failed = this.#lookupIngress.apply(ctx)
    if (failed !== 0) return failed
    if (ctx.ctResult === CtResult.NEW && this.#mayBeReply(ctx)) return ALLOWED
    return this.#ingress.admit(ctx, this.#row(), ctx.sourceIdentity)
  }

  /**
   * ALLOWED, or the reason why the node's own stack may not send the packet to who has this
   * identity. The errors of a router are no connections of its own.
   */
  admitEgress(ctx: PacketContext, identity: number): number {
    if (ctx.sourceIdentity !== Identity.HOST || isAboutConnection(ctx.icmpType)) return ALLOWED
    if (!this.#isFor(ctx, Direction.EGRESS)) return ALLOWED
    const failed = this.#lookupEgress.apply(ctx)
    const verdict = failed === 0 ? this.#egress.admit(ctx, this.#row(), identity) : failed
    if (verdict === ALLOWED) ctx.direction = Direction.INGRESS
    return verdict
  }

  /** The same for a backend of a service, whose connection the service's own entry follows. */
  admitToBackend(ctx: PacketContext, identity: number): number {
    if (!this.#isFor(ctx, Direction.EGRESS)) return ALLOWED
    const verdict = this.#egress.judge(ctx, this.#row(), identity)
    if (verdict === ALLOWED) ctx.direction = Direction.INGRESS
    return verdict
  }

  /** The same for a client of a service whose backend is the node. */
  admitFromClient(ctx: PacketContext): number {
    if (ctx.sourceIdentity === Identity.HOST) return ALLOWED
    if (!this.#isFor(ctx, Direction.INGRESS)) return ALLOWED
    return this.#ingress.judge(ctx, this.#row(), ctx.sourceIdentity)
  }

  /** Is there a policy to be asked? What happens to the packet is the host endpoint's then. */
  #isFor(ctx: PacketContext, direction: Direction): boolean {
    if (!this.#node.isHostFirewall || this.#node.hostPort === NO_PORT) return false
    ctx.direction = direction
    ctx.endpointId = this.#endpoints.words[this.#row() + Endpoint.ID] as number
    return true
  }

  #mayBeReply(ctx: PacketContext): boolean {
    if (ctx.isFromTunnel) return false
    if (this.#endpoints.kind(ctx.ingressPort) !== PortKind.UPLINK) return false
    return ctx.protocol === Protocol.TCP
      ? !isCreateAction(ctx.tcpFlags)
      : isAboutConnection(ctx.icmpType)
  }

  #row(): number {
    return this.#endpoints.rowStart(this.#node.hostPort)
  }
}
