/** What of a packet and its context an explanation compares before and after a stage. */
import type { PacketContext } from '../pipeline/context.js'
import { formatAddress, formatIpv4, formatMac } from '../wire/address.js'
import * as ipv4 from '../wire/ipv4.js'
import { EtherType, Protocol } from '../wire/protocols.js'
import { TupleWord } from '../wire/tuple.js'
import { protocolName, tcpFlagNames } from './flow.js'

export interface Snapshot {
  readonly source: string
  readonly destination: string
  /** "10.0.1.1:40000 → 10.96.0.10:80". */
  readonly flow: string
  /** -1 where there is no IPv4 header. */
  readonly ttl: number
  readonly macs: string
  readonly sourceIdentity: number
  readonly destinationIdentity: number
  readonly revNatIndex: number
  readonly isLoopback: boolean
  readonly tunnel: string
}

export function snapshotOf(ctx: PacketContext): Snapshot {
  const source = formatAddress(ctx.words, ctx.sourceStart)
  const destination = formatAddress(ctx.words, ctx.destinationStart)
  const isIpv4 = ctx.etherType === EtherType.IPV4 && ctx.l3Verdict === 0
  return {
    source,
    destination,
    flow: flowText(ctx, source, destination),
    ttl: isIpv4 ? ipv4.ttl(ctx.packet, ctx.l3Offset) : -1,
    macs: macsOf(ctx),
    sourceIdentity: ctx.sourceIdentity,
    destinationIdentity: ctx.destinationIdentity,
    revNatIndex: ctx.revNatIndex,
    isLoopback: ctx.isLoopback,
    tunnel: ctx.tunnelEndpoint4 === 0 ? '' : formatIpv4(ctx.tunnelEndpoint4),
  }
}

function flowText(ctx: PacketContext, source: string, destination: string): string {
  const ports = ctx.words[ctx.tupleStart + TupleWord.PORTS] ?? 0
  if (ctx.protocol === Protocol.ICMPV4) return `${source} → ${destination}`
  return `${source}:${ports >>> 16} → ${destination}:${ports & 0xffff}`
}

function macsOf(ctx: PacketContext): string {
  const p = ctx.packet
  if (!p.has(12)) return ''
  const to = formatMac(p.i32(0), p.u16(4))
  const from = formatMac(p.i32(6), p.u16(10))
  return `${from} → ${to}`
}

/** "TCP 10.0.1.1:40000 → 10.0.1.2:80 SYN, 54 bytes". */
export function describePacket(ctx: PacketContext): string {
  const bytes = `${ctx.packet.length} bytes`
  if (ctx.etherType === EtherType.ARP) return `ARP, ${bytes}`
  if (ctx.etherType !== EtherType.IPV4) {
    return `EtherType 0x${(ctx.etherType & 0xffff).toString(16).padStart(4, '0')}, ${bytes}`
  }
  const { flow } = snapshotOf(ctx)
  const flags = ctx.protocol === Protocol.TCP ? ` ${tcpFlagNames(ctx.tcpFlags)}` : ''
  const icmp = ctx.protocol === Protocol.ICMPV4 ? ` type ${ctx.icmpType}` : ''
  return `${protocolName(ctx.protocol)} ${flow}${flags}${icmp}, ${bytes}`
}
