/**
 * The reset that a segment gets which nobody expects, as if from its destination: the sequence
 * numbers of RFC 9293 section 3.10.7.1 (state CLOSED), made in place from the segment. Not here:
 * fragments, whose length the header does not tell.
 */
import type { PacketBuffer } from '../packet/packet-buffer.js'
import * as checksums from './checksum.js'
import * as ipv4 from './ipv4.js'
import { Protocol } from './protocols.js'
import * as tcp from './tcp.js'

const RESET_TTL = 64
const RESET_BYTES = ipv4.IPV4_HEADER_BYTES + tcp.TCP_HEADER_BYTES

/** "If the RST bit is set, then discard": no reset is answered with one. */
export const isReset = (p: PacketBuffer, l4Offset: number): boolean =>
  (tcp.flags(p, l4Offset) & tcp.Flag.RST) !== 0

/**
 * Turns the whole, valid IPv4 packet with a TCP segment into the reset that answers it; all but the
 * link layer is written anew. The caller has seen that it is no reset itself.
 */
export function turnIntoReset(p: PacketBuffer, l3Offset: number): void {
  const at = ipv4.payloadOffset(p, l3Offset)
  const flags = tcp.flags(p, at)
  const hasAcknowledgment = (flags & tcp.Flag.ACK) !== 0
  const sequence = hasAcknowledgment ? tcp.acknowledgment(p, at) : 0
  const acknowledgment = hasAcknowledgment ? 0 : endOfSegment(p, l3Offset, at, flags)
  const resetFlags = hasAcknowledgment ? tcp.Flag.RST : tcp.Flag.RST | tcp.Flag.ACK
  const from = ipv4.destination(p, l3Offset)
  const to = ipv4.source(p, l3Offset)
  const fromPort = tcp.destinationPort(p, at)
  const toPort = tcp.sourcePort(p, at)
  const reset = l3Offset + ipv4.IPV4_HEADER_BYTES
  p.setLength(l3Offset + RESET_BYTES)
  ipv4.writeHeader(p, l3Offset, RESET_BYTES, RESET_TTL, Protocol.TCP, from, to)
  tcp.writeHeader(p, reset, fromPort, toPort, sequence, acknowledgment, resetFlags, 0)
  const pseudo = checksums.pseudoHeader4(p, l3Offset, Protocol.TCP, tcp.TCP_HEADER_BYTES)
  tcp.fillChecksum(p, reset, tcp.TCP_HEADER_BYTES, pseudo)
}

/** SEG.SEQ + SEG.LEN, where SYN and FIN count as one byte each. */
function endOfSegment(p: PacketBuffer, l3Offset: number, at: number, flags: number): number {
  const dataBytes = ipv4.payloadBytes(p, l3Offset) - tcp.headerBytes(p, at)
  const syn = (flags & tcp.Flag.SYN) === 0 ? 0 : 1
  const fin = (flags & tcp.Flag.FIN) === 0 ? 0 : 1
  return (tcp.sequence(p, at) + Math.max(0, dataBytes) + syn + fin) | 0
}
