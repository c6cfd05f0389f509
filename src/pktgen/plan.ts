/**
 * A TrafficSpec worked out: a template of each kind of frame, with the sums of what never changes in
 * it, and the order in which they are sent. All senders of ours, in the kernel or in TypeScript, go
 * by it. Headers have no options; the IPv4 header says "don't fragment" (RFC 6864).
 */
import { PacketBuffer } from '../packet/packet-buffer.js'
import { parseMac } from '../wire/address.js'
import * as checksums from '../wire/checksum.js'
import * as ethernet from '../wire/ethernet.js'
import * as ipv4 from '../wire/ipv4.js'
import { EtherType, Protocol } from '../wire/protocols.js'
import * as tcp from '../wire/tcp.js'
import * as udp from '../wire/udp.js'
import { VLAN_TAG_BYTES } from '../wire/vlan.js'
import { invalid } from './invalid.js'
import { intervalNanoseconds } from './rate.js'
import { FRAME_BYTES_MAX, FRAME_BYTES_MIN, scheduleOf } from './size-mix.js'
import { TAG_BYTES, TAG_MAGIC, TAG_WINDOW } from './tag.js'
import { checkSpec, type TrafficSpec } from './traffic-spec.js'

/** Bytes of each frame that a template holds: all headers, and the shortest frame whole. */
export const TEMPLATE_BYTES = FRAME_BYTES_MIN
/** Of mode `connection`. */
export const ConnectionTemplate = { SYN: 0, DATA: 1, FIN: 2 } as const

export interface FrameTemplate {
  readonly frameBytes: number
  readonly header: Uint8Array
  /** Nanoseconds from such a frame to the next, not whole ones. */
  readonly interval: number
  /** Sums (RFC 1071) without addresses, ports, TCP's sequence, and the tag's but for its magic. */
  readonly ipv4Sum: number
  readonly l4Sum: number
}

export interface TrafficPlan {
  readonly spec: TrafficSpec
  readonly l3Offset: number
  readonly l4Offset: number
  /** Where the tag lies in a frame that has one. */
  readonly tagOffset: number
  readonly templates: readonly FrameTemplate[]
  /** Of mode `udp`: which template comes next, again and again. */
  readonly schedule: Uint8Array
  /** Of mode `connection`: TCP data in each frame that has some. */
  readonly payloadBytes: number
  /** Frames until a flow begins anew: 1 but for connections. */
  readonly steps: number
  readonly frameBytesMax: number
}

const TIME_TO_LIVE = 64
/** A one-sided sender has seen nothing to acknowledge: any number is right but for a real peer. */
const ACKNOWLEDGMENT = 1

/** @throws RingpathError CONFIG_INVALID */
export function planOf(unchecked: TrafficSpec): TrafficPlan {
  const spec = checkSpec(unchecked)
  const l3Offset = ethernet.ETHERNET_HEADER_BYTES + (spec.vlan === 0 ? 0 : VLAN_TAG_BYTES)
  const l4Offset = l3Offset + ipv4.IPV4_HEADER_BYTES
  const isUdp = spec.mode === 'udp'
  const tagOffset = l4Offset + (isUdp ? udp.UDP_HEADER_BYTES : tcp.TCP_HEADER_BYTES)
  checkSizes(spec, tagOffset)
  const templates = templatesOf(spec, l3Offset, tagOffset)
  const largest = Math.max(...templates.map(({ frameBytes }) => frameBytes))
  return {
    spec,
    l3Offset,
    l4Offset,
    tagOffset,
    templates,
    schedule: isUdp ? scheduleOf(spec.sizes) : Uint8Array.of(0),
    payloadBytes: spec.mode === 'connection' ? largest - tagOffset : 0,
    steps: spec.mode === 'connection' ? spec.framesPerConnection : 1,
    frameBytesMax: largest,
  }
}

function checkSizes(spec: TrafficSpec, tagOffset: number): void {
  const isSyn = spec.mode === 'syn'
  const least = isSyn ? FRAME_BYTES_MIN : Math.max(FRAME_BYTES_MIN, tagOffset + TAG_BYTES)
  const most = isSyn ? FRAME_BYTES_MIN : FRAME_BYTES_MAX
  for (const { frameBytes } of spec.sizes) {
    if (frameBytes >= least && frameBytes <= most) continue
    if (isSyn) throw invalid('size', frameBytes, `${least}: a SYN has no data`)
    const room = `headers and the frame's number need ${least} bytes`
    throw invalid('size', frameBytes, `${least} to ${most}: ${room}`)
  }
}

function templatesOf(spec: TrafficSpec, l3: number, tagOffset: number): readonly FrameTemplate[] {
  const size = spec.sizes[0]?.frameBytes ?? FRAME_BYTES_MIN
  const { FIN, SYN, PSH, ACK } = tcp.Flag
  const make = (frameBytes: number, packetBytes: number, flags: number) =>
    templateOf(spec, l3, { frameBytes, packetBytes, flags })
  const tcpWithoutData = tagOffset - l3
  if (spec.mode === 'syn') return [make(size, tcpWithoutData, SYN)]
  if (spec.mode === 'connection') {
    return [
      make(Math.max(FRAME_BYTES_MIN, tagOffset), tcpWithoutData, SYN),
      make(size, size - l3, PSH | ACK),
      make(size, size - l3, FIN | PSH | ACK),
    ]
  }
  return spec.sizes.map(({ frameBytes }) => make(frameBytes, frameBytes - l3, 0))
}

interface Kind {
  readonly frameBytes: number
  /** IPv4's total length: what is behind it is Ethernet's padding. */
  readonly packetBytes: number
  /** Of TCP. */
  readonly flags: number
}

function templateOf(spec: TrafficSpec, l3: number, kind: Kind): FrameTemplate {
  const packet = new PacketBuffer(new ArrayBuffer(2048), 2048)
  packet.attach(0, kind.frameBytes)
  const protocol = spec.mode === 'udp' ? Protocol.UDP : Protocol.TCP
  const to = parseMac(spec.destinationMac)
  const from = parseMac(spec.sourceMac)
  ethernet.setDestination(packet, 0, to.high, to.low)
  ethernet.setSource(packet, 0, from.high, from.low)
  if (spec.vlan === 0) {
    ethernet.setType(packet, 0, EtherType.IPV4)
  } else {
    ethernet.setType(packet, 0, EtherType.VLAN)
    packet.setU16(ethernet.ETHERNET_HEADER_BYTES, spec.vlan)
    packet.setU16(ethernet.ETHERNET_HEADER_BYTES + 2, EtherType.IPV4)
  }
  ipv4.writeHeader(packet, l3, kind.packetBytes, TIME_TO_LIVE, protocol, 0, 0)
  // All of the header but its checksum, which is the complement of the sum.
  const ipv4Sum = ~ipv4.checksum(packet, l3) & 0xffff
  const l4 = l3 + ipv4.IPV4_HEADER_BYTES
  const l4Bytes = kind.packetBytes - ipv4.IPV4_HEADER_BYTES
  const isSyn = (kind.flags & tcp.Flag.SYN) !== 0
  if (protocol === Protocol.UDP) udp.writeHeader(packet, l4, 0, 0, l4Bytes)
  else {
    tcp.writeHeader(packet, l4, 0, 0, 0, isSyn ? 0 : ACKNOWLEDGMENT, kind.flags, TAG_WINDOW)
  }
  const pseudo = checksums.pseudoHeader4(packet, l3, protocol, l4Bytes)
  const constant = checksums.sumBytes(packet, l4, l4Bytes, pseudo)
  const l4Sum = checksums.fold(constant + (isSyn ? 0 : checksums.word(TAG_MAGIC)))
  const header = Uint8Array.from({ length: TEMPLATE_BYTES }, (_, at) => packet.u8(at))
  const interval = intervalNanoseconds(spec.rate, kind.frameBytes)
  return { frameBytes: kind.frameBytes, header, interval, ipv4Sum, l4Sum }
}
