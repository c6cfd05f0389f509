/**
 * SCTP common header (RFC 9260 section 3.1) and its checksum, the CRC32c of the whole packet
 * (appendix A). Unlike the Internet checksum it has no pseudo header, so that addresses may change
 * freely, and no cheap update, so that a changed port means a new sum over all bytes. Not here:
 * chunks.
 */
import type { PacketBuffer } from '../packet/packet-buffer.js'

export const SCTP_HEADER_BYTES = 12

const SOURCE_PORT = 0
const DESTINATION_PORT = 2
const CHECKSUM = 8
const CHECKSUM_BYTES = 4

/** What the field holds when a veth's sender left the sum to "the hardware". */
const NOT_COMPUTED = 0

const TABLE = crcTable()

export function isValid(p: PacketBuffer, at: number): boolean {
  return p.has(at + SCTP_HEADER_BYTES)
}

export const sourcePort = (p: PacketBuffer, at: number) => p.u16(at + SOURCE_PORT)
export const destinationPort = (p: PacketBuffer, at: number) => p.u16(at + DESTINATION_PORT)
export const checksum = (p: PacketBuffer, at: number) => p.i32(at + CHECKSUM)

/** Right, or left undone by a sender whose device would do it: a new sum hides no damage. */
export function mayRenewChecksum(p: PacketBuffer, at: number, packetBytes: number): boolean {
  const found = p.i32(at + CHECKSUM)
  return found === NOT_COMPUTED || found === computeChecksum(p, at, packetBytes)
}

/** `fillChecksum` follows. */
export function setSourcePort(p: PacketBuffer, at: number, port: number): void {
  p.setU16(at + SOURCE_PORT, port)
}

/** `fillChecksum` follows. */
export function setDestinationPort(p: PacketBuffer, at: number, port: number): void {
  p.setU16(at + DESTINATION_PORT, port)
}

/** @param packetBytes header and chunks, as IP tells */
export function fillChecksum(p: PacketBuffer, at: number, packetBytes: number): void {
  p.setI32(at + CHECKSUM, computeChecksum(p, at, packetBytes))
}

/** The field as it should be; its own bytes count as zero. */
export function computeChecksum(p: PacketBuffer, at: number, packetBytes: number): number {
  let crc = -1
  for (let i = 0; i < packetBytes; i++) {
    const isField = i >= CHECKSUM && i < CHECKSUM + CHECKSUM_BYTES
    const byte = isField ? 0 : p.u8(at + i)
    crc = (crc >>> 8) ^ (TABLE[(crc ^ byte) & 0xff] as number)
  }
  return swapBytes(~crc)
}

/**
 * RFC 9260 appendix A: the sum is computed with the lowest bit first and so sent with its lowest
 * byte first.
 */
function swapBytes(word: number): number {
  return (word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24)
}

function crcTable(): Int32Array {
  const table = new Int32Array(256)
  for (let i = 0; i < 256; i++) {
    let crc = i
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
    table[i] = crc
  }
  return table
}
