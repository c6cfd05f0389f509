/**
 * An SCTP packet with its CRC32c (RFC 9260 section 6.8, appendix A), for tests. Bit by bit and slow
 * on purpose; shares nothing with src/wire.
 */
import type { LiteralLayer } from './frame.js'

/** Reversed polynomial of Castagnoli. */
const POLYNOMIAL = 0x82f63b78

/** @param layer ports, verification tag, and the checksum where it is not to be right */
export function sctpBytes(layer: LiteralLayer, chunks: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(12 + chunks.length)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, Number(layer.from ?? 40000))
  view.setUint16(2, Number(layer.to ?? 80))
  view.setUint32(4, Number(layer.tag ?? 0))
  bytes.set(chunks, 12)
  // The CRC goes out least significant byte first.
  const checksum = layer.checksum
  if (checksum === undefined) view.setUint32(8, sctpCrc(bytes), true)
  else view.setUint32(8, Number(checksum))
  return bytes
}

/** Is the checksum of this SCTP packet right? */
export function isSctpRight(bytes: Uint8Array): boolean {
  const copy = Uint8Array.from(bytes)
  copy.fill(0, 8, 12)
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(8, true) === sctpCrc(copy)
}

/** CRC32c of a packet whose checksum field is zero. */
export function sctpCrc(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (POLYNOMIAL & -(crc & 1))
  }
  return ~crc >>> 0
}
