/**
 * Builds the frames that a simulated pod sends, whole and with right checksums, by the writers of
 * src/wire. Each returned frame is a copy of its own.
 */
import { PacketBuffer } from '../../packet/packet-buffer.js'
import type { Mac } from '../../wire/address.js'
import * as arp from '../../wire/arp.js'
import * as checksums from '../../wire/checksum.js'
import * as ethernet from '../../wire/ethernet.js'
import * as icmpv4 from '../../wire/icmpv4.js'
import * as ipv4 from '../../wire/ipv4.js'
import { EtherType, Protocol } from '../../wire/protocols.js'
import * as tcp from '../../wire/tcp.js'
import * as udp from '../../wire/udp.js'

export interface TcpSegment {
  readonly sourcePort: number
  readonly destinationPort: number
  readonly sequence: number
  readonly acknowledgment: number
  readonly flags: number
  readonly payloadBytes: number
}

const FRAME_BYTES_MAX = 2048
const L3 = ethernet.ETHERNET_HEADER_BYTES
const L4 = L3 + ipv4.IPV4_HEADER_BYTES
const TTL = 64
const WINDOW = 0xffff
const BROADCAST: Mac = { high: -1, low: 0xffff }

export class FrameWriter {
  readonly #bytes = new Uint8Array(FRAME_BYTES_MAX)
  readonly #packet = new PacketBuffer(this.#bytes.buffer, FRAME_BYTES_MAX)
  readonly #own: Mac
  /** Where frames go: the gateway, once ARP has told its address. */
  gateway: Mac = BROADCAST

  constructor(own: Mac) {
    this.#own = own
  }

  arpRequest(source: number, target: number): Uint8Array {
    this.#ethernet(BROADCAST, EtherType.ARP, L3 + arp.ARP_BYTES)
    arp.writeHeader(this.#packet, L3, arp.Operation.REQUEST)
    arp.setSender(this.#packet, L3, this.#own.high, this.#own.low, source)
    arp.setTarget(this.#packet, L3, 0, 0, target)
    return this.#bytes.slice(0, L3 + arp.ARP_BYTES)
  }

  /** @param type icmpv4.Type.ECHO_REQUEST or ECHO_REPLY */
  echo(
    source: number,
    destination: number,
    type: number,
    identifierAndSequence: number,
    payloadBytes: number,
  ): Uint8Array {
    const bytes = icmpv4.ICMPV4_HEADER_BYTES + payloadBytes
    this.#ipv4(source, destination, Protocol.ICMPV4, bytes)
    icmpv4.writeHeader(this.#packet, L4, type, 0, identifierAndSequence)
    icmpv4.fillChecksum(this.#packet, L4, bytes)
    return this.#bytes.slice(0, L4 + bytes)
  }

  udp(source: number, destination: number, ports: number, payloadBytes: number): Uint8Array {
    const bytes = udp.UDP_HEADER_BYTES + payloadBytes
    this.#ipv4(source, destination, Protocol.UDP, bytes)
    udp.writeHeader(this.#packet, L4, ports >>> 16, ports & 0xffff, bytes)
    const pseudoSum = checksums.pseudoHeader4(this.#packet, L3, Protocol.UDP, bytes)
    udp.fillChecksum(this.#packet, L4, pseudoSum)
    return this.#bytes.slice(0, L4 + bytes)
  }

  tcp(source: number, destination: number, segment: TcpSegment): Uint8Array {
    const bytes = tcp.TCP_HEADER_BYTES + segment.payloadBytes
    this.#ipv4(source, destination, Protocol.TCP, bytes)
    const { sourcePort, destinationPort, sequence, acknowledgment, flags } = segment
    const ports = [sourcePort, destinationPort] as const
    tcp.writeHeader(this.#packet, L4, ...ports, sequence, acknowledgment, flags, WINDOW)
    const pseudoSum = checksums.pseudoHeader4(this.#packet, L3, Protocol.TCP, bytes)
    tcp.fillChecksum(this.#packet, L4, bytes, pseudoSum)
    return this.#bytes.slice(0, L4 + bytes)
  }

  #ipv4(source: number, destination: number, protocol: number, payloadBytes: number): void {
    this.#ethernet(this.gateway, EtherType.IPV4, L4 + payloadBytes)
    const bytes = ipv4.IPV4_HEADER_BYTES + payloadBytes
    ipv4.writeHeader(this.#packet, L3, bytes, TTL, protocol, source, destination)
  }

  #ethernet(to: Mac, type: EtherType, frameBytes: number): void {
    this.#packet.attach(0, frameBytes)
    ethernet.setDestination(this.#packet, 0, to.high, to.low)
    ethernet.setSource(this.#packet, 0, this.#own.high, this.#own.low)
    ethernet.setType(this.#packet, 0, type)
  }
}
