/**
 * What the datapath tells the outside of a packet: counters always, events while the ring has room.
 * The datapath never waits for an observer; an event without room is a counted loss.
 */
import type { EventRing } from '../maps/event-ring.js'
import type { PacketBuffer } from '../packet/packet-buffer.js'
import type { Direction } from '../packet/verdict.js'
import {
  EVENT_DETAIL_WORDS,
  EventType,
  EventWord,
  type ObservationPoint,
  SAMPLE_BYTES_MAX,
} from './event.js'
import { type Metrics, type NotedReason, REASON_FORWARDED } from './metrics.js'

/** What is told of a packet; the pipeline's context is one. */
export interface ObservedPacket {
  readonly packet: PacketBuffer
  readonly words: Int32Array
  readonly tupleStart: number
  readonly nowSeconds: number
  readonly nowNanoseconds: number
  readonly ingressPort: number
  readonly egressPort: number
  readonly direction: number
  readonly endpointId: number
  readonly sourceIdentity: number
  readonly destinationIdentity: number
  readonly ctResult: number
  readonly policyMatch: number
  readonly ruleCookie: number
  readonly isAudited: boolean
  readonly tcpFlags: number
  readonly nextStage: number
  readonly detail: Int32Array
  readonly detailCount: number
}

const TUPLE_WORDS = 10

export class Monitor {
  readonly #metrics: Metrics
  readonly #ring: EventRing

  constructor(metrics: Metrics, ring: EventRing) {
    this.#metrics = metrics
    this.#ring = ring
  }

  /** @param code the positive drop code */
  drop(ctx: ObservedPacket, code: number): void {
    this.#metrics.count(code, ctx.direction, ctx.packet.length)
    this.#event(ctx, EventType.DROP, code, ctx.direction)
  }

  forwarded(ctx: ObservedPacket): void {
    this.#metrics.count(REASON_FORWARDED, ctx.direction, ctx.packet.length)
  }

  /** Counts something about a packet beside its fate. */
  note(ctx: ObservedPacket, reason: NotedReason): void {
    this.#metrics.count(reason, ctx.direction, ctx.packet.length)
  }

  /** Packets that were forwarded as those of their flows before. */
  repeated(direction: number, frames: number, bytes: number): void {
    this.#metrics.add(REASON_FORWARDED, direction, frames, bytes)
  }

  trace(ctx: ObservedPacket, point: ObservationPoint): void {
    this.#event(ctx, EventType.TRACE, point, ctx.direction)
  }

  /** @param verdict 0, or a DropReason */
  policyVerdict(ctx: ObservedPacket, direction: Direction, verdict: number): void {
    this.#event(ctx, EventType.POLICY_VERDICT, -verdict, direction)
  }

  #event(ctx: ObservedPacket, type: EventType, code: number, direction: number): void {
    const at = this.#ring.reserve()
    if (at < 0) return
    const row = this.#ring.words
    row[at + EventWord.TYPE] = type
    row[at + EventWord.SECONDS] = ctx.nowSeconds
    row[at + EventWord.NANOSECONDS] = ctx.nowNanoseconds
    row[at + EventWord.CODE] = code
    row[at + EventWord.DIRECTION] = direction
    row[at + EventWord.ENDPOINT] = ctx.endpointId
    row[at + EventWord.INGRESS_PORT] = ctx.ingressPort
    row[at + EventWord.EGRESS_PORT] = ctx.egressPort
    row[at + EventWord.SOURCE_IDENTITY] = ctx.sourceIdentity
    row[at + EventWord.DESTINATION_IDENTITY] = ctx.destinationIdentity
    row[at + EventWord.CT_RESULT] = ctx.ctResult
    row[at + EventWord.POLICY_MATCH] = ctx.policyMatch
    row[at + EventWord.RULE_COOKIE] = ctx.ruleCookie
    row[at + EventWord.STAGE] = ctx.nextStage
    row[at + EventWord.TCP_FLAGS] = ctx.tcpFlags
    row[at + EventWord.IS_AUDITED] = ctx.isAudited ? 1 : 0
    for (let i = 0; i < TUPLE_WORDS; i++) {
      row[at + EventWord.TUPLE + i] = ctx.words[ctx.tupleStart + i] as number
    }
    for (let i = 0; i < EVENT_DETAIL_WORDS; i++) {
      row[at + EventWord.DETAIL + i] = i < ctx.detailCount ? (ctx.detail[i] as number) : 0
    }
    this.#sample(ctx.packet, row, at)
    this.#ring.commit()
  }

  /**
   * The frame's first bytes, in whole words; the last one may reach behind the packet but not
   * behind its frame.
   */
  #sample(packet: PacketBuffer, row: Int32Array, at: number): void {
    const bytes = Math.min(packet.length, SAMPLE_BYTES_MAX)
    row[at + EventWord.FRAME_BYTES] = packet.length
    row[at + EventWord.SAMPLE_BYTES] = bytes
    for (let offset = 0; offset < bytes; offset += 4) {
      row[at + EventWord.SAMPLE + (offset >> 2)] = packet.i32(offset)
    }
  }
}
