/**
 * The Internet checksum (RFC 1071): ones' complement of the ones' complement sum of 16-bit words.
 *
 * A *sum* is an int32 holding up to 2^32 - 1 as unsigned bits, not folded, so that partial sums are
 * joined by adding; it has room for 65,536 words. A *checksum* is the uint16 as it stands in a
 * header. A *delta* is a sum that describes a change and may be kept and applied to any checksum
 * over the changed words. Not here: CRC32c of SCTP. What the flow lane calls for each packet,
 * here and in plain4.ts and envelope4.ts, is a constant and no declaration: V8 need not look then
 * which function it is (docs/adr/0020).
 */
import type { PacketBuffer } from '../packet/packet-buffer.js'

const IPV4_SOURCE = 12
const IPV4_DESTINATION = 16
const IPV6_SOURCE = 8
const IPV6_DESTINATION = 24
const IPV6_ADDRESS_BYTES = 16

/**
 * The 16 bits of a sum. Zero only for the sum zero: a sum of anything else folds to 1 to 0xffff.
 */
export const fold = (sum: number): number => {
  const once = (sum >>> 16) + (sum & 0xffff)
  return (once >>> 16) + (once & 0xffff)
}

/** The checksum to put in a header whose words, checksum taken as zero, add up to `sum`. */
export const complement = (sum: number): number => ~fold(sum) & 0xffff

/** The sum of one 32-bit word: its two halves. */
export const word = (value: number): number => (value >>> 16) + (value & 0xffff)

/**
 * Adds the bytes from `offset` on to `initial`. An odd last byte counts as the high half of a word
 * (RFC 1071 section 1), so only the last range of a sum may be odd. The caller has checked that the
 * packet has them.
 */
export function sumBytes(
  packet: PacketBuffer,
  offset: number,
  byteCount: number,
  initial: number,
): number {
  return (packet.sum16(offset, byteCount) + initial) | 0
}

/** The delta of one 16-bit field going from `before` to `after` (RFC 1624 equation 3: ~m + m'). */
export function delta16(before: number, after: number): number {
  return (~before & 0xffff) + (after & 0xffff)
}

/**
 * The delta of one 32-bit field going from `before` to `after`. At most 2^18: add as many as a
 * packet has fields.
 */
export function delta32(before: number, after: number): number {
  return (~before >>> 16) + (~before & 0xffff) + (after >>> 16) + (after & 0xffff)
}

/**
 * The checksum after a change. RFC 1624 equation 3, HC' = ~(~HC + ~m + m'), whose result equals the
 * recomputed one; equation 2 of RFC 1141 would answer 0xffff where that is 0.
 */
export const apply = (checksum: number, delta: number): number =>
  ~fold((~checksum & 0xffff) + delta) & 0xffff

/** The 16 bits of the sum of two 16-bit numbers, whose carry, added back in, leaves no other. */
export const add16 = (a: number, b: number): number => {
  const sum = a + b
  return (sum + (sum >>> 16)) & 0xffff
}

/** `apply` for a delta that is folded already. */
export const apply16 = (checksum: number, delta: number): number =>
  ~add16(~checksum & 0xffff, delta) & 0xffff

export function update16(checksum: number, before: number, after: number): number {
  return apply(checksum, delta16(before, after))
}

export function update32(checksum: number, before: number, after: number): number {
  return apply(checksum, delta32(before, after))
}

/**
 * Sum of the IPv4 pseudo header (RFC 9293 section 3.1) of the packet at `l3Offset`; never zero, for
 * protocol is not.
 */
export function pseudoHeader4(
  packet: PacketBuffer,
  l3Offset: number,
  protocol: number,
  l4Bytes: number,
): number {
  const source = packet.i32(l3Offset + IPV4_SOURCE)
  const destination = packet.i32(l3Offset + IPV4_DESTINATION)
  return word(source) + word(destination) + protocol + l4Bytes
}

/**
 * Sum of the IPv6 pseudo header (RFC 8200 section 8.1). Not for a packet with a routing header
 * still to be walked.
 */
export function pseudoHeader6(
  packet: PacketBuffer,
  l3Offset: number,
  protocol: number,
  l4Bytes: number,
): number {
  let sum = protocol + l4Bytes
  for (let at = 0; at < IPV6_ADDRESS_BYTES; at += 4) {
    sum += word(packet.i32(l3Offset + IPV6_SOURCE + at))
    sum += word(packet.i32(l3Offset + IPV6_DESTINATION + at))
  }
  return sum
}
