/**
 * Copies frames into a capture's ring, at the points that its reader asks for. There is one only
 * while a capture is on: without one the pipeline knows nothing of captures.
 *
 * A packet is asked for from the first of its points at which the frame, as it is there, meets the
 * conditions; from there on it is followed, whatever it is translated to. Records are handed over at
 * the end of the burst, when it is known what became of each packet. A full ring loses the record and
 * counts it; the datapath never waits.
 *
 * What the flow lane carries passes no stage: its frames are captured at ports, marked. A capture that
 * asks for stages or identities makes the lane rest (`needsChain`).
 */

import { BURST_CAPACITY } from '../base/limits.js'
import { type EventRing, NO_ROOM } from '../maps/event-ring.js'
import {
  ANY,
  CapturePoint,
  CaptureRecord,
  CaptureVerdict,
  CaptureWord,
  hasBit,
} from '../monitor/capture.js'
import type { Burst } from '../packet/burst.js'
import type { PacketBuffer } from '../packet/packet-buffer.js'
import { Verdict } from '../packet/verdict.js'
import * as ethernet from '../wire/ethernet.js'
import * as ipv4 from '../wire/ipv4.js'
import { EtherType } from '../wire/protocols.js'
import * as udp from '../wire/udp.js'
import type { PacketContext } from './context.js'
import type { PipelineObserver } from './observer.js'
import { TAIL_CALLS_MAX } from './tail-call.js'
import { hasPorts } from './translate.js'

const NOTHING = -1
/** Packets of a worker before their numbers meet those of the next. */
const WORKER_SHIFT = 27
/** In and out, a stage of each tail call, and the drop. */
const RECORDS_PER_PACKET_MAX = TAIL_CALLS_MAX + 3
const PENDING_MAX = BURST_CAPACITY * RECORDS_PER_PACKET_MAX
const L3_OFFSET = ethernet.ETHERNET_HEADER_BYTES

export class PacketTap implements PipelineObserver {
  /** Every packet has to take the chain, or its stages and identities are not known. */
  readonly needsChain: boolean
  readonly #wish: Int32Array
  readonly #ring: EventRing
  readonly #packet: PacketBuffer
  readonly #hasConditions: boolean
  readonly #snapBytes: number
  #seconds = 0
  #nanoseconds = 0
  #packets: number
  /** By frame of the burst: its last record, whether it is asked for, whether the chain gets it. */
  readonly #last = new Int32Array(BURST_CAPACITY)
  readonly #isMatched = new Uint8Array(BURST_CAPACITY)
  readonly #isRest = new Uint8Array(BURST_CAPACITY)
  /** By record of the burst: where it is in the ring, and the record before of the same frame. */
  readonly #at = new Int32Array(PENDING_MAX)
  readonly #previous = new Int32Array(PENDING_MAX)
  #pending = 0
  /** Frame that the chain works on. */
  #current = 0

  /**
   * @param wish words as CaptureWord has them; kept
   * @param worker whose packets are numbered apart from those of the others
   */
  constructor(wish: Int32Array, ring: EventRing, packet: PacketBuffer, worker = 0) {
    this.#packets = worker << WORKER_SHIFT
    this.#wish = wish
    this.#ring = ring
    this.#packet = packet
    this.needsChain = this.#asks(CapturePoint.STAGE) || wish[CaptureWord.IDENTITY] !== 0
    const room = (ring.spec.valueWords - CaptureRecord.FRAME) * 4
    this.#snapBytes = Math.min(wish[CaptureWord.SNAP_BYTES] as number, room)
    this.#hasConditions = hasConditions(wish)
  }

  /** Before anything is done to the frames of a burst. */
  arrive(burst: Burst): void {
    this.#seconds = burst.nowSeconds
    this.#nanoseconds = burst.nowNanoseconds
    this.#last.fill(NOTHING)
    this.#isMatched.fill(0)
    if (!this.#asks(CapturePoint.INGRESS)) return
    for (let i = 0; i < burst.count; i++) {
      const port = burst.ports[i] as number
      this.#packet.attach(burst.starts[i] as number, burst.lengths[i] as number)
      if (!hasBit(this.#wish, CaptureWord.INGRESS_PORTS, port)) continue
      this.#record(i, CapturePoint.INGRESS, port, 0)
    }
  }

  /** After the lane: what is not in `rest` it has carried. */
  carried(burst: Burst, rest: Int32Array, restCount: number): void {
    if (restCount === burst.count) return
    this.#isRest.fill(0)
    for (let n = 0; n < restCount; n++) this.#isRest[rest[n] as number] = 1
    for (let i = 0; i < burst.count; i++) {
      if (this.#isRest[i] !== 1) this.#repeated(burst, i)
    }
  }

  /** The chain begins with a frame. */
  begin(index: number): void {
    this.#current = index
  }

  begins(): void {
    // What there is to note before the entry is in `arrive`.
  }

  /** A stage has run; the frame as it is now is what the next one gets. */
  passed(ctx: PacketContext, _stage: number, verdict: Verdict): void {
    if (verdict !== Verdict.CONTINUE) return
    if (!hasBit(this.#wish, CaptureWord.STAGES, ctx.nextStage)) return
    this.#record(this.#current, CapturePoint.STAGE, ctx.ingressPort, ctx.nextStage)
  }

  /** The chain has decided; the packet is as it leaves, or as it was dropped. */
  end(ctx: PacketContext, verdict: Verdict): void {
    const index = this.#current
    if (verdict === Verdict.REDIRECT) this.#leaves(index, ctx.egressPort)
    else if (verdict < 0 && this.#asks(CapturePoint.DROP)) {
      this.#record(index, CapturePoint.DROP, ctx.ingressPort, ctx.nextStage)
    }
    if (this.#last[index] === NOTHING) return
    const isWanted = this.#wants(verdict) && this.#hasIdentity(ctx)
    const words = this.#ring.words
    this.#packets = (this.#packets + 1) | 0
    for (let n = this.#last[index] as number; n !== NOTHING; n = this.#previous[n] as number) {
      const at = this.#at[n] as number
      if (!isWanted) words[at + CaptureRecord.POINT] = CapturePoint.VOID
      words[at + CaptureRecord.VERDICT] = verdict
      words[at + CaptureRecord.LAST_STAGE] = ctx.nextStage
      words[at + CaptureRecord.EGRESS_PORT] = verdict === Verdict.REDIRECT ? ctx.egressPort : -1
      words[at + CaptureRecord.SOURCE_IDENTITY] = ctx.sourceIdentity
      words[at + CaptureRecord.DESTINATION_IDENTITY] = ctx.destinationIdentity
      words[at + CaptureRecord.CT_RESULT] = ctx.ctResult
      words[at + CaptureRecord.RULE_COOKIE] = ctx.ruleCookie
      words[at + CaptureRecord.DIRECTION] = ctx.direction
      words[at + CaptureRecord.ENDPOINT] = ctx.endpointId
      words[at + CaptureRecord.IS_REPEATED] = 0
      words[at + CaptureRecord.PACKET] = this.#packets
    }
  }

  /** Hands over what the burst has left. */
  flush(): void {
    if (this.#pending > 0) this.#ring.commit(this.#pending)
    this.#pending = 0
  }

  #repeated(burst: Burst, index: number): void {
    this.#packet.attach(burst.starts[index] as number, burst.lengths[index] as number)
    const port = burst.ports[index] as number
    this.#leaves(index, port)
    if (this.#last[index] === NOTHING) return
    const isWanted = this.#wants(Verdict.REDIRECT)
    const words = this.#ring.words
    this.#packets = (this.#packets + 1) | 0
    for (let n = this.#last[index] as number; n !== NOTHING; n = this.#previous[n] as number) {
      const at = this.#at[n] as number
      if (!isWanted) words[at + CaptureRecord.POINT] = CapturePoint.VOID
      words.fill(0, at + CaptureRecord.LAST_STAGE, at + CaptureRecord.FRAME_BYTES)
      words[at + CaptureRecord.VERDICT] = Verdict.REDIRECT
      words[at + CaptureRecord.EGRESS_PORT] = port
      words[at + CaptureRecord.IS_REPEATED] = 1
      words[at + CaptureRecord.PACKET] = this.#packets
    }
  }

  #leaves(index: number, port: number): void {
    if (!this.#asks(CapturePoint.EGRESS)) return
    if (!hasBit(this.#wish, CaptureWord.EGRESS_PORTS, port)) return
    this.#record(index, CapturePoint.EGRESS, port, 0)
  }

  #asks(point: CapturePoint): boolean {
    return (((this.#wish[CaptureWord.POINTS] as number) >>> point) & 1) !== 0
  }

  #wants(verdict: Verdict): boolean {
    const code = this.#wish[CaptureWord.DROP_CODE] as number
    if (code !== 0 && verdict !== -code) return false
    const wanted = this.#wish[CaptureWord.VERDICT]
    return wanted === CaptureVerdict.ANY || (wanted === CaptureVerdict.DROPPED) === verdict < 0
  }

  #hasIdentity(ctx: PacketContext): boolean {
    const identity = this.#wish[CaptureWord.IDENTITY]
    if (identity === 0) return true
    return ctx.sourceIdentity === identity || ctx.destinationIdentity === identity
  }

  #record(index: number, point: CapturePoint, port: number, stage: number): void {
    if (this.#isMatched[index] === 0) {
      if (this.#hasConditions && !this.#matches()) return
      this.#isMatched[index] = 1
    }
    const ring = this.#ring
    const pending = this.#pending
    const at = pending === PENDING_MAX ? NO_ROOM : ring.reserve(pending)
    if (at === NO_ROOM) return
    const words = ring.words
    words[at + CaptureRecord.POINT] = point
    words[at + CaptureRecord.SECONDS] = this.#seconds
    words[at + CaptureRecord.NANOSECONDS] = this.#nanoseconds
    words[at + CaptureRecord.PORT] = port
    words[at + CaptureRecord.STAGE] = stage
    this.#copy(words, at)
    this.#at[pending] = at
    this.#previous[pending] = this.#last[index] as number
    this.#last[index] = pending
    this.#pending = pending + 1
  }

  /** Whole words: the last one may reach behind the packet, but not behind its frame. */
  #copy(words: Int32Array, at: number): void {
    const packet = this.#packet
    const bytes = Math.min(packet.length, this.#snapBytes)
    words[at + CaptureRecord.FRAME_BYTES] = packet.length
    words[at + CaptureRecord.CAPTURED_BYTES] = bytes
    const frame = at + CaptureRecord.FRAME
    if (packet.isChained) {
      // A view for each: packets of several buffers are few, and a capture is for a while.
      const target = new Uint8Array(words.buffer, words.byteOffset + 4 * frame, bytes)
      packet.copyTo(target, 0, bytes)
      return
    }
    for (let offset = 0; offset < bytes; offset += 4) {
      words[frame + (offset >> 2)] = packet.i32(offset)
    }
  }

  /** Does the frame as it is now meet the conditions? Only IPv4 meets any. */
  #matches(): boolean {
    const p = this.#packet
    const wish = this.#wish
    if (!ethernet.isValid(p, 0) || ethernet.type(p, 0) !== EtherType.IPV4) return false
    if (!ipv4.isValid(p, L3_OFFSET)) return false
    const source = ipv4.source(p, L3_OFFSET)
    const destination = ipv4.destination(p, L3_OFFSET)
    if (!within(wish, CaptureWord.SOURCE, source)) return false
    if (!within(wish, CaptureWord.DESTINATION, destination)) return false
    const { ADDRESS } = CaptureWord
    if (!within(wish, ADDRESS, source) && !within(wish, ADDRESS, destination)) return false
    const protocol = ipv4.protocol(p, L3_OFFSET)
    if (wish[CaptureWord.PROTOCOL] !== ANY && wish[CaptureWord.PROTOCOL] !== protocol) return false
    return !hasPortConditions(wish) || this.#matchesPorts(protocol)
  }

  #matchesPorts(protocol: number): boolean {
    const p = this.#packet
    const wish = this.#wish
    if (!hasPorts(protocol) || ipv4.isLaterFragment(p, L3_OFFSET)) return false
    const l4Offset = ipv4.payloadOffset(p, L3_OFFSET)
    if (!p.has(l4Offset + udp.UDP_HEADER_BYTES)) return false
    const source = udp.sourcePort(p, l4Offset)
    const destination = udp.destinationPort(p, l4Offset)
    return (
      isPort(wish, CaptureWord.SOURCE_PORT, source) &&
      isPort(wish, CaptureWord.DESTINATION_PORT, destination) &&
      (isPort(wish, CaptureWord.PORT, source) || isPort(wish, CaptureWord.PORT, destination))
    )
  }
}

const within = (wish: Int32Array, word: number, address: number): boolean =>
  (((wish[word] as number) ^ address) & (wish[word + 1] as number)) === 0

const isPort = (wish: Int32Array, word: number, port: number): boolean =>
  wish[word] === ANY || wish[word] === port

function hasPortConditions(wish: Int32Array): boolean {
  const { PORT, SOURCE_PORT, DESTINATION_PORT } = CaptureWord
  return wish[PORT] !== ANY || wish[SOURCE_PORT] !== ANY || wish[DESTINATION_PORT] !== ANY
}

function hasConditions(wish: Int32Array): boolean {
  const { ADDRESS, SOURCE, DESTINATION, PROTOCOL } = CaptureWord
  const masks = [ADDRESS, SOURCE, DESTINATION].some((word) => wish[word + 1] !== 0)
  return masks || wish[PROTOCOL] !== ANY || hasPortConditions(wish)
}
