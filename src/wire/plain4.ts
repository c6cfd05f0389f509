/**
 * The plain case of a frame, which nearly all are: Ethernet II, IPv4 without options, no fragment,
 * TCP or UDP, and all of it there. Every field then has a fixed place, and a frame is read and
 * rewritten in a handful of words. What is not plain is for the headers' own files to judge.
 */
import type { PacketBuffer } from '../packet/packet-buffer.js'
import * as checksums from './checksum.js'
import { Protocol } from './protocols.js'

const MAC_ADDRESSES = 0
/** Type, then version, header length and type of service. */
const ETHER_TYPE = 12
const TOTAL_LENGTH = 16
/** Identification, then flags and fragment offset. */
const FRAGMENT = 18
/** TTL, protocol, header checksum. */
const TTL = 22
const SOURCE = 26
const DESTINATION = 30
const PORTS = 34
const UDP_LENGTH = 38
const UDP_CHECKSUM = 40
const TCP_OFFSET_AND_FLAGS = 46
const TCP_CHECKSUM = 50

const L3 = 14
const L4 = 34
export const L3_OFFSET = L3
export const L4_OFFSET = L4
const IPV4_BYTES = 20
const UDP_BYTES = 8
const TCP_BYTES = 20
/** 0x0800, version 4, header of five words. */
const IPV4_PLAIN = 0x080045
/** More fragments, or an offset. */
const FRAGMENT_MASK = 0x3fff
/** FIN, SYN, RST. */
const STATE_FLAGS = 0x07

const { TCP, UDP } = Protocol
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

export function classify(p: PacketBuffer): Plain {
  if (!p.has(L4 + UDP_BYTES) || p.i32(ETHER_TYPE) >>> 8 !== IPV4_PLAIN) return NONE
  const bytes = p.u16(TOTAL_LENGTH)
  if ((p.i32(FRAGMENT) & FRAGMENT_MASK) !== 0 || !p.has(L3 + bytes)) return NONE
  const protocol = (p.i32(TTL) >>> 16) & 0xff
  if (protocol === UDP) {
    const isWhole = p.u16(UDP_LENGTH) === bytes - IPV4_BYTES && bytes >= IPV4_BYTES + UDP_BYTES
    return isWhole ? STEADY : NONE
  }
  if (protocol !== TCP || bytes < IPV4_BYTES + TCP_BYTES) return NONE
  const offsetAndFlags = p.u16(TCP_OFFSET_AND_FLAGS)
  const headerBytes = (offsetAndFlags >>> 12) << 2
  if (headerBytes < TCP_BYTES || bytes < IPV4_BYTES + headerBytes) return NONE
  return (offsetAndFlags & STATE_FLAGS) === 0 ? STEADY : CHANGING
}

export const totalLength = (p: PacketBuffer) => p.u16(TOTAL_LENGTH)
/** TTL in the upper byte, protocol below it, then the header's checksum. */
export const ttlWord = (p: PacketBuffer) => p.i32(TTL)
export const source = (p: PacketBuffer) => p.i32(SOURCE)
export const destination = (p: PacketBuffer) => p.i32(DESTINATION)
/** Source port in the upper half, destination port in the lower. */
export const ports = (p: PacketBuffer) => p.i32(PORTS)
/** A third of both MAC addresses, which are twelve bytes: `third` is 0, 1 or 2. */
export const macWord = (p: PacketBuffer, third: number) => p.i32(MAC_ADDRESSES + (third << 2))

/** TCP's or UDP's. */
export function transportChecksum(p: PacketBuffer, protocol: number): number {
  return p.u16(protocol === UDP ? UDP_CHECKSUM : TCP_CHECKSUM)
}

export function setMacs(p: PacketBuffer, first: number, second: number, third: number): void {
  p.setI32(MAC_ADDRESSES, first)
  p.setI32(MAC_ADDRESSES + 4, second)
  p.setI32(MAC_ADDRESSES + 8, third)
}

/** All that translation changes, but for checksums. */
export function setTuple(p: PacketBuffer, from: number, to: number, portPair: number): void {
  p.setI32(SOURCE, from)
  p.setI32(DESTINATION, to)
  p.setI32(PORTS, portPair)
}

/** @param delta of the header's words, that of the TTL included */
export function lowerTtl(p: PacketBuffer, hops: number, delta: number): void {
  const word = p.i32(TTL)
  const checksum = checksums.apply(word & 0xffff, delta)
  p.setI32(TTL, ((word & 0xffff0000) - (hops << 24)) | checksum)
}

/** RFC 768: a datagram without checksum keeps none, and a computed zero is sent as all ones. */
export function applyTransportDelta(p: PacketBuffer, protocol: number, delta: number): void {
  if (protocol === TCP) {
    p.setU16(TCP_CHECKSUM, checksums.apply(p.u16(TCP_CHECKSUM), delta))
    return
  }
  const before = p.u16(UDP_CHECKSUM)
  if (before === 0) return
  const after = checksums.apply(before, delta)
  p.setU16(UDP_CHECKSUM, after === 0 ? 0xffff : after)
}
