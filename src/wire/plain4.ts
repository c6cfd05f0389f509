/**
 * The plain case of a frame, which nearly all are: Ethernet II, IPv4 without options, no fragment,
 * TCP or UDP, all of it there, and beginning at a multiple of eight bytes, as the kernel puts frames.
 * Every field then has a fixed place in the memory's 32-bit words, and a frame is compared, read and
 * rewritten by whole words, or pairs of them, in the machine's own order (little-endian; elsewhere
 * nothing is plain).
 *
 * `words` is the packet memory, `at` the index of the frame's first word:
 *
 *     0-2  MAC addresses                   7  source (low)       | destination (high)
 *     3    type | version, TOS             8  destination (low)  | source port
 *     4    total length | identification   9  destination port   | UDP length
 *     5    fragment | TTL, protocol       10  UDP checksum
 *     6    checksum | source (high)       11  TCP offset, flags (high half)   12  TCP checksum (high)
 *
 * The two ends of a flow, which are words 6 to 9 without the IP checksum and the UDP length, are kept
 * as three words: A is source (high) and destination port, B is word 7, C is word 8. They are for
 * comparing and putting back; nobody reads an address from them.
 *
 * Checksums are sums of 16-bit halves, and RFC 1071 section 2 (B) lets both operands be byte-swapped
 * alike: what is added here is swapped throughout, and so is the result.
 */
import * as checksums from './checksum.js'
import { Protocol } from './protocols.js'

const IS_LITTLE_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1
const { TCP, UDP } = Protocol

export const L3_OFFSET = 14
export const L4_OFFSET = 34
const ALIGNMENT_MASK = 7
const IPV4_BYTES = 20
const UDP_BYTES = 8
const TCP_BYTES = 20

const UPPER = 0xffff0000 | 0
const LOWER = 0xffff
/** 0x0800, then version 4 and a header of five words; type of service is left out. */
const TYPE_MASK = 0xffffff
const IPV4_PLAIN = 0x450008
/** More fragments, or an offset. */
const FRAGMENT_MASK = 0xff3f
/** FIN, SYN and RST, in the upper half's upper byte. */
const STATE_FLAGS = 0x0700_0000

const NONE = 0
const CHANGING = 1
const STEADY = 2
export const Plain = {
  NONE,
  /** TCP that opens, closes or resets. */
  CHANGING,
  /** UDP, or TCP in the midst of a connection. */
  STEADY,
} as const
export type Plain = (typeof Plain)[keyof typeof Plain]

const swap16 = (half: number): number => ((half & 0xff) << 8) | ((half >>> 8) & 0xff)

/** @param start byte that the frame begins at @param bytes of the frame */
export const classify = (words: Int32Array, start: number, bytes: number): Plain => {
  const at = start >> 2
  if (!IS_LITTLE_ENDIAN || (start & ALIGNMENT_MASK) !== 0 || bytes < L4_OFFSET + UDP_BYTES)
    return NONE
  if (((words[at + 3] as number) & TYPE_MASK) !== IPV4_PLAIN) return NONE
  const total = swap16(words[at + 4] as number)
  const fragmentWord = words[at + 5] as number
  if ((fragmentWord & FRAGMENT_MASK) !== 0 || bytes < L3_OFFSET + total) return NONE
  const protocol = fragmentWord >>> 24
  if (protocol === UDP) {
    const udpBytes = swap16((words[at + 9] as number) >>> 16)
    return udpBytes >= UDP_BYTES && udpBytes === total - IPV4_BYTES ? STEADY : NONE
  }
  if (protocol !== TCP || total < IPV4_BYTES + TCP_BYTES) return NONE
  const offsetAndFlags = words[at + 11] as number
  const headerBytes = ((offsetAndFlags >>> 20) & 0xf) << 2
  if (headerBytes < TCP_BYTES || total < IPV4_BYTES + headerBytes) return NONE
  return (offsetAndFlags & STATE_FLAGS) === 0 ? STEADY : CHANGING
}

export const ttl = (words: Int32Array, at: number): number =>
  ((words[at + 5] as number) >>> 16) & 0xff
export const protocol = (words: Int32Array, at: number): number => (words[at + 5] as number) >>> 24
export const endsA = (words: Int32Array, at: number): number =>
  ((words[at + 6] as number) & UPPER) | ((words[at + 9] as number) & LOWER)
export const endsB = (words: Int32Array, at: number): number => words[at + 7] as number
export const endsC = (words: Int32Array, at: number): number => words[at + 8] as number
/** The same words from addresses and ports as numbers, of a packet that need not be plain itself. */
export const packA = (source: number, destinationPort: number): number =>
  (swap16(source >>> 16) << 16) | swap16(destinationPort)
export const packB = (source: number, destination: number): number =>
  (swap16(destination >>> 16) << 16) | swap16(source)
export const packC = (destination: number, sourcePort: number): number =>
  (swap16(sourcePort) << 16) | swap16(destination)

/**
 * Sum of the pseudo header of packets with these ends, folded, less what the IP header's total length has more
 * than the transport's: with the total length added it is the whole pseudo header's.
 *
 * @param ipProtocol the low byte of its 16 bits in the pseudo header, and so the high one here: all
 * halves are swapped
 */
export const pseudo = (a: number, b: number, c: number, ipProtocol: number): number =>
  checksums.fold(
    (a >>> 16) +
      checksums.word(b) +
      (c & LOWER) +
      (ipProtocol << 8) +
      checksums.delta16(swap16(IPV4_BYTES), 0),
  )

/**
 * Is the transport's checksum the sum of the pseudo header, as a sender with offload leaves it (see
 * partial-checksum.ts)?
 *
 * @param sum from `pseudo`
 */
export const isChecksumPartial = (words: Int32Array, at: number, sum: number): boolean => {
  const field =
    (words[at + 5] as number) >>> 24 === UDP
      ? (words[at + 10] as number) & LOWER
      : (words[at + 12] as number) >>> 16
  return field === checksums.add16(sum, (words[at + 4] as number) & LOWER)
}

/**
 * What a change of the ends and of the TTL adds to the checksums: the IP header's in the upper half,
 * the transport's in the lower; 0 where nothing changes.
 *
 * @param hops by which the TTL goes down
 */
export function deltas(
  a: number,
  b: number,
  c: number,
  newA: number,
  newB: number,
  newC: number,
  hops: number,
): number {
  const isTranslated = a !== newA || b !== newB || c !== newC
  const addresses =
    checksums.delta16(a >>> 16, newA >>> 16) +
    checksums.delta32(b, newB) +
    checksums.delta16(c & LOWER, newC & LOWER)
  const ports =
    checksums.delta16(c >>> 16, newC >>> 16) + checksums.delta16(a & LOWER, newA & LOWER)
  const isChanged = isTranslated || hops !== 0
  // The TTL is the low byte of its half, which is swapped: what it goes down by is the difference itself.
  const l3 = isChanged ? checksums.fold(addresses + checksums.delta16(hops, 0)) : 0
  const l4 = isTranslated ? checksums.fold(addresses + ports) : 0
  return (l3 << 16) | l4
}

/**
 * Writes TTL and ends of the IP and transport header.
 *
 * @param hops by which the TTL goes down; less than it is, which the caller has seen: or the subtraction
 * would borrow from the protocol
 * @param change from `deltas`
 */
export const rewrite = (
  words: Int32Array,
  at: number,
  a: number,
  b: number,
  c: number,
  hops: number,
  change: number,
): void => {
  const l3 = change >>> 16
  const l4 = change & LOWER
  let checksum = (words[at + 6] as number) & LOWER
  if (l3 !== 0) checksum = checksums.apply16(checksum, l3)
  words[at + 5] = (words[at + 5] as number) - (hops << 16)
  words[at + 6] = (a & UPPER) | checksum
  words[at + 7] = b
  words[at + 8] = c
  words[at + 9] = ((words[at + 9] as number) & UPPER) | (a & LOWER)
  if (l4 !== 0) applyTransportDelta(words, at, l4)
}

/** RFC 768: a datagram without checksum keeps none, and a computed zero is sent as all ones. */
const applyTransportDelta = (words: Int32Array, at: number, delta: number): void => {
  if ((words[at + 5] as number) >>> 24 === TCP) {
    const word = words[at + 12] as number
    words[at + 12] = (checksums.apply16(word >>> 16, delta) << 16) | (word & LOWER)
    return
  }
  const word = words[at + 10] as number
  if ((word & LOWER) === 0) return
  const checksum = checksums.apply16(word & LOWER, delta)
  words[at + 10] = (word & UPPER) | (checksum === 0 ? LOWER : checksum)
}
