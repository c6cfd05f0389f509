/**
 * One side of a simulated TCP connection, as little of RFC 9293 as the demonstration needs on a
 * wire that loses and reorders nothing: handshake, data with acknowledgements, close by both sides.
 * No retransmission, no window of the receiver's: what is dropped stays unanswered.
 */
import { Flag } from '../../wire/tcp.js'
import type { TcpSegment } from './frame-writer.js'

export const SEGMENT_BYTES_MAX = 1460
/** Data segments of a sender that may be unacknowledged. */
const WINDOW_SEGMENTS = 32

export interface TcpPeerOptions {
  readonly localPort: number
  readonly remotePort: number
  /** Bytes that a client sends as its request, and a server as its answer to the first data. */
  readonly sendBytes: number
  /** The server closes after its answer, as HTTP/1.0 does; else the client after its last byte. */
  readonly serverCloses: boolean
  readonly isClient: boolean
  readonly initialSequence: number
}

/** What a received segment holds. */
export type Received = Pick<TcpSegment, 'sequence' | 'acknowledgment' | 'flags' | 'payloadBytes'>

export class TcpPeer {
  readonly #options: TcpPeerOptions
  readonly #emit: (segment: TcpSegment) => void
  #isEstablished = false
  /** Bytes left to send; a server gets them with the first data it receives. */
  #toSend: number
  #next: number
  #acknowledged: number
  #expected = 0
  #hasSentFin = false
  #hasReceivedFin = false
  receivedBytes = 0
  sentBytes = 0

  constructor(options: TcpPeerOptions, emit: (segment: TcpSegment) => void) {
    this.#options = options
    this.#emit = emit
    this.#next = options.initialSequence
    this.#acknowledged = options.initialSequence
    this.#toSend = options.isClient ? options.sendBytes : 0
    if (options.isClient) this.#send(Flag.SYN)
  }

  /** Both sides have said all and know it. */
  get isClosed(): boolean {
    return this.#hasSentFin && this.#hasReceivedFin && this.#acknowledged === this.#next
  }

  /** The connection was accepted. */
  get isEstablished(): boolean {
    return this.#isEstablished
  }

  /** What was not sent yet never will be. */
  finish(): void {
    this.#toSend = 0
  }

  receive(segment: Received): void {
    const { flags, payloadBytes } = segment
    if ((flags & Flag.SYN) !== 0) this.#expected = segment.sequence
    if (segment.sequence !== this.#expected) return
    if ((flags & Flag.ACK) !== 0) this.#acknowledged = segment.acknowledgment
    const isFirstData = this.receivedBytes === 0 && payloadBytes > 0
    this.receivedBytes += payloadBytes
    const controls = (flags & Flag.SYN ? 1 : 0) + (flags & Flag.FIN ? 1 : 0)
    this.#expected = (this.#expected + payloadBytes + controls) | 0
    if ((flags & Flag.FIN) !== 0) this.#hasReceivedFin = true
    if (!this.#options.isClient && (flags & Flag.SYN) !== 0) {
      this.#send(Flag.SYN | Flag.ACK)
      return
    }
    this.#isEstablished = true
    if (isFirstData && !this.#options.isClient) this.#toSend = this.#options.sendBytes
    const before = this.#next
    this.#sendData()
    this.#closeWhenDone()
    const mustAcknowledge = payloadBytes > 0 || controls > 0
    if (mustAcknowledge && this.#next === before) this.#send(Flag.ACK)
  }

  #sendData(): void {
    const windowBytes = WINDOW_SEGMENTS * SEGMENT_BYTES_MAX
    while (this.#toSend > 0 && ((this.#next - this.#acknowledged) | 0) < windowBytes) {
      const bytes = Math.min(this.#toSend, SEGMENT_BYTES_MAX)
      this.#toSend -= bytes
      this.sentBytes += bytes
      this.#send(Flag.PSH | Flag.ACK, bytes)
    }
  }

  #closeWhenDone(): void {
    if (this.#hasSentFin || this.#toSend > 0) return
    const { isClient, serverCloses } = this.#options
    const hasAnswered = !isClient && this.receivedBytes > 0
    const hasSentAll = isClient && this.#acknowledged === this.#next
    const mayClose = serverCloses ? hasAnswered : hasSentAll
    if (!mayClose && !this.#hasReceivedFin) return
    this.#hasSentFin = true
    this.#send(Flag.FIN | Flag.ACK)
  }

  #send(flags: number, payloadBytes = 0): void {
    this.#emit({
      sourcePort: this.#options.localPort,
      destinationPort: this.#options.remotePort,
      sequence: this.#next,
      acknowledgment: (flags & Flag.ACK) !== 0 ? this.#expected : 0,
      flags,
      payloadBytes,
    })
    const controls = (flags & Flag.SYN ? 1 : 0) + (flags & Flag.FIN ? 1 : 0)
    this.#next = (this.#next + payloadBytes + controls) | 0
  }
}
