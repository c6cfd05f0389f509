/**
 * TCP header (RFC 9293). Writers update the checksum incrementally (RFC 1624), so it must be right
 * before: a frame from a veth passes partial-checksum.ts first. Not here: state, sequence
 * arithmetic, or options other than MSS.
 */
import type { PacketBuffer } from '../packet/packet-buffer.js'
import * as checksums from './checksum.js'

/** Without options. */
export const TCP_HEADER_BYTES = 20

export const Flag = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16, URG: 32, ECE: 64, CWR: 128 } as const

const SOURCE_PORT = 0
const DESTINATION_PORT = 2
const SEQUENCE = 4
const ACKNOWLEDGMENT = 8
const DATA_OFFSET = 12
const FLAGS = 13
const WINDOW = 14
const CHECKSUM = 16
const URGENT_POINTER = 18
const OPTIONS = 20

const DATA_OFFSET_NO_OPTIONS = 0x50
const OPTION_END = 0
const OPTION_NO_OPERATION = 1
const OPTION_MSS = 2
const OPTION_MSS_BYTES = 4

/** From `maximumSegmentSize`: the option is not there. No real MSS is zero. */
export const NO_MSS = 0

/**
 * The whole header is there: a data offset of at least 5 words (RFC 9293 section 3.1), options
 * within the packet.
 */
export function isValid(p: PacketBuffer, at: number): boolean {
  if (!p.has(at + TCP_HEADER_BYTES)) return false
  const bytes = headerBytes(p, at)
  return bytes >= TCP_HEADER_BYTES && p.has(at + bytes)
}

export const sourcePort = (p: PacketBuffer, at: number) => p.u16(at + SOURCE_PORT)
export const destinationPort = (p: PacketBuffer, at: number) => p.u16(at + DESTINATION_PORT)
/** Both at once: source << 16 | destination, an int32. */
export const ports = (p: PacketBuffer, at: number) => p.i32(at + SOURCE_PORT)
export const sequence = (p: PacketBuffer, at: number) => p.i32(at + SEQUENCE)
export const acknowledgment = (p: PacketBuffer, at: number) => p.i32(at + ACKNOWLEDGMENT)
/** Bytes of the header with its options, 20 to 60. */
export const headerBytes = (p: PacketBuffer, at: number) => (p.u8(at + DATA_OFFSET) >> 4) << 2
/** A set of `Flag` bits. */
export const flags = (p: PacketBuffer, at: number) => p.u8(at + FLAGS)
/** As on the wire, not scaled. */
export const window = (p: PacketBuffer, at: number) => p.u16(at + WINDOW)
export const checksum = (p: PacketBuffer, at: number) => p.u16(at + CHECKSUM)
export const urgentPointer = (p: PacketBuffer, at: number) => p.u16(at + URGENT_POINTER)

/** Opens a connection: SYN without ACK. */
export function isOpening(p: PacketBuffer, at: number): boolean {
  return (p.u8(at + FLAGS) & (Flag.SYN | Flag.ACK)) === Flag.SYN
}

/**
 * The value of the MSS option (RFC 9293 section 3.7.1), or NO_MSS when there is none or the options
 * are malformed before it. At most 40 steps.
 */
export function maximumSegmentSize(p: PacketBuffer, at: number): number {
  const end = at + headerBytes(p, at)
  let option = at + OPTIONS
  while (option < end) {
    const kind = p.u8(option)
    if (kind === OPTION_END) return NO_MSS
    const bytes = kind === OPTION_NO_OPERATION ? 1 : option + 1 < end ? p.u8(option + 1) : 0
    if (bytes === 0 || option + bytes > end) return NO_MSS
    if (bytes === 1 && kind !== OPTION_NO_OPERATION) return NO_MSS
    if (kind === OPTION_MSS) return bytes === OPTION_MSS_BYTES ? p.u16(option + 2) : NO_MSS
    option += bytes
  }
  return NO_MSS
}

/**
 * @param pseudoSum of `checksums.pseudoHeader4` or `6` for a segment of `segmentBytes`, header and
 * data
 */
export function isChecksumRight(
  p: PacketBuffer,
  at: number,
  segmentBytes: number,
  pseudoSum: number,
): boolean {
  return checksums.fold(checksums.sumBytes(p, at, segmentBytes, pseudoSum)) === 0xffff
}

export function setSourcePort(p: PacketBuffer, at: number, port: number): void {
  setHalf(p, at, SOURCE_PORT, port)
}

export function setDestinationPort(p: PacketBuffer, at: number, port: number): void {
  setHalf(p, at, DESTINATION_PORT, port)
}

export function setSequence(p: PacketBuffer, at: number, value: number): void {
  setWord(p, at, SEQUENCE, value)
}

export function setAcknowledgment(p: PacketBuffer, at: number, value: number): void {
  setWord(p, at, ACKNOWLEDGMENT, value)
}

export function setFlags(p: PacketBuffer, at: number, value: number): void {
  setHalf(p, at, DATA_OFFSET, (p.u8(at + DATA_OFFSET) << 8) | (value & 0xff))
}

export function setWindow(p: PacketBuffer, at: number, value: number): void {
  setHalf(p, at, WINDOW, value)
}

/**
 * Takes over a change elsewhere that the checksum covers: of the addresses, through the pseudo
 * header.
 */
export function applyChecksumDelta(p: PacketBuffer, at: number, delta: number): void {
  p.setU16(at + CHECKSUM, checksums.apply(p.u16(at + CHECKSUM), delta))
}

/**
 * Writes a header without options, urgent pointer and checksum; `fillChecksum` follows when the
 * data is in place.
 */
export function writeHeader(
  p: PacketBuffer,
  at: number,
  fromPort: number,
  toPort: number,
  sequenceNumber: number,
  acknowledgmentNumber: number,
  flagBits: number,
  windowSize: number,
): void {
  p.setU16(at + SOURCE_PORT, fromPort)
  p.setU16(at + DESTINATION_PORT, toPort)
  p.setI32(at + SEQUENCE, sequenceNumber)
  p.setI32(at + ACKNOWLEDGMENT, acknowledgmentNumber)
  p.setU8(at + DATA_OFFSET, DATA_OFFSET_NO_OPTIONS)
  p.setU8(at + FLAGS, flagBits)
  p.setU16(at + WINDOW, windowSize)
  p.setU16(at + CHECKSUM, 0)
  p.setU16(at + URGENT_POINTER, 0)
}

/** Computes the checksum afresh; parameters as of `isChecksumRight`. */
export function fillChecksum(
  p: PacketBuffer,
  at: number,
  segmentBytes: number,
  pseudoSum: number,
): void {
  p.setU16(at + CHECKSUM, 0)
  const sum = checksums.sumBytes(p, at, segmentBytes, pseudoSum)
  p.setU16(at + CHECKSUM, checksums.complement(sum))
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
