/**
 * tail_handle_ipv4_cont (bpf_lxc.c): the pod's side of the decision. Who is the destination, may
 * the pod speak to it, and which way does it lie: to a pod of this node, or out of the pods' part of
 * it, by way of the NAT stages.
 */

import type { Conntrack } from '../../conntrack/conntrack.js'
import { isReturn } from '../../conntrack/ct-entry.js'
import type { EndpointTable } from '../../endpoint/endpoint-table.js'
import type { NodeSettings } from '../../endpoint/node-settings.js'
import { type Ipcache, NO_ENDPOINT } from '../../identity/ipcache.js'
import { type EgressGateway, EgressWay } from '../../nat/egress-gateway.js'
import { DropReason } from '../../packet/drop-reason.js'
import { Direction, type Verdict } from '../../packet/verdict.js'
import { ALLOWED } from '../../policy/policy-map.js'
import { Protocol } from '../../wire/protocols.js'
import { type PacketContext, tailCall } from '../context.js'
import { deliverLocally } from '../local-delivery.js'
import { PolicyCheck } from '../policy-check.js'
import type { DatapathState, Stage } from '../stage.js'
import { TailCall } from '../tail-call.js'
import { deny } from './policy-denied.js'

export class Ipv4FromLxcCont implements Stage {
  readonly #endpoints: EndpointTable
  readonly #ipcache: Ipcache
  readonly #policyCheck: PolicyCheck
  readonly #node: NodeSettings
  readonly #conntrack: Conntrack
  readonly #egressGateway: EgressGateway

  constructor(state: DatapathState) {
    this.#endpoints = state.endpoints
    this.#ipcache = state.ipcache
    this.#policyCheck = new PolicyCheck(state, Direction.EGRESS)
    this.#node = state.node
    this.#conntrack = state.conntrack
    this.#egressGateway = state.egressGateway
  }

  process(ctx: PacketContext): Verdict {
    const isHairpin = this.#isHairpin(ctx)
    const identity = this.#ipcache.find(ctx.words, ctx.destinationStart)
    if (this.#isEncapsulated(ctx)) return DropReason.ENCAP_PROHIBITED
    ctx.destinationIdentity = isHairpin ? ctx.sourceIdentity : identity
    const destination = isHairpin ? ctx.ingressPort : this.#ipcache.endpoint
    const row = this.#endpoints.rowStart(ctx.ingressPort)
    const verdict = this.#policyCheck.admit(ctx, row, ctx.destinationIdentity)
    if (verdict !== ALLOWED) return deny(ctx, this.#node, verdict)
    if (destination !== NO_ENDPOINT && destination !== this.#node.hostPort) {
      return deliverLocally(ctx, this.#endpoints, destination)
    }
    ctx.destinationEndpoint = destination
    if (this.#node.tunnelPort !== 0 && this.#ipcache.needsTunnel) {
      ctx.isToTunnel = true
      ctx.tunnelEndpoint4 = this.#ipcache.tunnelEndpoint4
    } else if (destination === NO_ENDPOINT && !isReturn(ctx.ctResult)) {
      const failed = this.#chooseGateway(ctx)
      if (failed !== 0) return failed as DropReason
    }
    return tailCall(ctx, TailCall.NODEPORT_NAT_FWD)
  }

  /**
   * An egress policy may send what is for the outside to another node, through the tunnel. 0, or the
   * reason for a drop.
   */
  #chooseGateway(ctx: PacketContext): number {
    const way = this.#egressGateway.find(ctx.words, ctx.tupleStart)
    if (way === EgressWay.NO_GATEWAY) return DropReason.NO_EGRESS_GATEWAY
    if (way === EgressWay.NO_ADDRESS) return DropReason.NO_EGRESS_IP
    if (way !== EgressWay.ELSEWHERE) return 0
    // The network knows no way back to the pod: a gateway is reached through the tunnel or not at all.
    if (this.#node.tunnelPort === 0) return DropReason.NO_TUNNEL_ENDPOINT
    ctx.isToTunnel = true
    ctx.tunnelEndpoint4 = this.#egressGateway.gateway4
    return 0
  }

  /** What comes by the tunnel has an identity that a node vouches for; a pod could claim any. */
  #isEncapsulated(ctx: PacketContext): boolean {
    const port = this.#node.tunnelPort
    if (port === 0 || ctx.protocol !== Protocol.UDP || ctx.destinationPort !== port) return false
    return !isReturn(ctx.ctResult)
  }

  /**
   * To the pod itself through a service, or the reply to that, which is addressed to our stand-in.
   */
  #isHairpin(ctx: PacketContext): boolean {
    if (ctx.isLoopback) return true
    return isReturn(ctx.ctResult) && this.#conntrack.isLoopback
  }
}
