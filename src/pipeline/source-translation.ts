/**
 * Source NAT of a packet (snat_v4_nat and snat_v4_rev_nat of bpf/lib/nat.h): forward on its way out,
 * where its source becomes an address and port of the NAT; back where the answer comes in. TCP, UDP,
 * SCTP and ICMP echo have mappings; an ICMP error is rewritten by the mapping of the flow that it
 * quotes, inside and outside.
 *
 * Each packet is changed wholly or not at all. A later fragment has no ports to change.
 */
import type { Conntrack } from '../conntrack/conntrack.js'
import { CtDirection, CtResult } from '../conntrack/ct-entry.js'
import { Identity } from '../identity/identity.js'
import { SnatFlag } from '../nat/snat-entry.js'
import type { SourceNat } from '../nat/source-nat.js'
import { DropReason } from '../packet/drop-reason.js'
import * as icmpv4 from '../wire/icmpv4.js'
import * as ipv4 from '../wire/ipv4.js'
import { Protocol } from '../wire/protocols.js'
import { setQuotedDestination, setQuotedSource } from '../wire/quoted.js'
import * as tuple from '../wire/tuple.js'
import type { PacketContext } from './context.js'
import { NO_ICMP_TYPE } from './parse.js'
import { QuotedFlow } from './quoted-flow.js'
import type { DatapathState } from './stage.js'
import {
  canTranslate,
  hasPorts,
  keepOriginal,
  renewHash,
  setDestination,
  setSource,
} from './translate.js'

const { SOURCE, DESTINATION, PORTS } = tuple.TupleWord
const SOURCE4 = SOURCE + 3
const DESTINATION4 = DESTINATION + 3

/** What became of a packet; else, below zero, the reason for a drop. */
export const Translation = { NOT_NEEDED: 0, DONE: 1 } as const

/** RFC 792 and RFC 1812 name codes 0 to 15 of "destination unreachable", 0 and 1 of "time exceeded". */
const UNREACHABLE_CODE_MAX = 15
const TIME_EXCEEDED_CODE_MAX = 1

export class SourceTranslation {
  readonly #nat: SourceNat
  readonly #conntrack: Conntrack
  readonly #quoted = new QuotedFlow()

  constructor(state: DatapathState) {
    this.#nat = state.nat
    this.#conntrack = state.conntrack
  }

  /**
   * Makes the packet come from `address4`, with a port of the NAT.
   *
   * `ctx.hash` stays that of the flow as it came: the way out was chosen by it.
   *
   * @param isOfHost the flow is the node's own and has no other entry in the connection table
   */
  forward(ctx: PacketContext, address4: number, isOfHost: boolean): number {
    if (ctx.icmpType !== NO_ICMP_TYPE && ctx.icmpType !== icmpv4.Type.ECHO_REQUEST) {
      return this.#forwardError(ctx)
    }
    if (ctx.l4Verdict !== 0) return ctx.l4Verdict
    const isEcho = ctx.icmpType === icmpv4.Type.ECHO_REQUEST
    if (!isEcho && !hasPorts(ctx.protocol)) return DropReason.NAT_UNSUPPORTED_PROTOCOL
    if (!canTranslate(ctx)) return DropReason.CHECKSUM_L4
    const nat = this.#nat
    const flags = isOfHost ? SnatFlag.NEEDS_CT : 0
    const { words, tupleStart, tcpFlags, nowSeconds } = ctx
    // The connection first: a mapping without one is collected, by another worker at any moment.
    if (isOfHost && !this.#track(ctx)) return DropReason.CT_CREATE_FAILED
    if (!nat.forward(words, tupleStart, address4, flags, tcpFlags, nowSeconds)) {
      this.#tellExhaustion(ctx)
      return DropReason.NAT_NO_MAPPING
    }
    if (isEcho) setEchoSource(ctx, nat.address4, nat.port)
    else setSource(ctx, nat.address4, nat.port)
    return Translation.DONE
  }

  /** Gives a packet that answers a mapping back to whom it is for. */
  reverse(ctx: PacketContext): number {
    if (ctx.icmpType !== NO_ICMP_TYPE && ctx.icmpType !== icmpv4.Type.ECHO_REPLY) {
      return this.#reverseError(ctx)
    }
    const isEcho = ctx.icmpType === icmpv4.Type.ECHO_REPLY
    if (ctx.l4Verdict !== 0 || !(isEcho || hasPorts(ctx.protocol))) return Translation.NOT_NEEDED
    const nat = this.#nat
    if (!nat.reverse(ctx.words, ctx.tupleStart, ctx.tcpFlags, ctx.nowSeconds)) {
      return Translation.NOT_NEEDED
    }
    if (!canTranslate(ctx)) return DropReason.CHECKSUM_L4
    if (isEcho) setEchoDestination(ctx, nat.address4, nat.port)
    else setDestination(ctx, nat.address4, nat.port)
    renewHash(ctx, this.#conntrack.seed)
    if (nat.needsCt) this.#lookup(ctx, CtDirection.INGRESS)
    return Translation.DONE
  }

  /**
   * A sender of ours tells the other side of an error with a packet that came through the NAT. What
   * answers nothing, and redirects, are no business of a NAT; other messages are not understood.
   */
  #forwardError(ctx: PacketContext): number {
    const { packet: p, icmpType, l4Offset } = ctx
    if (icmpType === icmpv4.Type.ECHO_REPLY || icmpType === icmpv4.Type.REDIRECT) {
      return Translation.NOT_NEEDED
    }
    if (ctx.l4Verdict !== 0) return ctx.l4Verdict
    if (!isTranslatedError(icmpType)) return DropReason.UNKNOWN_ICMP4_TYPE
    if (!isKnownCode(icmpType, icmpv4.code(p, l4Offset))) return DropReason.UNKNOWN_ICMP4_CODE
    if (!this.#readQuoted(ctx)) return DropReason.INVALID
    const nat = this.#nat
    const isEcho = this.#quoted.protocol === Protocol.ICMPV4
    if (isEcho && !this.#isQuotedEcho(ctx, icmpv4.Type.ECHO_REPLY)) return Translation.NOT_NEEDED
    if (!nat.findQuotedReply(this.#quoted.words)) return Translation.NOT_NEEDED
    const { end } = this.#quoted
    setQuotedDestination(p, l4Offset, end, nat.address4, nat.port)
    ipv4.setSource(p, ctx.l3Offset, nat.address4)
    ctx.words[ctx.tupleStart + SOURCE4] = nat.address4
    return Translation.DONE
  }

  /** A router or the other side tells of an error with a packet of a sender of ours. */
  #reverseError(ctx: PacketContext): number {
    const { packet: p, icmpType, l4Offset } = ctx
    if (ctx.l4Verdict !== 0 || !isTranslatedError(icmpType)) return Translation.NOT_NEEDED
    if (!isKnownCode(icmpType, icmpv4.code(p, l4Offset))) return Translation.NOT_NEEDED
    if (!this.#readQuoted(ctx)) return Translation.NOT_NEEDED
    const nat = this.#nat
    const isEcho = this.#quoted.protocol === Protocol.ICMPV4
    if (isEcho && !this.#isQuotedEcho(ctx, icmpv4.Type.ECHO_REQUEST)) return Translation.NOT_NEEDED
    // An error goes to whom the quoted packet came from (RFC 792): nobody outside knows another one.
    if (this.#quoted.words[SOURCE4] !== ctx.words[ctx.tupleStart + DESTINATION4]) {
      return Translation.NOT_NEEDED
    }
    if (!nat.findQuotedRequest(this.#quoted.words)) return Translation.NOT_NEEDED
    const { end } = this.#quoted
    setQuotedSource(p, l4Offset, end, nat.address4, nat.port)
    ipv4.setDestination(p, ctx.l3Offset, nat.address4)
    ctx.words[ctx.tupleStart + DESTINATION4] = nat.address4
    renewHash(ctx, this.#conntrack.seed)
    return Translation.DONE
  }

  /** Only flows that a mapping can be of. */
  #readQuoted(ctx: PacketContext): boolean {
    const quoted = this.#quoted
    if (!quoted.read(ctx)) return false
    return quoted.protocol === Protocol.ICMPV4 || hasPorts(quoted.protocol)
  }

  #isQuotedEcho(ctx: PacketContext, icmpType: number): boolean {
    const quoted = icmpv4.quotedOffset(ctx.l4Offset)
    return icmpv4.type(ctx.packet, ipv4.payloadOffset(ctx.packet, quoted)) === icmpType
  }

  /** Keeps the connection of a flow of the node's own, by which its mapping lives. */
  #track(ctx: PacketContext): boolean {
    if (this.#lookup(ctx, CtDirection.EGRESS) !== CtResult.NEW) return true
    const { words, tupleStart, hash, nowSeconds } = ctx
    const bytes = ctx.packet.length
    const { EGRESS } = CtDirection
    const { HOST } = Identity
    return this.#conntrack.create(words, tupleStart, hash, EGRESS, HOST, bytes, nowSeconds)
  }

  #lookup(ctx: PacketContext, direction: CtDirection): CtResult {
    const { words, tupleStart, hash, tcpFlags, nowSeconds } = ctx
    const bytes = ctx.packet.length
    return this.#conntrack.lookup(words, tupleStart, hash, direction, tcpFlags, bytes, nowSeconds)
  }

  #tellExhaustion(ctx: PacketContext): void {
    const nat = this.#nat
    ctx.detail[0] = nat.exhaustedTries
    ctx.detail[1] = nat.exhaustedRange
    ctx.detail[2] = nat.exhaustedInUse
    ctx.detail[3] = nat.mappings.entries.size
    ctx.detailCount = 4
  }
}

const isTranslatedError = (icmpType: number): boolean =>
  icmpType === icmpv4.Type.DESTINATION_UNREACHABLE || icmpType === icmpv4.Type.TIME_EXCEEDED

function isKnownCode(icmpType: number, code: number): boolean {
  const isUnreachable = icmpType === icmpv4.Type.DESTINATION_UNREACHABLE
  return code <= (isUnreachable ? UNREACHABLE_CODE_MAX : TIME_EXCEEDED_CODE_MAX)
}

/** An echo request's identifier is its tuple's destination port, see tuple.ts. */
function setEchoSource(ctx: PacketContext, address4: number, identifier: number): void {
  keepOriginal(ctx)
  ipv4.setSource(ctx.packet, ctx.l3Offset, address4)
  icmpv4.setIdentifier(ctx.packet, ctx.l4Offset, identifier)
  ctx.words[ctx.tupleStart + SOURCE4] = address4
  ctx.words[ctx.tupleStart + PORTS] = identifier
}

/** An echo reply's identifier is its tuple's source port. */
function setEchoDestination(ctx: PacketContext, address4: number, identifier: number): void {
  keepOriginal(ctx)
  ipv4.setDestination(ctx.packet, ctx.l3Offset, address4)
  icmpv4.setIdentifier(ctx.packet, ctx.l4Offset, identifier)
  ctx.words[ctx.tupleStart + DESTINATION4] = address4
  ctx.words[ctx.tupleStart + PORTS] = identifier << 16
}
