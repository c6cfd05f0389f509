/** Puts a test's bytes into memory where a PacketBuffer finds them. */
import { PacketBuffer } from '../../src/packet/packet-buffer.js'

/** Room in front of the packet. */
export const TEST_HEADROOM_BYTES = 256

/**
 * A packet whose last byte is the last of its memory: a 16 or 32-bit read behind it throws, so that
 * a missing check of the length shows.
 */
export function packetOf(bytes: Uint8Array | readonly number[]): PacketBuffer {
  const stride = TEST_HEADROOM_BYTES + bytes.length
  const umem = new Uint8Array(stride)
  umem.set(bytes, TEST_HEADROOM_BYTES)
  const packet = new PacketBuffer(umem.buffer, stride)
  packet.attach(TEST_HEADROOM_BYTES, bytes.length)
  return packet
}

/** A packet of `length` bytes that all are 0xa5, for writers: what they forget to write shows. */
export function dirtyPacket(length: number): PacketBuffer {
  return packetOf(new Uint8Array(length).fill(0xa5))
}

/** A copy of the packet's bytes as they are now. */
export function bytesOf(packet: PacketBuffer): Uint8Array {
  return Uint8Array.from({ length: packet.length }, (_, offset) => packet.u8(offset))
}

/**
 * Calls back with the packet cut to every length below its own, each in memory that ends with it.
 */
export function everyTruncation(
  bytes: Uint8Array | readonly number[],
  callback: (packet: PacketBuffer, length: number) => void,
): void {
  for (let length = 0; length < bytes.length; length++) {
    callback(packetOf(bytes.slice(0, length)), length)
  }
}
