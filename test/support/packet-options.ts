/** What a test may say of each layer to the packet builder; what it leaves out comes out right. */
import type { PacketBuilder } from './packet-builder.js'

export interface EthOptions {
  from?: string
  to?: string
  type?: number
}
export interface VlanOptions {
  type?: number
  priority?: number
  dropEligible?: boolean
}
export interface ArpOptions {
  senderMac?: string
  sender?: string
  targetMac?: string
  target?: string
}
export interface Ipv4Options {
  from?: string
  to?: string
  ttl?: number
  id?: number
  tos?: number
  /** 'DF', 'MF' or both with a space between. */
  flags?: string
  /** Bytes; a multiple of 8. */
  fragmentOffset?: number
  /** Padded with zeros (end of options) to a multiple of 4. */
  options?: readonly number[]
  protocol?: number
  version?: number
  /** Words of 4 bytes, as the field has it. */
  headerWords?: number
  totalLength?: number
  checksum?: number
}
export interface Ipv6Options {
  from?: string
  to?: string
  hopLimit?: number
  trafficClass?: number
  flowLabel?: number
  nextHeader?: number
  version?: number
  payloadLength?: number
}
export interface ExtensionOptions {
  /** What follows the two bytes of next header and length; padded with zeros. */
  body?: readonly number[]
  /** The length field, in the header's own unit. */
  length?: number
  nextHeader?: number
}
export interface Fragment6Options {
  /** Bytes; a multiple of 8. */
  offset?: number
  more?: boolean
  id?: number
  nextHeader?: number
}
export interface ChecksumOptions {
  /** Instead of the right one. */
  checksum?: number
  /** As a veth leaves it: the folded sum of the pseudo header. */
  partialChecksum?: boolean
}
export interface UdpOptions extends ChecksumOptions {
  from?: number
  to?: number
  length?: number
}
export interface TcpOptions extends ChecksumOptions {
  from?: number
  to?: number
  seq?: number
  ack?: number
  /** Names with spaces between, such as 'SYN ACK'. */
  flags?: string
  window?: number
  urgent?: number
  options?: readonly number[]
  /** Words of 4 bytes, as the field has it. */
  dataOffsetWords?: number
}
export interface IcmpEchoOptions {
  id?: number
  seq?: number
  reply?: boolean
  code?: number
  checksum?: number
}
export interface IcmpErrorOptions {
  type?: number
  code?: number
  /** The second word: next hop MTU, pointer. */
  rest?: number
  /** The packet the error is about, from its IP header on. */
  quoted: Uint8Array | PacketBuilder
  /** How much of it is quoted. */
  quotedBytes?: number
  checksum?: number
}
