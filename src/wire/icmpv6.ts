/**
 * ICMP for IPv6 (RFC 4443), read only: as much as tuples need. Not here: neighbour discovery (RFC
 * 4861), the checksum.
 */
import type { PacketBuffer } from '../packet/packet-buffer.js'

export const ICMPV6_HEADER_BYTES = 8

export const Type = {
  DESTINATION_UNREACHABLE: 1,
  PACKET_TOO_BIG: 2,
  TIME_EXCEEDED: 3,
  PARAMETER_PROBLEM: 4,
  ECHO_REQUEST: 128,
  ECHO_REPLY: 129,
} as const

const TYPE = 0
const CODE = 1
const IDENTIFIER = 4
const SEQUENCE = 6
/** RFC 4443 section 2.1: types with the top bit clear are errors. */
const INFORMATIONAL = 128

export function isValid(p: PacketBuffer, at: number): boolean {
  return p.has(at + ICMPV6_HEADER_BYTES)
}

export const type = (p: PacketBuffer, at: number) => p.u8(at + TYPE)
export const code = (p: PacketBuffer, at: number) => p.u8(at + CODE)
/** Of an echo request or reply. */
export const identifier = (p: PacketBuffer, at: number) => p.u16(at + IDENTIFIER)
/** Of an echo request or reply. */
export const sequence = (p: PacketBuffer, at: number) => p.u16(at + SEQUENCE)
/** Where an error's quoted packet begins. */
export const quotedOffset = (at: number) => at + ICMPV6_HEADER_BYTES

export function isError(icmpType: number): boolean {
  return icmpType < INFORMATIONAL
}
