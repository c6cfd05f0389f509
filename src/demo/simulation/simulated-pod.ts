/**
 * A pod of the simulation: behind its port the little of a network stack that the demonstration
 * uses. It resolves its gateway by ARP, answers ping, serves and opens TCP and UDP, and verifies
 * the checksums of whatever reaches it.
 */
import { PacketBuffer } from '../../packet/packet-buffer.js'
import type { MemoryPort } from '../../port/memory-port.js'
import { parseIpv4, parseMac } from '../../wire/address.js'
import * as arp from '../../wire/arp.js'
import * as checksums from '../../wire/checksum.js'
import * as ethernet from '../../wire/ethernet.js'
import * as icmpv4 from '../../wire/icmpv4.js'
import * as ipv4 from '../../wire/ipv4.js'
import { EtherType, Protocol } from '../../wire/protocols.js'
import * as tcp from '../../wire/tcp.js'
import * as udp from '../../wire/udp.js'
import { FrameWriter } from './frame-writer.js'
import { type Received, TcpPeer } from './tcp-peer.js'

/** A TCP server: how much it answers, and who closes. */
export interface TcpService {
  readonly answerBytes: number
  readonly serverCloses: boolean
}

export interface TcpRequest extends TcpService {
  readonly to: string
  readonly port: number
  readonly requestBytes: number
  /** Source address, where it is not the pod's own. */
  readonly from?: string
}

/** Something under way that waits for an answer. */
export interface Attempt {
  readonly isDone: boolean
}

/** A TCP connection that was begun. */
export interface Transfer extends Attempt {
  readonly sentBytes: number
  /** Sends no more of the request, and closes. */
  finish(): void
}

const L3 = ethernet.ETHERNET_HEADER_BYTES
const GATEWAY = '169.254.1.1'
const FRAME_BYTES_MAX = 2048
const PING_BYTES = 56
const DATAGRAM_BYTES = 32
/** RFC 6335 section 6: the dynamic ports. */
const DYNAMIC_PORT_MIN = 49_152
const DYNAMIC_PORTS = 16_384

export class SimulatedPod {
  readonly port: MemoryPort
  readonly tcpServices = new Map<number, TcpService>()
  readonly udpServices = new Set<number>()
  readonly #address: number
  readonly #writer: FrameWriter
  readonly #bytes = new Uint8Array(FRAME_BYTES_MAX)
  readonly #packet = new PacketBuffer(this.#bytes.buffer, FRAME_BYTES_MAX)
  readonly #peers = new Map<string, TcpPeer>()
  readonly #waiting = new Map<string, { isDone: boolean }>()
  #nextPort = 0
  #nextIdentifier = 0
  /** Frames that arrived with a wrong checksum: none, unless the pipeline is broken. */
  badChecksums = 0

  constructor(port: MemoryPort, address: string, mac: string) {
    this.port = port
    this.#address = parseIpv4(address)
    this.#writer = new FrameWriter(parseMac(mac))
    this.port.inject(this.#writer.arpRequest(this.#address, parseIpv4(GATEWAY)))
  }

  /** Handles what arrived; returns how many frames that were. */
  step(): number {
    const frames = this.port.take()
    for (const frame of frames) this.#receive(frame)
    return frames.length
  }

  /** One echo request of 56 bytes. */
  ping(to: string): Attempt {
    const identifier = ++this.#nextIdentifier & 0xffff
    const type = icmpv4.Type.ECHO_REQUEST
    const destination = parseIpv4(to)
    this.#send(this.#writer.echo(this.#address, destination, type, identifier << 16, PING_BYTES))
    return this.#wait(`ping ${identifier}`)
  }

  /** One datagram that waits for its echo. */
  sendDatagram(to: string, port: number): Attempt {
    const source = this.#dynamicPort()
    const ports = (source << 16) | port
    this.#send(this.#writer.udp(this.#address, parseIpv4(to), ports, DATAGRAM_BYTES))
    return this.#wait(`udp ${source}`)
  }

  /** A TCP connection, from SYN to the FIN of both sides. */
  request(options: TcpRequest): Transfer {
    const source = options.from === undefined ? this.#address : parseIpv4(options.from)
    const { port, requestBytes, serverCloses } = options
    const local = this.#dynamicPort()
    const flow = { localPort: local, remotePort: port, sendBytes: requestBytes, serverCloses }
    const peer = this.#open(source, parseIpv4(options.to), { ...flow, isClient: true })
    return {
      get isDone() {
        return peer.isClosed
      },
      get sentBytes() {
        return peer.sentBytes
      },
      finish: () => peer.finish(),
    }
  }

  #receive(frame: Uint8Array): void {
    this.#bytes.set(frame)
    this.#packet.attach(0, frame.length)
    const type = ethernet.type(this.#packet, 0)
    if (type === EtherType.ARP) this.#receiveArp()
    else if (type === EtherType.IPV4) this.#receiveIpv4()
  }

  #receiveArp(): void {
    if (arp.operation(this.#packet, L3) !== arp.Operation.REPLY) return
    const high = arp.senderMacHigh(this.#packet, L3)
    this.#writer.gateway = { high, low: arp.senderMacLow(this.#packet, L3) }
  }

  #receiveIpv4(): void {
    const p = this.#packet
    if (!ipv4.isChecksumRight(p, L3)) this.badChecksums++
    if (ipv4.destination(p, L3) !== this.#address) return
    const l4 = ipv4.payloadOffset(p, L3)
    const bytes = ipv4.payloadBytes(p, L3)
    const protocol = ipv4.protocol(p, L3)
    if (protocol === Protocol.ICMPV4) this.#receiveIcmp(l4, bytes)
    else if (protocol === Protocol.UDP) this.#receiveUdp(l4, bytes)
    else if (protocol === Protocol.TCP) this.#receiveTcp(l4, bytes)
  }

  #receiveIcmp(l4: number, bytes: number): void {
    const p = this.#packet
    if (!icmpv4.isChecksumRight(p, l4, bytes)) this.badChecksums++
    const identifier = icmpv4.identifier(p, l4)
    if (icmpv4.type(p, l4) === icmpv4.Type.ECHO_REPLY) this.#answer(`ping ${identifier}`)
    if (icmpv4.type(p, l4) !== icmpv4.Type.ECHO_REQUEST) return
    const rest = (identifier << 16) | icmpv4.sequence(p, l4)
    const payload = bytes - icmpv4.ICMPV4_HEADER_BYTES
    const to = ipv4.source(p, L3)
    this.#send(this.#writer.echo(this.#address, to, icmpv4.Type.ECHO_REPLY, rest, payload))
  }

  #receiveUdp(l4: number, bytes: number): void {
    const p = this.#packet
    const pseudoSum = checksums.pseudoHeader4(p, L3, Protocol.UDP, bytes)
    if (!udp.isChecksumRight(p, l4, pseudoSum)) this.badChecksums++
    const port = udp.destinationPort(p, l4)
    this.#answer(`udp ${port}`)
    if (!this.udpServices.has(port)) return
    const ports = (port << 16) | udp.sourcePort(p, l4)
    const payload = bytes - udp.UDP_HEADER_BYTES
    this.#send(this.#writer.udp(this.#address, ipv4.source(p, L3), ports, payload))
  }

  #receiveTcp(l4: number, bytes: number): void {
    const p = this.#packet
    const pseudoSum = checksums.pseudoHeader4(p, L3, Protocol.TCP, bytes)
    if (!tcp.isChecksumRight(p, l4, bytes, pseudoSum)) this.badChecksums++
    const segment: Received = {
      sequence: tcp.sequence(p, l4),
      acknowledgment: tcp.acknowledgment(p, l4),
      flags: tcp.flags(p, l4),
      payloadBytes: bytes - tcp.headerBytes(p, l4),
    }
    const remote = ipv4.source(p, L3)
    const localPort = tcp.destinationPort(p, l4)
    const remotePort = tcp.sourcePort(p, l4)
    const key = peerKey(remote, localPort, remotePort)
    let peer = this.#peers.get(key)
    const service = this.tcpServices.get(localPort)
    if (peer === undefined && service !== undefined && tcp.isOpening(p, l4)) {
      const { answerBytes, serverCloses } = service
      const flow = { localPort, remotePort, sendBytes: answerBytes, serverCloses }
      peer = this.#open(this.#address, remote, { ...flow, isClient: false })
    }
    peer?.receive(segment)
    if (peer?.isClosed === true) this.#peers.delete(key)
  }

  #open(source: number, remote: number, flow: PeerFlow): TcpPeer {
    const initialSequence = (this.#nextIdentifier++ * 64_000) | 0
    const peer = new TcpPeer({ ...flow, initialSequence }, (segment) =>
      this.#send(this.#writer.tcp(source, remote, segment)),
    )
    this.#peers.set(peerKey(remote, flow.localPort, flow.remotePort), peer)
    return peer
  }

  #send(frame: Uint8Array): void {
    this.port.inject(frame)
  }

  #wait(key: string): Attempt {
    const attempt = { isDone: false }
    this.#waiting.set(key, attempt)
    return attempt
  }

  #answer(key: string): void {
    const attempt = this.#waiting.get(key)
    if (attempt === undefined) return
    attempt.isDone = true
    this.#waiting.delete(key)
  }

  #dynamicPort(): number {
    return DYNAMIC_PORT_MIN + (this.#nextPort++ % DYNAMIC_PORTS)
  }
}

type PeerFlow = Omit<ConstructorParameters<typeof TcpPeer>[0], 'initialSequence'>

const peerKey = (remote: number, localPort: number, remotePort: number): string =>
  `${remote} ${localPort} ${remotePort}`
