/**
 * The service step of tail_handle_ipv4 (bpf_lxc.c: __per_packet_lb_svc_xlate_4): a packet for a
 * service becomes one for a backend, before connection tracking sees it. Its reply is turned back
 * by the stage that delivers it (`reverse-translation.ts`).
 */
import type { Conntrack } from '../conntrack/conntrack.js'
import { Balance, type LoadBalancer } from '../lb/load-balancer.js'
import { Scope } from '../lb/service-layout.js'
import { LoopbackMode, type ServiceSettings } from '../lb/service-settings.js'
import { DropReason } from '../packet/drop-reason.js'
import type { Verdict } from '../packet/verdict.js'
import * as icmpv4 from '../wire/icmpv4.js'
import * as tuple from '../wire/tuple.js'
import { type PacketContext, tailCall } from './context.js'
import { NO_ICMP_TYPE } from './parse.js'
import { ServiceErrorTranslation } from './service-error.js'
import type { DatapathState, Stage } from './stage.js'
import { TailCall } from './tail-call.js'
import {
  canTranslate,
  hasPorts,
  renewHash,
  setDestination,
  setSource,
  sourcePortOf,
} from './translate.js'

const SOURCE4 = tuple.TupleWord.SOURCE + 3
const DESTINATION4 = tuple.TupleWord.DESTINATION + 3

export class ServiceTranslation implements Stage {
  readonly #loadBalancer: LoadBalancer
  readonly #settings: ServiceSettings
  readonly #conntrack: Conntrack
  readonly #errors: ServiceErrorTranslation

  constructor(state: DatapathState) {
    this.#loadBalancer = state.loadBalancer
    this.#settings = state.serviceSettings
    this.#conntrack = state.conntrack
    this.#errors = new ServiceErrorTranslation(state)
  }

  process(ctx: PacketContext): Verdict {
    const destination = ctx.words[ctx.tupleStart + DESTINATION4] as number
    if (this.#loadBalancer.mayBeService(destination)) return this.#toService(ctx)
    return tailCall(ctx, TailCall.IPV4_CT_EGRESS)
  }

  #toService(ctx: PacketContext): Verdict {
    if (ctx.l4Verdict === 0) {
      if (hasPorts(ctx.protocol)) return this.#balance(ctx)
      if (ctx.icmpType !== NO_ICMP_TYPE && icmpv4.isError(ctx.icmpType)) this.#errors.translate(ctx)
    }
    return tailCall(ctx, TailCall.IPV4_CT_EGRESS)
  }

  #balance(ctx: PacketContext): Verdict {
    const { words, tupleStart, hash, tcpFlags, nowSeconds } = ctx
    const bytes = ctx.packet.length
    const balancer = this.#loadBalancer
    switch (
      balancer.balance(words, tupleStart, hash, tcpFlags, bytes, nowSeconds, Scope.INTERNAL)
    ) {
      case Balance.NONE:
        return tailCall(ctx, TailCall.IPV4_CT_EGRESS)
      case Balance.TO_BACKEND:
        if (balancer.needsEachPacket) ctx.isRepeatable = false
        return this.#translate(ctx)
      case Balance.NO_BACKEND:
        return tailCall(ctx, TailCall.IPV4_NO_SERVICE)
      case Balance.UNKNOWN_PORT:
        return DropReason.NO_SERVICE_BACKEND
      default:
        return DropReason.CT_CREATE_FAILED
    }
  }

  #translate(ctx: PacketContext): Verdict {
    if (!canTranslate(ctx)) return DropReason.CHECKSUM_L4
    const { backend, revNatIndex } = this.#loadBalancer
    const source = ctx.words[ctx.tupleStart + SOURCE4] as number
    ctx.revNatIndex = revNatIndex
    ctx.isLoopback = backend.address4 === source
    setDestination(ctx, backend.address4, backend.port)
    // A pod would take a packet from its own address for a forgery.
    if (ctx.isLoopback && this.#settings.loopbackMode === LoopbackMode.ADDRESS) {
      setSource(ctx, this.#settings.loopbackAddress, sourcePortOf(ctx))
    }
    renewHash(ctx, this.#conntrack.seed)
    return tailCall(ctx, TailCall.IPV4_CT_EGRESS)
  }
}
