/**
 * VXLAN header (RFC 7348 section 5), and the envelope of Ethernet, IPv4 and UDP that it travels in.
 * The VXLAN network identifier (VNI) carries a security identity. Not here: the group policy and
 * GPE extensions, outer VLAN tags, an IPv6 underlay.
 */
import type { PacketBuffer } from '../packet/packet-buffer.js'
import * as checksums from './checksum.js'
import { ETHERNET_HEADER_BYTES } from './ethernet.js'
import { IPV4_HEADER_BYTES } from './ipv4.js'
import { EtherType, Protocol } from './protocols.js'

export const VXLAN_HEADER_BYTES = 8
/** Ethernet, IPv4 without options, UDP, VXLAN: what an encapsulated frame grows by. */
export const ENVELOPE_BYTES = 50
/**
 * What the outer IP packet is longer than the inner one: the same number, for the envelope begins
 * with an Ethernet header and the inner frame brings its own along.
 */
export const TUNNEL_OVERHEAD_BYTES = 50

const FLAGS = 0
const NETWORK_IDENTIFIER = 4

/** "The I flag MUST be set to 1 for a valid VXLAN Network ID"; the others are ignored on receipt. */
const VALID_VNI_FLAG = 0x08
const VNI_MAX = 0xff_ffff

/** Fields of the envelope by pairs: each word of it is written by one store. */
const MACS = 0
const TYPE_AND_VERSION = 12
const LENGTH_AND_IDENTIFICATION = 16
const FRAGMENT_AND_PROTOCOL = 20
const CHECKSUM_AND_SOURCE = 24
const ADDRESSES = 28
const DESTINATION_AND_PORT = 32
const PORT_AND_UDP_LENGTH = 36
const UDP_CHECKSUM_AND_FLAGS = 40
const RESERVED_AND_VNI = 44
const VNI_AND_RESERVED = 48

const VERSION_4_NO_OPTIONS = 0x45
const DONT_FRAGMENT = 0x4000
const TTL = 64

/** The whole header is there, and says that it has a network identifier. */
export function isValid(p: PacketBuffer, at: number): boolean {
  return p.has(at + VXLAN_HEADER_BYTES) && (p.u8(at + FLAGS) & VALID_VNI_FLAG) !== 0
}

/** 0 to 0xffffff. */
export const vni = (p: PacketBuffer, at: number) => p.i32(at + NETWORK_IDENTIFIER) >>> 8

export function writeHeader(p: PacketBuffer, at: number, networkIdentifier: number): void {
  p.setI32(at + FLAGS, VALID_VNI_FLAG << 24)
  p.setI32(at + NETWORK_IDENTIFIER, networkIdentifier << 8)
}

/** Where an encapsulated frame goes; one is filled anew for each packet. */
export class Envelope {
  destinationMacHigh = 0
  destinationMacLow = 0
  sourceMacHigh = 0
  sourceMacLow = 0
  /** Of the node that encapsulates. */
  source4 = 0
  /** Of the node that is to decapsulate. */
  destination4 = 0
  sourcePort = 0
  destinationPort = 0
  /** Type of service byte of the outer IP header. */
  typeOfService = 0
  /** 0 to 0xffffff. */
  vni = 0
}

/**
 * Puts the envelope in front of the frame; false, and nothing changed, when the headroom is too
 * small. The outer packet may not be fragmented (RFC 7348 section 4.3), so it needs no
 * identification (RFC 6864 section 4.1); its UDP checksum is zero (RFC 7348 section 5).
 */
export function pushEnvelope(p: PacketBuffer, e: Envelope): boolean {
  if (!p.pushHead(ENVELOPE_BYTES)) return false
  const bytes = p.length - ETHERNET_HEADER_BYTES
  const { source4, destination4, sourceMacHigh } = e
  const first = (VERSION_4_NO_OPTIONS << 8) | e.typeOfService
  const control = (TTL << 8) | Protocol.UDP
  const addresses = checksums.word(source4) + checksums.word(destination4)
  const checksum = checksums.complement(first + bytes + DONT_FRAGMENT + control + addresses)
  const networkIdentifier = e.vni & VNI_MAX
  p.setI32(MACS, e.destinationMacHigh)
  p.setI32(MACS + 4, (e.destinationMacLow << 16) | (sourceMacHigh >>> 16))
  p.setI32(MACS + 8, (sourceMacHigh << 16) | e.sourceMacLow)
  p.setI32(TYPE_AND_VERSION, (EtherType.IPV4 << 16) | first)
  p.setI32(LENGTH_AND_IDENTIFICATION, bytes << 16)
  p.setI32(FRAGMENT_AND_PROTOCOL, (DONT_FRAGMENT << 16) | control)
  p.setI32(CHECKSUM_AND_SOURCE, (checksum << 16) | (source4 >>> 16))
  p.setI32(ADDRESSES, (source4 << 16) | (destination4 >>> 16))
  p.setI32(DESTINATION_AND_PORT, (destination4 << 16) | e.sourcePort)
  p.setI32(PORT_AND_UDP_LENGTH, (e.destinationPort << 16) | (bytes - IPV4_HEADER_BYTES))
  p.setI32(UDP_CHECKSUM_AND_FLAGS, VALID_VNI_FLAG << 8)
  p.setI32(RESERVED_AND_VNI, networkIdentifier >>> 8)
  p.setU16(VNI_AND_RESERVED, (networkIdentifier << 8) & 0xffff)
  return true
}
