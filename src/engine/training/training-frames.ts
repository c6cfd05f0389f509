/**
 * What the training node gets to see: one frame of each kind, as words that are copied into a frame
 * of the packet memory and given a source port of their own. Checksums above IP are only filled in
 * where the chain looks at them.
 */
import type { PacketBuffer } from '../../packet/packet-buffer.js'
import * as arp from '../../wire/arp.js'
import * as checksums from '../../wire/checksum.js'
import * as ethernet from '../../wire/ethernet.js'
import * as icmpv4 from '../../wire/icmpv4.js'
import * as ipv4 from '../../wire/ipv4.js'
import { EtherType, Protocol } from '../../wire/protocols.js'
import * as sctp from '../../wire/sctp.js'
import * as tcp from '../../wire/tcp.js'
import * as udp from '../../wire/udp.js'
import * as vxlan from '../../wire/vxlan.js'
import * as node from './training-node.js'

export const L3 = ethernet.ETHERNET_HEADER_BYTES
export const L4 = L3 + ipv4.IPV4_HEADER_BYTES
export const TcpFlag = { FIN: 0x01, SYN: 0x02, RST: 0x04, ACK: 0x10 } as const
const TTL = 64
const FRAME_BYTES = 64
const LARGE_BYTES = 700
const PORT = 40_000
const VLAN_TAG = 7
const MORE_FRAGMENTS = 0x2000
const SECOND_FRAGMENT = 2
const FRAGMENT_WORD = 6
const TCP_CHECKSUM = 16
/** What makes a frame with an envelope in front begin at a whole word. */
const ENVELOPE_SHIFT = vxlan.ENVELOPE_BYTES % 4

/** What follows when a frame was forwarded: nothing, its reply, or an ICMP error about it. */
export const Answer = { NONE: 0, REPLY: 1, ERROR: 2 } as const
export type Answer = (typeof Answer)[keyof typeof Answer]

export interface TrainingFrame {
  readonly port: number
  readonly bytes: number
  readonly words: Int32Array
  /** Of the ports that each copy has anew; 0: every copy is the same. */
  readonly sourcePortOffset: number
  /** A TCP header that goes through a connection's flags; 0: none. */
  readonly tcpOffset: number
  readonly answer: Answer
}

/** Writes frames into one place of the packet memory and keeps what it wrote. */
export class FrameWriter {
  readonly #packet: PacketBuffer
  readonly #words: Int32Array
  readonly #start: number

  /** @param start where in the memory it may write, behind headroom for an envelope */
  constructor(packet: PacketBuffer, start: number) {
    this.#packet = packet
    this.#words = packet.memoryWords
    this.#start = start
  }

  /** The ways that most packets of a node take. */
  ordinary(): TrainingFrame[] {
    const { POD, UPLINK, OPEN_PORT, SERVICE_PORT } = node
    const { TCP, UDP } = Protocol
    const fromPod = [TCP, UDP].flatMap((protocol) => [
      this.#flow(POD, protocol, node.POD_ADDRESS, node.SERVER_ADDRESS, OPEN_PORT),
      this.#flow(POD, protocol, node.POD_ADDRESS, node.MIXED_SERVICE, SERVICE_PORT),
      this.#flow(POD, protocol, node.POD_ADDRESS, node.REMOTE_SERVICE, SERVICE_PORT),
      this.#flow(POD, protocol, node.POD_ADDRESS, node.REMOTE_POD_ADDRESS, OPEN_PORT),
      this.#flow(POD, protocol, node.POD_ADDRESS, node.OUTSIDE_ADDRESS, OPEN_PORT),
    ])
    const { OUTSIDE_ADDRESS: client, UPLINK_ADDRESS: here } = node
    const fromOutside = [
      this.#flow(UPLINK, TCP, client, here, node.LOCAL_NODE_PORT),
      this.#flow(UPLINK, UDP, client, here, node.REMOTE_NODE_PORT),
      this.#flow(UPLINK, TCP, client, here, node.OUTSIDE_NODE_PORT),
      this.#tunnelled(TCP, node.SERVER_ADDRESS),
      this.#tunnelled(UDP, node.SERVER_ADDRESS),
    ]
    return [...fromPod, ...fromOutside]
  }

  /** Every other way, and what is wrong or forbidden. */
  rare(): TrainingFrame[] {
    const { POD, SERVER, HOST, UPLINK, POD_ADDRESS, SERVER_ADDRESS, OUTSIDE_ADDRESS } = node
    const { TCP, UDP } = Protocol
    const { OPEN_PORT, SERVICE_PORT, CLOSED_PORT } = node
    const fromPod = (protocol: number, to: number, port = OPEN_PORT, answer?: Answer) =>
      this.#flow(POD, protocol, POD_ADDRESS, to, port, answer)
    return [
      fromPod(TCP, node.STICKY_SERVICE, SERVICE_PORT),
      fromPod(UDP, node.LOOPBACK_SERVICE, SERVICE_PORT),
      fromPod(TCP, node.EMPTY_SERVICE, SERVICE_PORT),
      fromPod(UDP, node.EMPTY_SERVICE, SERVICE_PORT),
      fromPod(TCP, node.MIXED_SERVICE, CLOSED_PORT),
      fromPod(TCP, SERVER_ADDRESS, CLOSED_PORT),
      fromPod(UDP, SERVER_ADDRESS, OPEN_PORT, Answer.ERROR),
      fromPod(UDP, OUTSIDE_ADDRESS, OPEN_PORT, Answer.ERROR),
      fromPod(UDP, node.MIXED_SERVICE, SERVICE_PORT, Answer.ERROR),
      fromPod(TCP, node.UNREACHABLE_ADDRESS),
      fromPod(TCP, node.STACK_ADDRESS),
      fromPod(UDP, node.UNREACHABLE_POD_ADDRESS),
      fromPod(UDP, node.STACK_POD_ADDRESS),
      fromPod(UDP, node.OTHER_DEVICE_ADDRESS),
      fromPod(TCP, SERVER_ADDRESS, node.EXACT_PORT),
      fromPod(TCP, OUTSIDE_ADDRESS, node.EXACT_PORT),
      fromPod(UDP, OUTSIDE_ADDRESS, node.RANGE_PORT),
      fromPod(TCP, node.SILENT_ADDRESS),
      fromPod(TCP, node.HOST_ADDRESS),
      this.#flow(HOST, TCP, node.HOST_ADDRESS, SERVER_ADDRESS, OPEN_PORT),
      this.#flow(SERVER, UDP, POD_ADDRESS, OUTSIDE_ADDRESS, OPEN_PORT),
      this.#flow(UPLINK, UDP, node.DENIED_ADDRESS, node.UPLINK_ADDRESS, node.LOCAL_NODE_PORT),
      this.#flow(UPLINK, TCP, OUTSIDE_ADDRESS, node.UPLINK_ADDRESS, CLOSED_PORT),
      this.#expiring(),
      this.#large(),
      this.#echo(SERVER_ADDRESS),
      this.#echo(OUTSIDE_ADDRESS),
      this.#echo(node.REMOTE_POD_ADDRESS),
      this.#sctp(),
      this.#fragment(MORE_FRAGMENTS),
      this.#fragment(SECOND_FRAGMENT),
      this.#arp(POD),
      this.#arp(HOST),
      this.#arp(UPLINK),
      this.#vlan(),
      this.#malformed(FRAME_BYTES, 0x86dd),
      this.#malformed(L3 + 8, EtherType.IPV4),
      this.#malformed(10, EtherType.IPV4),
      this.#truncated(),
      this.#tunnelled(TCP, node.HOST_ADDRESS),
      this.#tunnelled(TCP, node.UNREACHABLE_ADDRESS),
    ]
  }

  /** TCP or UDP; each copy is another flow. */
  #flow(
    port: number,
    protocol: number,
    from: number,
    to: number,
    toPort: number,
    answer: Answer = Answer.REPLY,
  ): TrainingFrame {
    this.#begin(EtherType.IPV4)
    this.#writeFlow(protocol, from, to, toPort)
    return this.#take(port, FRAME_BYTES, L4, protocol === Protocol.TCP ? L4 : 0, answer)
  }

  /** From the other node, by the tunnel. */
  #tunnelled(protocol: number, to: number): TrainingFrame {
    const packet = this.#packet
    this.#begin(EtherType.IPV4, FRAME_BYTES, ENVELOPE_SHIFT)
    this.#writeFlow(protocol, node.REMOTE_POD_ADDRESS, to, node.OPEN_PORT)
    const envelope = new vxlan.Envelope()
    envelope.source4 = node.REMOTE_NODE_ADDRESS
    envelope.destination4 = node.UPLINK_ADDRESS
    envelope.sourcePort = PORT
    envelope.destinationPort = node.TUNNEL_PORT
    envelope.vni = node.REMOTE_IDENTITY
    vxlan.pushEnvelope(packet, envelope)
    const inner = packet.length - FRAME_BYTES
    const tcpOffset = protocol === Protocol.TCP ? inner + L4 : 0
    return this.#take(node.UPLINK, packet.length, inner + L4, tcpOffset, Answer.REPLY)
  }

  /** Its last hop is this node. */
  #expiring(): TrainingFrame {
    this.#begin(EtherType.IPV4)
    this.#writeFlow(Protocol.UDP, node.POD_ADDRESS, node.OUTSIDE_ADDRESS, node.OPEN_PORT)
    ipv4.setTtl(this.#packet, L3, 1)
    ipv4.fillChecksum(this.#packet, L3)
    return this.#take(node.POD, FRAME_BYTES, L4, 0, Answer.NONE)
  }

  /** Too large for its way, and not to be cut. */
  #large(): TrainingFrame {
    this.#begin(EtherType.IPV4, LARGE_BYTES)
    const bytes = LARGE_BYTES - L3
    const { UDP } = Protocol
    ipv4.writeHeader(this.#packet, L3, bytes, TTL, UDP, node.POD_ADDRESS, node.NARROW_ADDRESS)
    udp.writeHeader(this.#packet, L4, PORT, node.OPEN_PORT, LARGE_BYTES - L4)
    return this.#take(node.POD, LARGE_BYTES, L4, 0, Answer.NONE)
  }

  #echo(to: number): TrainingFrame {
    const packet = this.#packet
    this.#begin(EtherType.IPV4)
    ipv4.writeHeader(packet, L3, FRAME_BYTES - L3, TTL, Protocol.ICMPV4, node.POD_ADDRESS, to)
    icmpv4.writeHeader(packet, L4, icmpv4.Type.ECHO_REQUEST, 0, PORT << 16)
    icmpv4.fillChecksum(packet, L4, FRAME_BYTES - L4)
    // The identifier takes the place of the port.
    return this.#take(node.POD, FRAME_BYTES, L4 + icmpv4.ICMPV4_HEADER_BYTES / 2, 0, Answer.REPLY)
  }

  /** Its checksum is over all of it, ports too: every copy is the same flow. */
  #sctp(): TrainingFrame {
    const packet = this.#packet
    this.#begin(EtherType.IPV4)
    const { POD_ADDRESS, OUTSIDE_ADDRESS, OPEN_PORT } = node
    const bytes = FRAME_BYTES - L3
    ipv4.writeHeader(packet, L3, bytes, TTL, Protocol.SCTP, POD_ADDRESS, OUTSIDE_ADDRESS)
    sctp.setSourcePort(packet, L4, PORT)
    sctp.setDestinationPort(packet, L4, OPEN_PORT)
    sctp.fillChecksum(packet, L4, FRAME_BYTES - L4)
    return this.#take(node.POD, FRAME_BYTES, 0, 0, Answer.NONE)
  }

  /** @param word of the IP header: flags, and where in the datagram it begins */
  #fragment(word: number): TrainingFrame {
    this.#begin(EtherType.IPV4)
    this.#writeFlow(Protocol.UDP, node.POD_ADDRESS, node.SERVER_ADDRESS, node.OPEN_PORT)
    this.#packet.setU16(L3 + FRAGMENT_WORD, word)
    ipv4.fillChecksum(this.#packet, L3)
    return this.#take(node.POD, FRAME_BYTES, 0, 0, Answer.NONE)
  }

  #arp(port: number): TrainingFrame {
    const packet = this.#packet
    this.#begin(EtherType.ARP)
    ethernet.setDestination(packet, 0, -1, 0xffff)
    arp.writeHeader(packet, L3, arp.Operation.REQUEST)
    const { high, low } = node.FOREIGN_MAC
    arp.setSender(packet, L3, high, low, node.POD_ADDRESS)
    arp.setTarget(packet, L3, 0, 0, node.GATEWAY_ADDRESS)
    return this.#take(port, FRAME_BYTES, 0, 0, Answer.NONE)
  }

  #vlan(): TrainingFrame {
    this.#begin(EtherType.VLAN)
    this.#packet.setU16(L3, VLAN_TAG)
    this.#packet.setU16(L3 + 2, EtherType.IPV4)
    return this.#take(node.UPLINK, FRAME_BYTES, 0, 0, Answer.NONE)
  }

  /** Too short for what its type says, or of a type that is not ours. */
  #malformed(bytes: number, etherType: number): TrainingFrame {
    this.#begin(etherType)
    return this.#take(node.POD, bytes, 0, 0, Answer.NONE)
  }

  /** The frame ends within the transport header. */
  #truncated(): TrainingFrame {
    this.#begin(EtherType.IPV4)
    const { POD_ADDRESS, SERVER_ADDRESS } = node
    ipv4.writeHeader(this.#packet, L3, L4 + 6 - L3, TTL, Protocol.TCP, POD_ADDRESS, SERVER_ADDRESS)
    return this.#take(node.POD, L4 + 6, 0, 0, Answer.NONE)
  }

  #begin(etherType: number, bytes = FRAME_BYTES, shift = 0): void {
    const packet = this.#packet
    packet.attach(this.#start + shift, bytes)
    for (let offset = 0; offset < bytes; offset += 4) packet.setI32(offset, 0)
    ethernet.setDestination(packet, 0, node.NODE_MAC.high, node.NODE_MAC.low)
    ethernet.setSource(packet, 0, node.FOREIGN_MAC.high, node.FOREIGN_MAC.low)
    ethernet.setType(packet, 0, etherType)
  }

  #writeFlow(protocol: number, from: number, to: number, toPort: number): void {
    const packet = this.#packet
    ipv4.writeHeader(packet, L3, FRAME_BYTES - L3, TTL, protocol, from, to)
    if (protocol === Protocol.UDP) {
      udp.writeHeader(packet, L4, PORT, toPort, FRAME_BYTES - L4)
      return
    }
    tcp.writeHeader(packet, L4, PORT, toPort, 1, 1, TcpFlag.SYN, 0xffff)
    // As a pod's kernel leaves it, the sum of the pseudo header alone: ports make no difference.
    const pseudo = checksums.pseudoHeader4(packet, L3, protocol, FRAME_BYTES - L4)
    packet.setU16(L4 + TCP_CHECKSUM, checksums.fold(pseudo))
  }

  #take(
    port: number,
    bytes: number,
    sourcePortOffset: number,
    tcpOffset: number,
    answer: Answer,
  ): TrainingFrame {
    const start = this.#packet.start
    // Frames begin at whole words, and a copy may reach to the end of the last one.
    const words = this.#words.slice(start >> 2, (start + bytes + 3) >> 2)
    return { port, bytes, words, sourcePortOffset, tcpOffset, answer }
  }
}
