/**
 * Writes another source or destination into an IPv4 packet: address and port, all checksums over
 * them, and the packet's tuple in the context, so that the stages behind see the packet as it now
 * is. Call `canTranslate` first; then the rest cannot fail.
 */
import { flowHash } from '../conntrack/flow-hash.js'
import * as checksums from '../wire/checksum.js'
import * as icmpv4 from '../wire/icmpv4.js'
import * as ipv4 from '../wire/ipv4.js'
import { Protocol } from '../wire/protocols.js'
import * as sctp from '../wire/sctp.js'
import * as tcp from '../wire/tcp.js'
import { TupleWord } from '../wire/tuple.js'
import * as udp from '../wire/udp.js'
import type { PacketContext } from './context.js'
import { Frame } from './frame-table.js'

/**
 * Protocols with ports that we can change. Their header has been found whole (`ctx.l4Verdict` is
 * 0).
 *
 * False for SCTP whose checksum is wrong: the new one would hide it; and for SCTP in fragments, as
 * the sum is over the whole packet.
 */
export function canTranslate(ctx: PacketContext): boolean {
  if (ctx.protocol !== Protocol.SCTP) return true
  if (ctx.isFragment) return false
  const bytes = ipv4.payloadBytes(ctx.packet, ctx.l3Offset)
  return bytes >= sctp.SCTP_HEADER_BYTES && sctp.mayRenewChecksum(ctx.packet, ctx.l4Offset, bytes)
}

export const hasPorts = (protocol: number): boolean =>
  protocol === Protocol.TCP || protocol === Protocol.UDP || protocol === Protocol.SCTP

export function setSource(ctx: PacketContext, address: number, port: number): void {
  const { packet: p, l3Offset, words, tupleStart } = ctx
  keepOriginal(ctx)
  const delta = checksums.delta32(ipv4.source(p, l3Offset), address)
  ipv4.setSource(p, l3Offset, address)
  if (!ctx.isLaterFragment) writeSourcePort(ctx, port, delta)
  words[tupleStart + TupleWord.SOURCE + 3] = address
  const ports = words[tupleStart + TupleWord.PORTS] as number
  words[tupleStart + TupleWord.PORTS] = (port << 16) | (ports & 0xffff)
}

export function setDestination(ctx: PacketContext, address: number, port: number): void {
  const { packet: p, l3Offset, words, tupleStart } = ctx
  keepOriginal(ctx)
  const delta = checksums.delta32(ipv4.destination(p, l3Offset), address)
  ipv4.setDestination(p, l3Offset, address)
  if (!ctx.isLaterFragment) writeDestinationPort(ctx, port, delta)
  words[tupleStart + TupleWord.DESTINATION + 3] = address
  const ports = words[tupleStart + TupleWord.PORTS] as number
  words[tupleStart + TupleWord.PORTS] = (ports & ~0xffff) | port
}

/** To be called before a translation changes anything, so that `restoreOriginal` can undo it. */
export function keepOriginal(ctx: PacketContext): void {
  if (ctx.isTranslated) return
  const { words, tupleStart } = ctx
  ctx.isTranslated = true
  ctx.originalSource4 = words[tupleStart + TupleWord.SOURCE + 3] as number
  ctx.originalDestination4 = words[tupleStart + TupleWord.DESTINATION + 3] as number
  ctx.originalPorts = words[tupleStart + TupleWord.PORTS] as number
}

/**
 * Undoes every translation of a packet that does not go on after all: an answer to its sender shows
 * him what he sent. The hash stays that of the translated packet.
 */
export function restoreOriginal(ctx: PacketContext): void {
  if (!ctx.isTranslated) return
  if (hasPorts(ctx.protocol)) {
    setSource(ctx, ctx.originalSource4, ctx.originalPorts >>> 16)
    setDestination(ctx, ctx.originalDestination4, ctx.originalPorts & 0xffff)
  } else if (icmpv4.isEcho(ctx.icmpType)) {
    restoreEcho(ctx)
  }
  ctx.isTranslated = false
}

function restoreEcho(ctx: PacketContext): void {
  const { packet: p, l3Offset, l4Offset, words, tupleStart, originalPorts } = ctx
  ipv4.setSource(p, l3Offset, ctx.originalSource4)
  ipv4.setDestination(p, l3Offset, ctx.originalDestination4)
  // The identifier is one of the two ports, and the other is zero.
  icmpv4.setIdentifier(p, l4Offset, (originalPorts >>> 16) | (originalPorts & 0xffff))
  words[tupleStart + TupleWord.SOURCE + 3] = ctx.originalSource4
  words[tupleStart + TupleWord.DESTINATION + 3] = ctx.originalDestination4
  words[tupleStart + TupleWord.PORTS] = originalPorts
}

/** @param delta of the address, which the checksums of TCP and UDP cover */
function writeSourcePort(ctx: PacketContext, port: number, delta: number): void {
  const { packet: p, l3Offset, l4Offset } = ctx
  if (ctx.protocol === Protocol.TCP) {
    tcp.applyChecksumDelta(p, l4Offset, delta)
    tcp.setSourcePort(p, l4Offset, port)
  } else if (ctx.protocol === Protocol.UDP) {
    udp.applyChecksumDelta(p, l4Offset, delta)
    udp.setSourcePort(p, l4Offset, port)
  } else {
    sctp.setSourcePort(p, l4Offset, port)
    sctp.fillChecksum(p, l4Offset, ipv4.payloadBytes(p, l3Offset))
  }
}

function writeDestinationPort(ctx: PacketContext, port: number, delta: number): void {
  const { packet: p, l3Offset, l4Offset } = ctx
  if (ctx.protocol === Protocol.TCP) {
    tcp.applyChecksumDelta(p, l4Offset, delta)
    tcp.setDestinationPort(p, l4Offset, port)
  } else if (ctx.protocol === Protocol.UDP) {
    udp.applyChecksumDelta(p, l4Offset, delta)
    udp.setDestinationPort(p, l4Offset, port)
  } else {
    sctp.setDestinationPort(p, l4Offset, port)
    sctp.fillChecksum(p, l4Offset, ipv4.payloadBytes(p, l3Offset))
  }
}

/** For the lookups behind a translation. @param seed of the connection table */
export function renewHash(ctx: PacketContext, seed: number): void {
  ctx.hash = flowHash(ctx.words, ctx.tupleStart, seed)
  ctx.words[ctx.tupleStart + Frame.HASH] = ctx.hash
}

export function sourcePortOf(ctx: PacketContext): number {
  return (ctx.words[ctx.tupleStart + TupleWord.PORTS] as number) >>> 16
}
