/**
 * ARP for IPv4 over Ethernet (RFC 826). Other hardware and protocol types are not valid here. Not
 * here: a cache, or probing (RFC 5227).
 */
import type { PacketBuffer } from '../packet/packet-buffer.js'
import { EtherType } from './protocols.js'

export const ARP_BYTES = 28

export const Operation = { REQUEST: 1, REPLY: 2 } as const
export type Operation = (typeof Operation)[keyof typeof Operation]

const HARDWARE_TYPE = 0
const PROTOCOL_TYPE = 2
/** Both lengths in one word: 6 bytes of hardware address, 4 of protocol address. */
const LENGTHS = 4
const OPERATION = 6
const SENDER_MAC_HIGH = 8
const SENDER_MAC_LOW = 12
const SENDER_ADDRESS = 14
const TARGET_MAC_HIGH = 18
const TARGET_MAC_LOW = 22
const TARGET_ADDRESS = 24

const HARDWARE_ETHERNET = 1
const LENGTHS_ETHERNET_IPV4 = 0x0604

export function isValid(p: PacketBuffer, at: number): boolean {
  return (
    p.has(at + ARP_BYTES) &&
    p.u16(at + HARDWARE_TYPE) === HARDWARE_ETHERNET &&
    p.u16(at + PROTOCOL_TYPE) === EtherType.IPV4 &&
    p.u16(at + LENGTHS) === LENGTHS_ETHERNET_IPV4
  )
}

export const operation = (p: PacketBuffer, at: number) => p.u16(at + OPERATION)
export const isRequest = (p: PacketBuffer, at: number) =>
  p.u16(at + OPERATION) === Operation.REQUEST
export const senderMacHigh = (p: PacketBuffer, at: number) => p.i32(at + SENDER_MAC_HIGH)
export const senderMacLow = (p: PacketBuffer, at: number) => p.u16(at + SENDER_MAC_LOW)
export const senderAddress = (p: PacketBuffer, at: number) => p.i32(at + SENDER_ADDRESS)
export const targetMacHigh = (p: PacketBuffer, at: number) => p.i32(at + TARGET_MAC_HIGH)
export const targetMacLow = (p: PacketBuffer, at: number) => p.u16(at + TARGET_MAC_LOW)
export const targetAddress = (p: PacketBuffer, at: number) => p.i32(at + TARGET_ADDRESS)

/** Writes what every packet of this kind begins with, and the operation. */
export function writeHeader(p: PacketBuffer, at: number, op: Operation): void {
  p.setU16(at + HARDWARE_TYPE, HARDWARE_ETHERNET)
  p.setU16(at + PROTOCOL_TYPE, EtherType.IPV4)
  p.setU16(at + LENGTHS, LENGTHS_ETHERNET_IPV4)
  p.setU16(at + OPERATION, op)
}

export function setSender(
  p: PacketBuffer,
  at: number,
  macHigh: number,
  macLow: number,
  address: number,
): void {
  p.setI32(at + SENDER_MAC_HIGH, macHigh)
  p.setU16(at + SENDER_MAC_LOW, macLow)
  p.setI32(at + SENDER_ADDRESS, address)
}

export function setTarget(
  p: PacketBuffer,
  at: number,
  macHigh: number,
  macLow: number,
  address: number,
): void {
  p.setI32(at + TARGET_MAC_HIGH, macHigh)
  p.setU16(at + TARGET_MAC_LOW, macLow)
  p.setI32(at + TARGET_ADDRESS, address)
}

/**
 * Writes an announcement (RFC 5227 section 2.3): a request for the sender's own address, from which
 * everybody learns who has it now. To be sent to the broadcast address.
 */
export function writeAnnouncement(
  p: PacketBuffer,
  at: number,
  macHigh: number,
  macLow: number,
  address: number,
): void {
  writeHeader(p, at, Operation.REQUEST)
  setSender(p, at, macHigh, macLow, address)
  setTarget(p, at, 0, 0, address)
}

/**
 * Turns a request into its reply in place (RFC 826, "Packet Reception"): sender and target change
 * places, and the sender's MAC becomes the given one. The Ethernet header is the caller's:
 * `ethernet.turnBack`.
 */
export function turnIntoReply(p: PacketBuffer, at: number, macHigh: number, macLow: number): void {
  const asked = targetAddress(p, at)
  setTarget(p, at, senderMacHigh(p, at), senderMacLow(p, at), senderAddress(p, at))
  setSender(p, at, macHigh, macLow, asked)
  p.setU16(at + OPERATION, Operation.REPLY)
}
