/**
 * Changes one end (address and port, or the identifier of a ping) of the IPv4 packet that an ICMP
 * error quotes, when the error crosses a translation, and keeps every checksum right that is there to be kept: the quoted IP
 * header's, the quoted transport header's as far as the quote reaches, and the error's own. Not
 * here: IPv6, the error's own addresses.
 */
import type { PacketBuffer } from '../packet/packet-buffer.js'
import * as checksums from './checksum.js'
import * as icmpv4 from './icmpv4.js'
import * as ipv4 from './ipv4.js'
import { Protocol } from './protocols.js'
import * as tcp from './tcp.js'
import * as udp from './udp.js'

/** Of TCP, UDP and SCTP. */
const SOURCE_PORT = 0
const DESTINATION_PORT = 2
/** Up to the end of TCP's checksum. */
const TCP_CHECKSUM_END = 18

/**
 * The caller has seen `icmpv4.isQuoteValid`, and that the quoted packet is of TCP, UDP or SCTP, or an
 * ICMP echo, whose identifier is what changes then.
 *
 * @param icmpOffset where the ICMP message begins
 * @param end offset behind the message, as IP tells
 */
export function setQuotedSource(
  p: PacketBuffer,
  icmpOffset: number,
  end: number,
  address: number,
  port: number,
): void {
  setEnd(p, icmpOffset, end, true, address, port)
}

/** As `setQuotedSource`, for the other end. */
export function setQuotedDestination(
  p: PacketBuffer,
  icmpOffset: number,
  end: number,
  address: number,
  port: number,
): void {
  setEnd(p, icmpOffset, end, false, address, port)
}

function setEnd(
  p: PacketBuffer,
  icmpOffset: number,
  end: number,
  isSource: boolean,
  address: number,
  port: number,
): void {
  const l3 = icmpv4.quotedOffset(icmpOffset)
  const l4 = ipv4.payloadOffset(p, l3)
  const touched = Math.min(end, l4 + TCP_CHECKSUM_END) - l3
  const before = checksums.fold(checksums.sumBytes(p, l3, touched, 0))
  const from = isSource ? ipv4.source(p, l3) : ipv4.destination(p, l3)
  if (isSource) ipv4.setSource(p, l3, address)
  else ipv4.setDestination(p, l3, address)
  setPort(p, l4, end, ipv4.protocol(p, l3), isSource, checksums.delta32(from, address), port)
  const after = checksums.fold(checksums.sumBytes(p, l3, touched, 0))
  icmpv4.applyChecksumDelta(p, icmpOffset, checksums.delta16(before, after))
}

function setPort(
  p: PacketBuffer,
  l4: number,
  end: number,
  protocol: number,
  isSource: boolean,
  addressDelta: number,
  port: number,
): void {
  if (protocol === Protocol.UDP) {
    udp.applyChecksumDelta(p, l4, addressDelta)
    if (isSource) udp.setSourcePort(p, l4, port)
    else udp.setDestinationPort(p, l4, port)
    return
  }
  if (protocol === Protocol.TCP && l4 + TCP_CHECKSUM_END <= end) {
    tcp.applyChecksumDelta(p, l4, addressDelta)
    if (isSource) tcp.setSourcePort(p, l4, port)
    else tcp.setDestinationPort(p, l4, port)
    return
  }
  if (protocol === Protocol.ICMPV4) {
    icmpv4.setIdentifier(p, l4, port)
    return
  }
  // Its checksum is not in the quote, or is SCTP's, which no part of a packet can tell.
  p.setU16(l4 + (isSource ? SOURCE_PORT : DESTINATION_PORT), port)
}
