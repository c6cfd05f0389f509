/**
 * The tuple that names a packet's flow, as int32 words: source address (4), destination address
 * (4), ports (source << 16 | destination), protocol. An IPv4 address a.b.c.d is the IPv6 address
 * ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2), so one table serves both families.
 *
 * ICMP echo has an identifier instead of ports. As in Cilium's lib/conntrack.h it is a request's
 * destination port and a reply's source port, the other being zero, so that a reply's tuple is its
 * request's turned round.
 */
import type { PacketBuffer } from '../packet/packet-buffer.js'
import * as icmpv4 from './icmpv4.js'
import * as icmpv6 from './icmpv6.js'
import * as ipv4 from './ipv4.js'
import * as ipv6 from './ipv6.js'
import { Protocol } from './protocols.js'

export const TUPLE_WORDS = 10
/** Indices of the words, from a tuple's first. */
export const TupleWord = { SOURCE: 0, DESTINATION: 4, PORTS: 8, PROTOCOL: 9 } as const

/** Third word of an IPv4 address, whose first two are zero. */
export const IPV4_MAPPED = 0xffff

export const TupleStatus = {
  /** All words are there; the ports of an ICMP message that is neither echo nor error are zero. */
  OK: 0,
  /** The packet ends before its ports; they are written as zero. */
  TRUNCATED: 1,
  /** Not a protocol whose ports we know; they are written as zero. */
  NO_PORTS: 2,
  /** A later fragment: the ports are in the first one; written as zero. */
  LATER_FRAGMENT: 3,
  /** An ICMP error: ports zero; `readQuoted` reads the flow it is about. */
  ICMP_ERROR: 4,
} as const
export type TupleStatus = (typeof TupleStatus)[keyof typeof TupleStatus]

/** TCP, UDP and SCTP (RFC 9260 section 3.1) all begin with the two ports. */
const PORTS = 0
const PORTS_BYTES = 4
/** Ports, or as much of ICMP as holds the identifier: RFC 792's 64 bits. */
const ECHO_BYTES = 8

/** Writes to `turned` the tuple of the other direction of the one at `start`. */
export function writeTurned(turned: Int32Array, words: Int32Array, start: number): void {
  for (let i = 0; i < 4; i++) {
    turned[i] = words[start + TupleWord.DESTINATION + i] as number
    turned[TupleWord.DESTINATION + i] = words[start + i] as number
  }
  const ports = words[start + TupleWord.PORTS] as number
  turned[TupleWord.PORTS] = (ports << 16) | (ports >>> 16)
  turned[TupleWord.PROTOCOL] = words[start + TupleWord.PROTOCOL] as number
}

/**
 * Writes the packet's tuple to `words[index]` and the nine after it. The caller has found the IPv4
 * or IPv6 header at `l3Offset` valid, and the upper layer of that `protocol` at `l4Offset`.
 */
export function readTuple(
  p: PacketBuffer,
  l3Offset: number,
  l4Offset: number,
  protocol: number,
  words: Int32Array,
  index: number,
): TupleStatus {
  words[index + TupleWord.PROTOCOL] = protocol
  if (ipv4.version(p, l3Offset) !== 4) {
    return readTuple6(p, l3Offset, l4Offset, protocol, words, index)
  }
  words[index] = 0
  words[index + 1] = 0
  words[index + 2] = IPV4_MAPPED
  words[index + 3] = ipv4.source(p, l3Offset)
  words[index + 4] = 0
  words[index + 5] = 0
  words[index + 6] = IPV4_MAPPED
  words[index + 7] = ipv4.destination(p, l3Offset)
  words[index + TupleWord.PORTS] = 0
  if (ipv4.isLaterFragment(p, l3Offset)) return TupleStatus.LATER_FRAGMENT
  const end = l3Offset + ipv4.totalLength(p, l3Offset)
  return readPorts(p, l4Offset, end, protocol, words, index + TupleWord.PORTS)
}

/**
 * Writes the tuple of the packet that the ICMP error at `icmpOffset` quotes, as that packet had it:
 * its source is whom the error is for. TRUNCATED, and nothing to be used, when the quote does not
 * reach the ports. `isIpv4` says which ICMP it is.
 */
export function readQuoted(
  p: PacketBuffer,
  icmpOffset: number,
  isIpv4: boolean,
  words: Int32Array,
  index: number,
): TupleStatus {
  if (isIpv4) {
    const quoted = icmpv4.quotedOffset(icmpOffset)
    if (!ipv4.isHeaderValid(p, quoted)) return TupleStatus.TRUNCATED
    const l4Offset = ipv4.payloadOffset(p, quoted)
    return readTuple(p, quoted, l4Offset, ipv4.protocol(p, quoted), words, index)
  }
  const quoted = icmpv6.quotedOffset(icmpOffset)
  if (!ipv6.isHeaderValid(p, quoted)) return TupleStatus.TRUNCATED
  const found = ipv6.upperLayer(p, quoted)
  if (found < 0) return TupleStatus.TRUNCATED
  const l4Offset = ipv6.upperOffset(found)
  return readTuple(p, quoted, l4Offset, ipv6.upperProtocol(found), words, index)
}

function readTuple6(
  p: PacketBuffer,
  l3Offset: number,
  l4Offset: number,
  protocol: number,
  words: Int32Array,
  index: number,
): TupleStatus {
  for (let i = 0; i < 4; i++) {
    words[index + TupleWord.SOURCE + i] = ipv6.sourceWord(p, l3Offset, i)
    words[index + TupleWord.DESTINATION + i] = ipv6.destinationWord(p, l3Offset, i)
  }
  words[index + TupleWord.PORTS] = 0
  if (isLaterFragment6(p, l3Offset, l4Offset)) return TupleStatus.LATER_FRAGMENT
  const end = ipv6.end(p, l3Offset)
  return readPorts(p, l4Offset, end, protocol, words, index + TupleWord.PORTS)
}

/** What lies in Ethernet's padding is not a port, so IP's own length (`end`) bounds it too. */
function readPorts(
  p: PacketBuffer,
  at: number,
  end: number,
  protocol: number,
  words: Int32Array,
  index: number,
): TupleStatus {
  if (protocol !== Protocol.TCP && protocol !== Protocol.UDP && protocol !== Protocol.SCTP) {
    return readIcmp(p, at, end, protocol, words, index)
  }
  if (at + PORTS_BYTES > end || !p.has(at + PORTS_BYTES)) return TupleStatus.TRUNCATED
  words[index] = p.i32(at + PORTS)
  return TupleStatus.OK
}

/**
 * Only behind extension headers can a fragment header stand; such packets are rare: walked again.
 */
function isLaterFragment6(p: PacketBuffer, l3Offset: number, l4Offset: number): boolean {
  if (l4Offset === l3Offset + ipv6.IPV6_HEADER_BYTES) return false
  const found = ipv6.upperLayer(p, l3Offset)
  return found >= 0 && ipv6.isLaterFragment(found)
}

function readIcmp(
  p: PacketBuffer,
  at: number,
  end: number,
  protocol: number,
  words: Int32Array,
  index: number,
): TupleStatus {
  if (protocol !== Protocol.ICMPV4 && protocol !== Protocol.ICMPV6) return TupleStatus.NO_PORTS
  if (at + ECHO_BYTES > end || !p.has(at + ECHO_BYTES)) return TupleStatus.TRUNCATED
  return protocol === Protocol.ICMPV4
    ? readEcho4(p, at, words, index)
    : readEcho6(p, at, words, index)
}

function readEcho4(p: PacketBuffer, at: number, words: Int32Array, ports: number): TupleStatus {
  const type = icmpv4.type(p, at)
  if (type === icmpv4.Type.ECHO_REQUEST) words[ports] = icmpv4.identifier(p, at)
  else if (type === icmpv4.Type.ECHO_REPLY) words[ports] = icmpv4.identifier(p, at) << 16
  else if (icmpv4.isError(type)) return TupleStatus.ICMP_ERROR
  return TupleStatus.OK
}

function readEcho6(p: PacketBuffer, at: number, words: Int32Array, ports: number): TupleStatus {
  const type = icmpv6.type(p, at)
  if (type === icmpv6.Type.ECHO_REQUEST) words[ports] = icmpv6.identifier(p, at)
  else if (type === icmpv6.Type.ECHO_REPLY) words[ports] = icmpv6.identifier(p, at) << 16
  else if (icmpv6.isError(type)) return TupleStatus.ICMP_ERROR
  return TupleStatus.OK
}
