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
import { TupleWord } from './tuple.js'
import * as udp from './udp.js'

/**
 * Completes the checksum when it is partial; true when it did. The caller has found a valid IPv4 or
 * IPv6 packet at `l3Offset` and its upper layer at `l4Offset`. A fragment is left alone: the kernel
 * completes the checksum before it cuts a packet. So is a header that is malformed.
 *
 * Asked of every frame, it is the comparison alone that is here; the rest comes to hardly any.
 *
 * @param protocol the upper layer's; any but TCP and UDP is left alone
 */
export function completePartialChecksum(
  p: PacketBuffer,
  l3Offset: number,
  l4Offset: number,
  protocol: number,
): boolean {
  let field: number
  if (protocol === Protocol.TCP && p.has(l4Offset + tcp.TCP_HEADER_BYTES)) {
    field = tcp.checksum(p, l4Offset)
  } else if (protocol === Protocol.UDP && p.has(l4Offset + udp.UDP_HEADER_BYTES)) {
    field = udp.checksum(p, l4Offset)
  } else {
    return false
  }
  const isIpv4 = ipv4.version(p, l3Offset) === 4
  const end = isIpv4 ? l3Offset + ipv4.totalLength(p, l3Offset) : ipv6.end(p, l3Offset)
  const bytes = end - l4Offset
  const pseudo = isIpv4
    ? checksums.pseudoHeader4(p, l3Offset, protocol, bytes)
    : checksums.pseudoHeader6(p, l3Offset, protocol, bytes)
  return (
    field === checksums.fold(pseudo) && complete(p, l3Offset, l4Offset, protocol, bytes, pseudo)
  )
}

/**
 * The same for an IPv4 packet whose tuple has been read to `words[index]` on (see tuple.ts) and
 * whose transport header is known to be whole: nothing of the packet is read again but its length
 * and the field.
 */
export function completePartialChecksum4(
  p: PacketBuffer,
  l3Offset: number,
  l4Offset: number,
  words: Int32Array,
  index: number,
): boolean {
  const protocol = words[index + TupleWord.PROTOCOL] as number
  let field: number
  if (protocol === Protocol.TCP) field = tcp.checksum(p, l4Offset)
  else if (protocol === Protocol.UDP) field = udp.checksum(p, l4Offset)
  else return false
  const source = words[index + TupleWord.SOURCE + 3] as number
  const destination = words[index + TupleWord.DESTINATION + 3] as number
  const bytes = l3Offset + ipv4.totalLength(p, l3Offset) - l4Offset
  const addresses =
    (source >>> 16) + (source & 0xffff) + (destination >>> 16) + (destination & 0xffff)
  const pseudo = addresses + protocol + bytes
  return (
    field === checksums.fold(pseudo) && complete(p, l3Offset, l4Offset, protocol, bytes, pseudo)
  )
}

/** The field has the value: what remains is to see that the packet is whole, and to sum it. */
function complete(
  p: PacketBuffer,
  l3Offset: number,
  l4Offset: number,
  protocol: number,
  bytes: number,
  pseudo: number,
): boolean {
  if (!p.has(l4Offset + bytes) || isFragment(p, l3Offset, l4Offset)) return false
  if (protocol === Protocol.TCP) {
    if (!tcp.isValid(p, l4Offset) || tcp.headerBytes(p, l4Offset) > bytes) return false
    tcp.fillChecksum(p, l4Offset, bytes, pseudo)
    return true
  }
  // The pseudo header holds UDP's own length; the kernel leaves it the same as IP's.
  if (!udp.isValid(p, l4Offset) || udp.length(p, l4Offset) !== bytes) return false
  udp.fillChecksum(p, l4Offset, pseudo)
  return true
}

function isFragment(p: PacketBuffer, l3Offset: number, l4Offset: number): boolean {
  if (ipv4.version(p, l3Offset) === 4) return ipv4.isFragment(p, l3Offset)
  if (l4Offset === l3Offset + ipv6.IPV6_HEADER_BYTES) return false
  const found = ipv6.upperLayer(p, l3Offset)
  return found < 0 || ipv6.isFragment(found)
}
