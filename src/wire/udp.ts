/**
 * UDP header (RFC 768; over IPv6 RFC 8200 section 8.1, where a checksum of zero is allowed to
 * tunnels only). Writers update the checksum incrementally, and leave "no checksum" as it is. Not
 * here: UDP-Lite.
 */
import type { PacketBuffer } from '../packet/packet-buffer.js'
import * as checksums from './checksum.js'

export const UDP_HEADER_BYTES = 8

const SOURCE_PORT = 0
const DESTINATION_PORT = 2
const LENGTH = 4
const CHECKSUM = 6

/** RFC 768: the field of a sender that computed none. */
export const NO_CHECKSUM = 0

/**
 * The whole header is there, and its length covers it. The data may be cut: the first fragment of a
 * datagram, and a quoted one, hold less than the length says; `isWhole` tells.
 */
export function isValid(p: PacketBuffer, at: number): boolean {
  return p.has(at + UDP_HEADER_BYTES) && p.u16(at + LENGTH) >= UDP_HEADER_BYTES
}

/**
 * @param ipPayloadBytes what IP says is there; more than the datagram's length is padding that RFC
 * 768 does not forbid
 */
export function isWhole(p: PacketBuffer, at: number, ipPayloadBytes: number): boolean {
  return isValid(p, at) && p.u16(at + LENGTH) <= ipPayloadBytes
}

export const sourcePort = (p: PacketBuffer, at: number) => p.u16(at + SOURCE_PORT)
export const destinationPort = (p: PacketBuffer, at: number) => p.u16(at + DESTINATION_PORT)
/** Both at once: source << 16 | destination, an int32. */
export const ports = (p: PacketBuffer, at: number) => p.i32(at + SOURCE_PORT)
/** Bytes of header and data. */
export const length = (p: PacketBuffer, at: number) => p.u16(at + LENGTH)
/** NO_CHECKSUM when the sender computed none. */
export const checksum = (p: PacketBuffer, at: number) => p.u16(at + CHECKSUM)

/**
 * True as well for a datagram without checksum.
 * @param pseudoSum of `checksums.pseudoHeader4` or `6` for the length in the header
 */
export function isChecksumRight(p: PacketBuffer, at: number, pseudoSum: number): boolean {
  if (p.u16(at + CHECKSUM) === NO_CHECKSUM) return true
  return checksums.fold(checksums.sumBytes(p, at, p.u16(at + LENGTH), pseudoSum)) === 0xffff
}

export function setSourcePort(p: PacketBuffer, at: number, port: number): void {
  setPort(p, at, SOURCE_PORT, port)
}

export function setDestinationPort(p: PacketBuffer, at: number, port: number): void {
  setPort(p, at, DESTINATION_PORT, port)
}

/**
 * Takes over a change elsewhere that the checksum covers: of the addresses, through the pseudo
 * header.
 */
export function applyChecksumDelta(p: PacketBuffer, at: number, delta: number): void {
  const before = p.u16(at + CHECKSUM)
  if (before === NO_CHECKSUM) return
  p.setU16(at + CHECKSUM, zeroAsOnes(checksums.apply(before, delta)))
}

/**
 * Writes a header with NO_CHECKSUM; `fillChecksum` follows, when one is wanted and the data is in
 * place.
 */
export function writeHeader(
  p: PacketBuffer,
  at: number,
  fromPort: number,
  toPort: number,
  bytes: number,
): void {
  p.setU16(at + SOURCE_PORT, fromPort)
  p.setU16(at + DESTINATION_PORT, toPort)
  p.setU16(at + LENGTH, bytes)
  p.setU16(at + CHECKSUM, NO_CHECKSUM)
}

/**
 * Computes the checksum afresh over the length in the header; `pseudoSum` as of `isChecksumRight`.
 */
export function fillChecksum(p: PacketBuffer, at: number, pseudoSum: number): void {
  p.setU16(at + CHECKSUM, 0)
  const sum = checksums.sumBytes(p, at, p.u16(at + LENGTH), pseudoSum)
  p.setU16(at + CHECKSUM, zeroAsOnes(checksums.complement(sum)))
}

/**
 * RFC 768: a computed zero is sent as all ones, which means the same, because zero means "no
 * checksum".
 */
export function zeroAsOnes(checksum: number): number {
  return checksum === 0 ? 0xffff : checksum
}

function setPort(p: PacketBuffer, at: number, field: number, port: number): void {
  const before = p.u16(at + field)
  p.setU16(at + field, port)
  applyChecksumDelta(p, at, checksums.delta16(before, port))
}
