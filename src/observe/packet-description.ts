/**
 * A packet that somebody describes in words, as bytes: "TCP from default/client to 10.96.0.10:80".
 * What is not said is filled in from the node's own tables, such as the sender's address and MACs.
 */
import { ErrorCode, RingpathError } from '../base/errors.js'
import { PacketBuffer } from '../packet/packet-buffer.js'
import { type Mac, parseIpv4, parseMac } from '../wire/address.js'
import * as checksums from '../wire/checksum.js'
import * as ethernet from '../wire/ethernet.js'
import * as icmpv4 from '../wire/icmpv4.js'
import * as ipv4 from '../wire/ipv4.js'
import { EtherType, Protocol } from '../wire/protocols.js'
import * as tcp from '../wire/tcp.js'
import * as udp from '../wire/udp.js'
import type { EndpointRowView } from './endpoint-view.js'

export interface PacketDescription {
  /** Endpoint it comes in by: name, id or address; 'host', or an uplink's device. */
  readonly in: string
  /** The endpoint's own address unless given. */
  readonly source?: string
  readonly destination: string
  readonly protocol: 'tcp' | 'udp' | 'icmp'
  /** 40000 unless given. */
  readonly sourcePort?: number
  /** Of ICMP: the type, 8 (echo request) unless given. */
  readonly destinationPort?: number
  /** SYN unless given; "SYN,ACK". */
  readonly tcpFlags?: string
  /** 64 unless given. */
  readonly ttl?: number
  readonly payloadBytes?: number
}

export interface DescribedPacket {
  readonly frame: Uint8Array
  readonly port: number
}

const SOURCE_PORT_DEFAULT = 40_000
const PAYLOAD_BYTES_MAX = 1_400
const L3 = ethernet.ETHERNET_HEADER_BYTES
const L4 = L3 + ipv4.IPV4_HEADER_BYTES
const WINDOW = 0xffff
const UNKNOWN_MAC = '02:00:00:00:00:01'

/** @throws RingpathError CONFIG_INVALID naming the field */
export function buildPacket(
  description: PacketDescription,
  endpoints: readonly EndpointRowView[],
): DescribedPacket {
  const row = findEndpoint(description.in, endpoints)
  const source = addressOf('source', description.source ?? row.address, endpoints)
  const destination = addressOf('destination', description.destination, endpoints)
  const isPod = row.kind === 'pod'
  // A pod's frame goes to the node's end of its pair; others come from a machine unknown.
  const from = parseMac(isPod ? row.mac : row.kind === 'host' ? row.mac : UNKNOWN_MAC)
  const to = parseMac(row.nodeMac)
  return { frame: frameOf(description, source, destination, from, to), port: row.port }
}

export function findEndpoint(text: string, endpoints: readonly EndpointRowView[]): EndpointRowView {
  const found = endpoints.find(
    (row) =>
      [row.name, row.device, row.address].includes(text) ||
      row.name === `default/${text}` ||
      (row.kind === 'pod' && `${row.id}` === text),
  )
  if (found !== undefined) return found
  const known = endpoints.map(({ name }) => name).join(', ')
  throw invalid('in', text, `an endpoint of this node: ${known || 'it has none'}`)
}

function addressOf(field: string, text: string, endpoints: readonly EndpointRowView[]): number {
  const named = endpoints.find(({ name }) => name === text || name === `default/${text}`)
  try {
    return parseIpv4(named?.address ?? text)
  } catch (error) {
    const expected = 'an IPv4 address or the name of an endpoint'
    throw new RingpathError(
      ErrorCode.CONFIG_INVALID,
      `packet.${field}: '${text}', expected ${expected}`,
      error,
    )
  }
}

function frameOf(
  description: PacketDescription,
  source: number,
  destination: number,
  from: Mac,
  to: Mac,
): Uint8Array {
  const { protocol, ttl = 64, payloadBytes = 0 } = description
  check('ttl', ttl, 0, 255)
  check('payloadBytes', payloadBytes, 0, PAYLOAD_BYTES_MAX)
  const sourcePort = description.sourcePort ?? SOURCE_PORT_DEFAULT
  check('sourcePort', sourcePort, 0, 65_535)
  const isIcmp = protocol === 'icmp'
  const destinationPort = description.destinationPort ?? (isIcmp ? icmpv4.Type.ECHO_REQUEST : 0)
  check('destinationPort', destinationPort, isIcmp ? 0 : 1, isIcmp ? 255 : 65_535)
  const [number, headerBytes] = PROTOCOLS[protocol]
  const bytes = headerBytes + payloadBytes
  const memory = new Uint8Array(L4 + bytes)
  const p = new PacketBuffer(memory.buffer, memory.length + 4)
  p.attach(0, memory.length)
  ethernet.setDestination(p, 0, to.high, to.low)
  ethernet.setSource(p, 0, from.high, from.low)
  ethernet.setType(p, 0, EtherType.IPV4)
  ipv4.writeHeader(p, L3, ipv4.IPV4_HEADER_BYTES + bytes, ttl, number, source, destination)
  const pseudoSum = checksums.pseudoHeader4(p, L3, number, bytes)
  if (protocol === 'tcp') {
    const flags = flagBits(description.tcpFlags ?? 'SYN')
    tcp.writeHeader(p, L4, sourcePort, destinationPort, 1, 0, flags, WINDOW)
    tcp.fillChecksum(p, L4, bytes, pseudoSum)
  } else if (protocol === 'udp') {
    udp.writeHeader(p, L4, sourcePort, destinationPort, bytes)
    udp.fillChecksum(p, L4, pseudoSum)
  } else {
    icmpv4.writeHeader(p, L4, destinationPort, 0, (sourcePort << 16) | 1)
    icmpv4.fillChecksum(p, L4, bytes)
  }
  return memory
}

const PROTOCOLS: Readonly<Record<PacketDescription['protocol'], readonly [Protocol, number]>> = {
  tcp: [Protocol.TCP, tcp.TCP_HEADER_BYTES],
  udp: [Protocol.UDP, udp.UDP_HEADER_BYTES],
  icmp: [Protocol.ICMPV4, icmpv4.ICMPV4_HEADER_BYTES],
}

function flagBits(text: string): number {
  let bits = 0
  for (const name of text.toUpperCase().split(',')) {
    const bit = Object.hasOwn(tcp.Flag, name) ? tcp.Flag[name as keyof typeof tcp.Flag] : undefined
    if (bit === undefined) {
      throw invalid('tcpFlags', text, `some of ${Object.keys(tcp.Flag).join(', ')}`)
    }
    bits |= bit
  }
  return bits
}

function check(field: string, value: number, low: number, high: number): void {
  if (Number.isInteger(value) && value >= low && value <= high) return
  throw invalid(field, `${value}`, `a whole number from ${low} to ${high}`)
}

function invalid(field: string, found: string, expected: string): RingpathError {
  const text = `packet.${field}: '${found}', expected ${expected}`
  return new RingpathError(ErrorCode.CONFIG_INVALID, text)
}
