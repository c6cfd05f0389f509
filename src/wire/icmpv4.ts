/**
 * ICMP for IPv4 (RFC 792), with what RFC 1122 section 3.2.2 and RFC 1812 section 4.3 say of errors.
 * Writers keep the checksum, which has no pseudo header. Not here: rate limits (RFC 1812 section
 * 4.3.2.8), extensions (RFC 4884).
 */
import type { PacketBuffer } from '../packet/packet-buffer.js'
import * as checksums from './checksum.js'
import * as ethernet from './ethernet.js'
import * as ipv4 from './ipv4.js'
import { Protocol } from './protocols.js'

export const ICMPV4_HEADER_BYTES = 8
/**
 * What errors quote of a packet where Cilium sends them too; more only where its header needs that,
 * see `quotedBytes`.
 */
export const ICMPV4_QUOTE_BYTES = 64
/**
 * RFC 1812 section 4.3.2.3: as much as fits an error of 576 bytes, which every host takes. Enough
 * for a tunnel's headers and those within.
 */
export const ICMPV4_QUOTE_BYTES_MAX = 576 - 28

export const Type = {
  ECHO_REPLY: 0,
  DESTINATION_UNREACHABLE: 3,
  SOURCE_QUENCH: 4,
  REDIRECT: 5,
  ECHO_REQUEST: 8,
  TIME_EXCEEDED: 11,
  PARAMETER_PROBLEM: 12,
} as const

/** Codes of DESTINATION_UNREACHABLE that we send or treat specially. */
export const Unreachable = { HOST: 1, PORT: 3, FRAGMENTATION_NEEDED: 4, PROHIBITED: 13 } as const

const TYPE = 0
const CODE = 1
const CHECKSUM = 2
const IDENTIFIER = 4
const SEQUENCE = 6
const NEXT_HOP_MTU = 6

/** What an error adds in front of the packet it quotes. */
export const ERROR_OVERHEAD_BYTES = ipv4.IPV4_HEADER_BYTES + ICMPV4_HEADER_BYTES
const ERROR_TTL = 64

export function isValid(p: PacketBuffer, at: number): boolean {
  return p.has(at + ICMPV4_HEADER_BYTES)
}

export const type = (p: PacketBuffer, at: number) => p.u8(at + TYPE)
export const code = (p: PacketBuffer, at: number) => p.u8(at + CODE)
export const checksum = (p: PacketBuffer, at: number) => p.u16(at + CHECKSUM)
/** Of an echo request or reply. */
export const identifier = (p: PacketBuffer, at: number) => p.u16(at + IDENTIFIER)
/** Of an echo request or reply. */
export const sequence = (p: PacketBuffer, at: number) => p.u16(at + SEQUENCE)
/** Of "fragmentation needed" (RFC 1191 section 4); zero from a router that does not know it. */
export const nextHopMtu = (p: PacketBuffer, at: number) => p.u16(at + NEXT_HOP_MTU)
/** Where an error's quoted packet begins. */
export const quotedOffset = (at: number) => at + ICMPV4_HEADER_BYTES

/** The messages that RFC 1122 section 3.2.2 calls errors, all of which quote a packet. */
export function isError(icmpType: number): boolean {
  return (
    icmpType === Type.DESTINATION_UNREACHABLE ||
    icmpType === Type.TIME_EXCEEDED ||
    icmpType === Type.PARAMETER_PROBLEM ||
    icmpType === Type.REDIRECT ||
    icmpType === Type.SOURCE_QUENCH
  )
}

export function isEcho(icmpType: number): boolean {
  return icmpType === Type.ECHO_REQUEST || icmpType === Type.ECHO_REPLY
}

/**
 * The quoted packet can be told: its header is whole, and the first 8 bytes of its data are there,
 * which RFC 792 promises and which hold the ports.
 *
 * @param end offset behind the message, as IP tells: what follows in the frame is padding
 */
export function isQuoteValid(p: PacketBuffer, at: number, end: number): boolean {
  const quoted = quotedOffset(at)
  return ipv4.isHeaderValid(p, quoted) && ipv4.payloadOffset(p, quoted) + 8 <= end && p.has(end)
}

/** @param messageBytes header and data, as IP tells */
export function isChecksumRight(p: PacketBuffer, at: number, messageBytes: number): boolean {
  return checksums.fold(checksums.sumBytes(p, at, messageBytes, 0)) === 0xffff
}

export function setIdentifier(p: PacketBuffer, at: number, value: number): void {
  setHalf(p, at, IDENTIFIER, value)
}

export function setSequence(p: PacketBuffer, at: number, value: number): void {
  setHalf(p, at, SEQUENCE, value)
}

/** Turns an echo request into its reply; the addresses are the caller's. */
export function turnIntoReply(p: PacketBuffer, at: number): void {
  setHalf(p, at, TYPE, (Type.ECHO_REPLY << 8) | p.u8(at + CODE))
}

/** Takes over a change in the data, such as in a quoted packet. */
export function applyChecksumDelta(p: PacketBuffer, at: number, delta: number): void {
  p.setU16(at + CHECKSUM, checksums.apply(p.u16(at + CHECKSUM), delta))
}

/**
 * Writes the first 8 bytes, checksum zero; `fillChecksum` follows. `rest` is the second word: id
 * and sequence, or MTU.
 */
export function writeHeader(
  p: PacketBuffer,
  at: number,
  icmpType: number,
  icmpCode: number,
  rest: number,
): void {
  p.setU8(at + TYPE, icmpType)
  p.setU8(at + CODE, icmpCode)
  p.setU16(at + CHECKSUM, 0)
  p.setI32(at + IDENTIFIER, rest)
}

/** Computes the checksum afresh over header and data. */
export function fillChecksum(p: PacketBuffer, at: number, messageBytes: number): void {
  p.setU16(at + CHECKSUM, 0)
  const sum = checksums.sumBytes(p, at, messageBytes, 0)
  p.setU16(at + CHECKSUM, checksums.complement(sum))
}

/**
 * Whether RFC 1122 section 3.2.2 lets us answer the valid IPv4 packet at `l3Offset` with an error:
 * not an ICMP error, not a later fragment, nothing sent to a group or to all, no source that is not
 * one host. The frame must have come for us alone: see `ethernet.isToGroup`.
 */
export function mayAnswerWithError(p: PacketBuffer, l3Offset: number): boolean {
  if (ipv4.isLaterFragment(p, l3Offset)) return false
  if (!isOneHost(ipv4.source(p, l3Offset)) || !isOneHost(ipv4.destination(p, l3Offset)))
    return false
  if (ipv4.protocol(p, l3Offset) !== Protocol.ICMPV4) return true
  const at = ipv4.payloadOffset(p, l3Offset)
  return ipv4.payloadBytes(p, l3Offset) >= ICMPV4_HEADER_BYTES && !isError(type(p, at))
}

/**
 * Not 0/8, 127/8, 224/4 or 240/4, whose last is the broadcast address. A subnet's broadcast cannot
 * be known here.
 */
function isOneHost(address: number): boolean {
  const first = address >>> 24
  return first !== 0 && first !== 127 && first < 224
}

/**
 * Turns an untagged Ethernet frame that carries a valid IPv4 packet into the ICMP error about it,
 * in place: the packet moves behind 28 bytes of new headers and is cut to what is quoted. The
 * Ethernet addresses stay; the caller turns them. False, and nothing changed, when the headroom is
 * too small.
 *
 * @param from the address that the error is sent from
 * @param rest the second word of the ICMP header: the next hop's MTU, or zero
 * @param quoteBytesMax ICMPV4_QUOTE_BYTES or ICMPV4_QUOTE_BYTES_MAX
 */
export function encloseInError(
  p: PacketBuffer,
  icmpType: number,
  icmpCode: number,
  rest: number,
  from: number,
  quoteBytesMax: number = ICMPV4_QUOTE_BYTES,
): boolean {
  const original = ethernet.ETHERNET_HEADER_BYTES
  const to = ipv4.source(p, original)
  const quoted = quotedBytes(p, original, quoteBytesMax)
  if (!p.pushHead(ERROR_OVERHEAD_BYTES)) return false
  ethernet.copy(p, ERROR_OVERHEAD_BYTES, 0)
  const at = original + ipv4.IPV4_HEADER_BYTES
  p.setLength(original + ERROR_OVERHEAD_BYTES + quoted)
  writeHeader(p, at, icmpType, icmpCode, rest)
  fillChecksum(p, at, ICMPV4_HEADER_BYTES + quoted)
  const bytes = ERROR_OVERHEAD_BYTES + quoted
  ipv4.writeHeader(p, original, bytes, ERROR_TTL, Protocol.ICMPV4, from, to)
  return true
}

/**
 * RFC 792: at least the header with its options and 64 bits of data, as far as the packet has them.
 */
function quotedBytes(p: PacketBuffer, l3Offset: number, most: number): number {
  const needed = ipv4.headerBytes(p, l3Offset) + 8
  return Math.min(ipv4.totalLength(p, l3Offset), Math.max(needed, most))
}

function setHalf(p: PacketBuffer, at: number, field: number, value: number): void {
  const before = p.u16(at + field)
  p.setU16(at + field, value)
  applyChecksumDelta(p, at, checksums.delta16(before, value))
}
