/**
 * Completes the checksums that a veth leaves undone. A sender with transmit offload (the kernel's
 * CHECKSUM_PARTIAL, Documentation/networking/checksum-offloads.rst) puts into the TCP or UDP
 * checksum field the folded sum of the pseudo header, not complemented, and trusts the device with
 * the rest; a veth passes the frame on as it is, and AF_XDP carries no mark of it. So the field
 * itself is the mark: it is partial when it equals the pseudo header's sum P.
 *
 * A right frame may have that value in its field by chance, once in 65,535. Completing it does no
 * harm. Let S be the sum of all other words; the frame is right when P + S + field is zero modulo
 * 0xffff, so field = -(P + S), and that is just what completing computes: ~(P + S). The result is
 * the same field. Only the two zeros of ones' complement may change places, 0xffff to 0 in TCP, and
 * to a receiver they are the same. UDP's "no checksum" is zero and P never is, for the protocol is
 * a part of it. What is lost: a frame damaged on its way whose field equals P would be made right,
 * once in 65,535 damaged frames, as many as any 16-bit checksum misses.
 *
 * Not here: SCTP, whose CRC32c is offloaded too, and UDP within tunnels of the pod's own (only the
 * outermost is looked at).
 */
import type { PacketBuffer } from '../packet/packet-buffer.js'
import * as checksums from './checksum.js'
import * as ipv4 from './ipv4.js'
import * as ipv6 from './ipv6.js'
import { Protocol } from './protocols.js'
import * as tcp from './tcp.js'
import * as udp from './udp.js'

/**
 * Completes the checksum when it is partial; true when it did. The caller has found a valid IPv4 or
 * IPv6 packet at `l3Offset` and its upper layer at `l4Offset`, and that all of it is in the frame.
 * A fragment is left alone: the kernel completes the checksum before it cuts a packet.
 *
 * @param protocol the upper layer's; any but TCP and UDP is left alone
 */
export function completePartialChecksum(
  p: PacketBuffer,
  l3Offset: number,
  l4Offset: number,
  protocol: number,
): boolean {
  if (protocol === Protocol.TCP) {
    if (!tcp.isValid(p, l4Offset)) return false
    const bytes = upperBytes(p, l3Offset, l4Offset)
    if (bytes < tcp.TCP_HEADER_BYTES) return false
    const pseudo = pseudoHeader(p, l3Offset, protocol, bytes)
    if (tcp.checksum(p, l4Offset) !== checksums.fold(pseudo)) return false
    if (isFragment(p, l3Offset, l4Offset)) return false
    tcp.fillChecksum(p, l4Offset, bytes, pseudo)
    return true
  }
  if (protocol === Protocol.UDP) {
    const bytes = upperBytes(p, l3Offset, l4Offset)
    // The pseudo header holds UDP's own length; the kernel leaves the two the same.
    if (!udp.isValid(p, l4Offset) || udp.length(p, l4Offset) !== bytes) return false
    const pseudo = pseudoHeader(p, l3Offset, protocol, bytes)
    if (udp.checksum(p, l4Offset) !== checksums.fold(pseudo)) return false
    if (isFragment(p, l3Offset, l4Offset)) return false
    udp.fillChecksum(p, l4Offset, pseudo)
    return true
  }
  return false
}

/** Bytes of the upper layer as IP tells them; Ethernet's padding is not among them. */
function upperBytes(p: PacketBuffer, l3Offset: number, l4Offset: number): number {
  const end =
    ipv4.version(p, l3Offset) === 4
      ? l3Offset + ipv4.totalLength(p, l3Offset)
      : l3Offset + ipv6.IPV6_HEADER_BYTES + ipv6.payloadLength(p, l3Offset)
  return p.has(end) ? end - l4Offset : 0
}

function pseudoHeader(p: PacketBuffer, l3Offset: number, protocol: number, bytes: number): number {
  return ipv4.version(p, l3Offset) === 4
    ? checksums.pseudoHeader4(p, l3Offset, protocol, bytes)
    : checksums.pseudoHeader6(p, l3Offset, protocol, bytes)
}

/** Asked last, since hardly any frame comes so far. */
function isFragment(p: PacketBuffer, l3Offset: number, l4Offset: number): boolean {
  if (ipv4.version(p, l3Offset) === 4) return ipv4.isFragment(p, l3Offset)
  if (l4Offset === l3Offset + ipv6.IPV6_HEADER_BYTES) return false
  const found = ipv6.upperLayer(p, l3Offset)
  return found < 0 || ipv6.isFragment(found)
}
