/**
 * Ethernet II header (IEEE 802.3 clause 3, the type interpretation). Tags are in vlan.ts; the frame
 * check sequence never reaches us. A MAC address is two numbers: `high`, its first four bytes as
 * int32, and `low`, its last two as uint16.
 */
import type { PacketBuffer } from '../packet/packet-buffer.js'

export const ETHERNET_HEADER_BYTES = 14

const DESTINATION_HIGH = 0
const DESTINATION_LOW = 4
const SOURCE_HIGH = 6
const SOURCE_LOW = 10
const TYPE = 12

/** Below this the type field is a length of 802.3 with LLC, which we do not speak. */
const TYPE_MIN = 0x600
/** The individual/group bit, first on the wire: bit 0 of the first byte. */
const GROUP_BIT = 0x01000000

/** A whole header, and a type rather than a length in it. */
export function isValid(p: PacketBuffer, at: number): boolean {
  return p.has(at + ETHERNET_HEADER_BYTES) && p.u16(at + TYPE) >= TYPE_MIN
}

export const destinationHigh = (p: PacketBuffer, at: number) => p.i32(at + DESTINATION_HIGH)
export const destinationLow = (p: PacketBuffer, at: number) => p.u16(at + DESTINATION_LOW)
export const sourceHigh = (p: PacketBuffer, at: number) => p.i32(at + SOURCE_HIGH)
export const sourceLow = (p: PacketBuffer, at: number) => p.u16(at + SOURCE_LOW)
/** An EtherType; that of a tag when the frame is tagged, see vlan.ts. */
export const type = (p: PacketBuffer, at: number) => p.u16(at + TYPE)

/** To a group (multicast or broadcast) rather than to one station. */
export function isToGroup(p: PacketBuffer, at: number): boolean {
  return (p.i32(at + DESTINATION_HIGH) & GROUP_BIT) !== 0
}

export function isToBroadcast(p: PacketBuffer, at: number): boolean {
  return p.i32(at + DESTINATION_HIGH) === -1 && p.u16(at + DESTINATION_LOW) === 0xffff
}

export function setDestination(p: PacketBuffer, at: number, high: number, low: number): void {
  p.setI32(at + DESTINATION_HIGH, high)
  p.setU16(at + DESTINATION_LOW, low)
}

export function setSource(p: PacketBuffer, at: number, high: number, low: number): void {
  p.setI32(at + SOURCE_HIGH, high)
  p.setU16(at + SOURCE_LOW, low)
}

export function setType(p: PacketBuffer, at: number, etherType: number): void {
  p.setU16(at + TYPE, etherType)
}

/** Makes the frame an answer: to whoever sent it, from the given address. */
export function turnBack(p: PacketBuffer, at: number, high: number, low: number): void {
  setDestination(p, at, sourceHigh(p, at), sourceLow(p, at))
  setSource(p, at, high, low)
}

/** Copies a header within the frame; the two places may not overlap. */
export function copy(p: PacketBuffer, from: number, to: number): void {
  setDestination(p, to, destinationHigh(p, from), destinationLow(p, from))
  setSource(p, to, sourceHigh(p, from), sourceLow(p, from))
  setType(p, to, type(p, from))
}
