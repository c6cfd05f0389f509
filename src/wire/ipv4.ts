/**
 * IPv4 header (RFC 791). Addresses are int32. `isValid` does not verify the header checksum, which
 * costs a sum over the header: call `isChecksumRight` where a frame enters from a wire. Every
 * writer but `writeHeader` updates the checksum incrementally (RFC 1624). Not here: reassembly, or
 * the meaning of single options.
 */
import type { PacketBuffer } from '../packet/packet-buffer.js'
import * as checksums from './checksum.js'

/** Without options. */
export const IPV4_HEADER_BYTES = 20

const VERSION_AND_LENGTH = 0
const TYPE_OF_SERVICE = 1
const TOTAL_LENGTH = 2
const IDENTIFICATION = 4
const FRAGMENT = 6
const TTL = 8
const PROTOCOL = 9
const CHECKSUM = 10
const SOURCE = 12
const DESTINATION = 16
const OPTIONS = 20

const VERSION_4_NO_OPTIONS = 0x45
const DONT_FRAGMENT = 0x4000
const MORE_FRAGMENTS = 0x2000
const FRAGMENT_OFFSET_MASK = 0x1fff
const FRAGMENT_UNIT_BYTES = 8

const OPTION_END = 0
const OPTION_NO_OPERATION = 1

/** From `findOption`: there is none of that type, or the options are malformed before it. */
export const NO_OPTION = -1

/**
 * The whole packet is there: version 4, IHL of at least 5, and a total length within the frame that
 * holds the header.
 */
export function isValid(p: PacketBuffer, at: number): boolean {
  if (!p.has(at + IPV4_HEADER_BYTES)) return false
  return isHeaderValid(p, at) && p.has(at + p.u16(at + TOTAL_LENGTH))
}

/** The whole header is there, the packet need not be: for the packet that an ICMP error quotes. */
export function isHeaderValid(p: PacketBuffer, at: number): boolean {
  if (!p.has(at + IPV4_HEADER_BYTES)) return false
  const first = p.u8(at + VERSION_AND_LENGTH)
  if (first === VERSION_4_NO_OPTIONS) return p.u16(at + TOTAL_LENGTH) >= IPV4_HEADER_BYTES
  const bytes = (first & 0xf) << 2
  if (first >> 4 !== 4 || bytes < IPV4_HEADER_BYTES) return false
  return p.has(at + bytes) && p.u16(at + TOTAL_LENGTH) >= bytes
}

export const version = (p: PacketBuffer, at: number) => p.u8(at + VERSION_AND_LENGTH) >> 4
/** Bytes of the header with its options, 20 to 60. */
export const headerBytes = (p: PacketBuffer, at: number) =>
  (p.u8(at + VERSION_AND_LENGTH) & 0xf) << 2
export const hasOptions = (p: PacketBuffer, at: number) =>
  p.u8(at + VERSION_AND_LENGTH) !== VERSION_4_NO_OPTIONS
export const typeOfService = (p: PacketBuffer, at: number) => p.u8(at + TYPE_OF_SERVICE)
/** Bytes of header and payload; the frame may be longer by Ethernet's padding. */
export const totalLength = (p: PacketBuffer, at: number) => p.u16(at + TOTAL_LENGTH)
export const identification = (p: PacketBuffer, at: number) => p.u16(at + IDENTIFICATION)
export const ttl = (p: PacketBuffer, at: number) => p.u8(at + TTL)
export const protocol = (p: PacketBuffer, at: number) => p.u8(at + PROTOCOL)
export const checksum = (p: PacketBuffer, at: number) => p.u16(at + CHECKSUM)
export const source = (p: PacketBuffer, at: number) => p.i32(at + SOURCE)
export const destination = (p: PacketBuffer, at: number) => p.i32(at + DESTINATION)
/** Where the payload begins, in the packet. */
export const payloadOffset = (p: PacketBuffer, at: number) => at + headerBytes(p, at)
export const payloadBytes = (p: PacketBuffer, at: number) => totalLength(p, at) - headerBytes(p, at)

export const dontFragment = (p: PacketBuffer, at: number) =>
  (p.u16(at + FRAGMENT) & DONT_FRAGMENT) !== 0
export const moreFragments = (p: PacketBuffer, at: number) =>
  (p.u16(at + FRAGMENT) & MORE_FRAGMENTS) !== 0
/** Bytes of the original payload before this fragment's. */
export const fragmentOffset = (p: PacketBuffer, at: number) =>
  (p.u16(at + FRAGMENT) & FRAGMENT_OFFSET_MASK) * FRAGMENT_UNIT_BYTES
/** A piece of a packet, first or later. */
export const isFragment = (p: PacketBuffer, at: number) =>
  (p.u16(at + FRAGMENT) & (MORE_FRAGMENTS | FRAGMENT_OFFSET_MASK)) !== 0
/** A piece that does not hold the upper-layer header. */
export const isLaterFragment = (p: PacketBuffer, at: number) =>
  (p.u16(at + FRAGMENT) & FRAGMENT_OFFSET_MASK) !== 0

/** RFC 1071: the words of a right header, its checksum among them, add up to all ones. */
export function isChecksumRight(p: PacketBuffer, at: number): boolean {
  return checksums.fold(sumHeader(p, at)) === 0xffff
}

/**
 * Where the first option of the given type begins, or NO_OPTION. RFC 791 section 3.1: types 0 and 1
 * are single bytes, all others carry their length, of at least two. At most 40 steps.
 */
export function findOption(p: PacketBuffer, at: number, optionType: number): number {
  const end = at + headerBytes(p, at)
  let option = at + OPTIONS
  while (option < end) {
    const found = p.u8(option)
    if (found === OPTION_END) return NO_OPTION
    const bytes = found === OPTION_NO_OPERATION ? 1 : option + 1 < end ? p.u8(option + 1) : 0
    if (bytes === 0 || option + bytes > end) return NO_OPTION
    if (bytes === 1 && found !== OPTION_NO_OPERATION) return NO_OPTION
    if (found === optionType) return option
    option += bytes
  }
  return NO_OPTION
}

/**
 * Lowers the TTL by one. The caller has seen that it is above 1: a packet that may not go on is not
 * edited.
 */
export function decrementTtl(p: PacketBuffer, at: number): void {
  const before = p.u16(at + TTL)
  const after = before - 0x100
  p.setU16(at + TTL, after)
  p.setU16(at + CHECKSUM, checksums.update16(p.u16(at + CHECKSUM), before, after))
}

export function setSource(p: PacketBuffer, at: number, address: number): void {
  setWord(p, at, SOURCE, address)
}

export function setDestination(p: PacketBuffer, at: number, address: number): void {
  setWord(p, at, DESTINATION, address)
}

export function setTotalLength(p: PacketBuffer, at: number, bytes: number): void {
  setHalf(p, at, TOTAL_LENGTH, bytes)
}

export function setIdentification(p: PacketBuffer, at: number, value: number): void {
  setHalf(p, at, IDENTIFICATION, value)
}

export function setTypeOfService(p: PacketBuffer, at: number, value: number): void {
  setHalf(p, at, VERSION_AND_LENGTH, (p.u8(at + VERSION_AND_LENGTH) << 8) | (value & 0xff))
}

export function setTtl(p: PacketBuffer, at: number, value: number): void {
  setHalf(p, at, TTL, ((value & 0xff) << 8) | p.u8(at + PROTOCOL))
}

/**
 * Writes a header of 20 bytes with its checksum: type of service 0, identification 0, don't
 * fragment (RFC 6864 section 4.1: an identification means nothing on such a packet).
 */
export function writeHeader(
  p: PacketBuffer,
  at: number,
  totalBytes: number,
  timeToLive: number,
  upperProtocol: number,
  from: number,
  to: number,
): void {
  p.setU16(at + VERSION_AND_LENGTH, VERSION_4_NO_OPTIONS << 8)
  p.setU16(at + TOTAL_LENGTH, totalBytes)
  p.setU16(at + IDENTIFICATION, 0)
  p.setU16(at + FRAGMENT, DONT_FRAGMENT)
  p.setU8(at + TTL, timeToLive)
  p.setU8(at + PROTOCOL, upperProtocol)
  p.setI32(at + SOURCE, from)
  p.setI32(at + DESTINATION, to)
  fillChecksum(p, at)
}

/** Computes the header checksum afresh. */
export function fillChecksum(p: PacketBuffer, at: number): void {
  p.setU16(at + CHECKSUM, 0)
  p.setU16(at + CHECKSUM, checksums.complement(sumHeader(p, at)))
}

/**
 * Nearly every header is of five words, and five reads are cheaper than the loop for any length.
 */
function sumHeader(p: PacketBuffer, at: number): number {
  if (hasOptions(p, at)) return checksums.sumBytes(p, at, headerBytes(p, at), 0)
  const lengths = checksums.word(p.i32(at + VERSION_AND_LENGTH))
  const fragment = checksums.word(p.i32(at + IDENTIFICATION))
  const control = checksums.word(p.i32(at + TTL))
  const from = checksums.word(p.i32(at + SOURCE))
  return lengths + fragment + control + from + checksums.word(p.i32(at + DESTINATION))
}

function setHalf(p: PacketBuffer, at: number, field: number, value: number): void {
  const before = p.u16(at + field)
  p.setU16(at + field, value)
  p.setU16(at + CHECKSUM, checksums.update16(p.u16(at + CHECKSUM), before, value))
}

function setWord(p: PacketBuffer, at: number, field: number, value: number): void {
  const before = p.i32(at + field)
  p.setI32(at + field, value)
  p.setU16(at + CHECKSUM, checksums.update32(p.u16(at + CHECKSUM), before, value))
}
