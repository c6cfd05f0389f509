/**
 * IPv6 header and its extension headers, read only but for the hop limit (RFC 8200). There is no
 * header checksum. Extension headers are skipped, not obeyed. Not here: jumbograms (RFC 2675),
 * whose payload length of zero makes them end before their first extension header, so that
 * `upperLayer` answers MALFORMED.
 */
import type { PacketBuffer } from '../packet/packet-buffer.js'
import { Protocol } from './protocols.js'

/** Without extension headers. */
export const IPV6_HEADER_BYTES = 40
export const IPV6_FRAGMENT_HEADER_BYTES = 8
/** Extension headers that are walked; real packets have two at most. */
export const IPV6_EXTENSION_HEADERS_MAX = 8

const VERSION_CLASS_LABEL = 0
const PAYLOAD_LENGTH = 4
const NEXT_HEADER = 6
const HOP_LIMIT = 7
const SOURCE = 8
const DESTINATION = 24

const EXTENSION_NEXT_HEADER = 0
const EXTENSION_LENGTH = 1
const FRAGMENT_OFFSET_AND_MORE = 2
const FRAGMENT_IDENTIFICATION = 4

const FRAGMENT_OFFSET_MASK = 0xfff8
const MORE_FRAGMENTS = 1

/**
 * From `upperLayer`: a header ends behind the packet, or stands where RFC 8200 section 4.1 does not
 * allow it.
 */
export const MALFORMED = -1
/** From `upperLayer`: more than IPV6_EXTENSION_HEADERS_MAX. */
export const TOO_MANY_HEADERS = -2
/** From `fragmentHeader`. */
export const NO_FRAGMENT_HEADER = -1

/** `upperLayer` packs the offset, the protocol, and two flags into one int32. */
const OFFSET_MASK = 0xffff
const PROTOCOL_SHIFT = 16
const IS_FRAGMENT = 1 << 24
const IS_LATER_FRAGMENT = 1 << 25

/** The whole packet is there: version 6, and a payload length within the frame. */
export function isValid(p: PacketBuffer, at: number): boolean {
  return isHeaderValid(p, at) && p.has(end(p, at))
}

/**
 * The whole fixed header is there, the packet need not be: for the packet that an ICMP error
 * quotes.
 */
export function isHeaderValid(p: PacketBuffer, at: number): boolean {
  return p.has(at + IPV6_HEADER_BYTES) && p.u8(at + VERSION_CLASS_LABEL) >> 4 === 6
}

export const trafficClass = (p: PacketBuffer, at: number) =>
  (p.u16(at + VERSION_CLASS_LABEL) >> 4) & 0xff
/** 20 bits. */
export const flowLabel = (p: PacketBuffer, at: number) => p.i32(at + VERSION_CLASS_LABEL) & 0xfffff
/** Bytes behind the fixed header, extension headers among them. */
export const payloadLength = (p: PacketBuffer, at: number) => p.u16(at + PAYLOAD_LENGTH)
/** Offset in the packet of its end, as its own length tells. */
export const end = (p: PacketBuffer, at: number) =>
  at + IPV6_HEADER_BYTES + p.u16(at + PAYLOAD_LENGTH)
/** What follows the fixed header; for the upper-layer protocol see `upperLayer`. */
export const nextHeader = (p: PacketBuffer, at: number) => p.u8(at + NEXT_HEADER)
export const hopLimit = (p: PacketBuffer, at: number) => p.u8(at + HOP_LIMIT)
/**
 * One of the four words of the source address, `index` 0 to 3, the first being the most
 * significant.
 */
export const sourceWord = (p: PacketBuffer, at: number, index: number) =>
  p.i32(at + SOURCE + (index << 2))
export const destinationWord = (p: PacketBuffer, at: number, index: number) =>
  p.i32(at + DESTINATION + (index << 2))

/**
 * The caller has seen that it is above 1. Nothing else changes: no checksum covers the hop limit.
 */
export function decrementHopLimit(p: PacketBuffer, at: number): void {
  p.setU8(at + HOP_LIMIT, p.u8(at + HOP_LIMIT) - 1)
}

/**
 * Walks the extension headers to the upper layer. The result is one number, so that nothing is
 * allocated: read it with `upperProtocol`, `upperOffset`, `isFragment` and `isLaterFragment`; below
 * zero it is MALFORMED or TOO_MANY_HEADERS. The headers must lie within the payload length. The
 * upper layer itself may be cut short: check its own `isValid`. ESP and No Next Header end the walk
 * as upper-layer protocols.
 */
export function upperLayer(p: PacketBuffer, at: number): number {
  return walk(p, at, limitOf(p, at))
}

/**
 * Headers end within the frame and what the packet says of itself, and where an offset still fits.
 */
function limitOf(p: PacketBuffer, at: number): number {
  return Math.min(end(p, at), p.length, OFFSET_MASK)
}

/**
 * IP protocol number that `upperLayer` found; in a later fragment that of the original packet's
 * next part.
 */
export const upperProtocol = (found: number) => (found >> PROTOCOL_SHIFT) & 0xff
/** Offset in the packet of the upper-layer header, or of a later fragment's data. */
export const upperOffset = (found: number) => found & OFFSET_MASK
/**
 * RFC 6946: a fragment header alone does not make a fragment, one with offset 0 and no more to come
 * is whole.
 */
export const isFragment = (found: number) => (found & IS_FRAGMENT) !== 0
export const isLaterFragment = (found: number) => (found & IS_LATER_FRAGMENT) !== 0

function walk(p: PacketBuffer, at: number, limit: number): number {
  let header = p.u8(at + NEXT_HEADER)
  let offset = at + IPV6_HEADER_BYTES
  let flags = 0
  for (let count = 0; isExtension(header); count++) {
    if (count === IPV6_EXTENSION_HEADERS_MAX) return TOO_MANY_HEADERS
    // RFC 8200 section 4.1: hop-by-hop options stand right behind the fixed header or nowhere.
    if (header === Protocol.HOP_BY_HOP && count > 0) return MALFORMED
    const bytes = extensionBytes(p, offset, header, limit)
    if (bytes === 0 || offset + bytes > limit) return MALFORMED
    if (header === Protocol.FRAGMENT) {
      const field = p.u16(offset + FRAGMENT_OFFSET_AND_MORE)
      if ((field & (FRAGMENT_OFFSET_MASK | MORE_FRAGMENTS)) !== 0) flags |= IS_FRAGMENT
      if ((field & FRAGMENT_OFFSET_MASK) !== 0) flags |= IS_LATER_FRAGMENT
    }
    header = p.u8(offset + EXTENSION_NEXT_HEADER)
    offset += bytes
    if ((flags & IS_LATER_FRAGMENT) !== 0) break
  }
  return flags | (header << PROTOCOL_SHIFT) | offset
}

function isExtension(header: number): boolean {
  return (
    header === Protocol.HOP_BY_HOP ||
    header === Protocol.ROUTING ||
    header === Protocol.FRAGMENT ||
    header === Protocol.AUTHENTICATION ||
    header === Protocol.DESTINATION_OPTIONS
  )
}

/** Bytes of the extension header at `offset`, or 0 when not even its length is there. */
function extensionBytes(p: PacketBuffer, offset: number, header: number, limit: number): number {
  if (offset + 2 > limit) return 0
  if (header === Protocol.FRAGMENT) return IPV6_FRAGMENT_HEADER_BYTES
  const length = p.u8(offset + EXTENSION_LENGTH)
  // RFC 4302 section 2.2 counts words of 4 bytes less two, RFC 8200 section 4.3 words of 8 less
  // one.
  return header === Protocol.AUTHENTICATION ? (length + 2) << 2 : (length + 1) << 3
}

/** Where the fragment header lies, or NO_FRAGMENT_HEADER. */
export function fragmentHeader(p: PacketBuffer, at: number): number {
  const limit = limitOf(p, at)
  let header = p.u8(at + NEXT_HEADER)
  let offset = at + IPV6_HEADER_BYTES
  for (let count = 0; count < IPV6_EXTENSION_HEADERS_MAX && isExtension(header); count++) {
    const bytes = extensionBytes(p, offset, header, limit)
    if (bytes === 0 || offset + bytes > limit) return NO_FRAGMENT_HEADER
    if (header === Protocol.FRAGMENT) return offset
    header = p.u8(offset + EXTENSION_NEXT_HEADER)
    offset += bytes
  }
  return NO_FRAGMENT_HEADER
}

/** Of the fragment header at `offset`: the number that all fragments of a packet share. */
export const fragmentIdentification = (p: PacketBuffer, offset: number) =>
  p.i32(offset + FRAGMENT_IDENTIFICATION)
/** Of the fragment header at `offset`: bytes of the original before this fragment's. */
export const fragmentOffset = (p: PacketBuffer, offset: number) =>
  p.u16(offset + FRAGMENT_OFFSET_AND_MORE) & FRAGMENT_OFFSET_MASK
