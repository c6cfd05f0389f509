/**
 * The lane for established flows, in front of the chain: it repeats what the chain did with the
 * last packet of the same flow. Nobody tells it what the chain decides; it compares the headers
 * before and after, and remembers the difference (addresses, ports, TTL, the checksum deltas that
 * follow from them, way out, MACs, envelope of the tunnel). docs/adr/0013 has the reasons.
 *
 * It repeats a packet only if
 *
 * - it is plain TCP or UDP (src/wire/plain4.ts) and neither opens nor closes a connection;
 * - the chain forwarded one with the same ingress port, addresses and ports within the last REPEAT_SECONDS, or the
 *   flow was renewed since (flow-table.ts);
 * - since then no map of the control plane has changed (src/maps/revision.ts), no NAT binding was evicted
 *   or collected while it was in use, and no connection has begun that the packet would be a reply to.
 *
 * All else takes the chain: first packets, SYN, FIN and RST, ICMP, fragments, what comes out of a tunnel,
 * drops, and now and then a packet of each flow, which tells of the connection. A stage whose decision
 * holds for one packet alone says so (`isRepeatable`).
 */
import { assert } from '../base/assert.js'
import type { Conntrack } from '../conntrack/conntrack.js'
import type { ReverseNatTable } from '../lb/reverse-nat-table.js'
import type { Revisions } from '../maps/revision.js'
import type { Monitor } from '../monitor/monitor.js'
import type { Burst } from '../packet/burst.js'
import type { PacketBuffer } from '../packet/packet-buffer.js'
import * as plain4 from '../wire/plain4.js'
import type { PacketContext } from './context.js'
import { FlowLearner } from './flow-learner.js'
import type { FlowNews } from './flow-news.js'
import { NOTE_SHIFT, Note } from './flow-notes.js'
import { type AllocateMemory, FlowTable } from './flow-table.js'
import {
  CARRIED_WORDS,
  carriedBytes,
  carriedFrames,
  type LanePasses,
  lanePasses,
} from './lane-passes.js'

const { NONE } = plain4.Plain

/** What the lane works for: a node's state, or the training's (src/engine/training). */
export interface LaneState {
  readonly revisions: Revisions
  readonly conntrack: Conntrack
  readonly reverseNat: ReverseNatTable
  readonly monitor: Monitor
}

export class FlowLane {
  readonly #packet: PacketBuffer
  readonly #isClosed: boolean
  readonly #table: FlowTable
  readonly #learner: FlowLearner
  /** Of this burst, by metric direction: see carriedFrames, carriedBytes. */
  readonly #carried = new Int32Array(CARRIED_WORDS)
  #state: LaneState | null = null
  #news: FlowNews | undefined
  #burst: Burst | null = null
  #passes: LanePasses | null = null
  #revision = 0

  /** Indexes of the frames that the chain has to handle, in the burst's order. */
  readonly rest: Int32Array
  restCount = 0
  /** Frames repeated since it began. */
  repeated = 0
  /** Sum of the words touched ahead; kept so that no compiler may drop the loads. */
  touched = 0

  /**
   * @param packet over the memory that all bursts' frames lie in
   * @param flows that may be remembered; 0: every frame takes the chain
   * @param allocate see FlowTable
   */
  constructor(
    packet: PacketBuffer,
    burstCapacity: number,
    flows: number,
    allocate?: AllocateMemory,
  ) {
    this.#packet = packet
    this.#isClosed = flows === 0
    this.#table = new FlowTable(flows, allocate)
    this.#learner = new FlowLearner(packet.memoryWords, burstCapacity, this.#table)
    this.rest = new Int32Array(burstCapacity)
  }

  /** See FlowTable; until it serves another node. */
  set relearnedMax(flows: number) {
    this.#table.relearnedMax = flows
  }

  /** Over the same memory? */
  fits(packet: PacketBuffer): boolean {
    return packet.memoryWords.buffer === this.#packet.memoryWords.buffer
  }

  /**
   * Begins anew, with the frames of this state's node.
   *
   * @param news to and from the lanes of other workers
   */
  serve(state: LaneState, news?: FlowNews): void {
    this.#state = state
    this.#news = news
    this.#table.serve(state.conntrack)
    this.#learner.serve(state, news)
    // Another one than now: the first burst takes the way of a change, which the training is to know.
    this.#revision = ~state.revisions.sum
    this.#carried.fill(0)
    this.repeated = 0
  }

  /** Carries the frames it can; `rest` has the others. */
  run(burst: Burst): void {
    if (this.#isClosed) {
      this.leaveAll(burst.count)
      return
    }
    const passes = burst === this.#burst ? this.#passes : this.#begin(burst)
    const state = this.#state
    assert(passes !== null && state !== null, 'a lane that serves nobody')
    this.#table.setTime(burst.nowSeconds, burst.nowNanoseconds)
    const revision = state.revisions.sum
    if (revision !== this.#revision) {
      this.#revision = revision
      this.#table.invalidate()
    }
    this.#news?.hear(this.#table)
    const count = burst.count
    const touched = passes.touchFrames(count)
    passes.placeFrames(count)
    this.touched = (touched + passes.touchFlows(count)) | 0
    this.restCount = passes.repeatFrames(count)
    this.repeated += count - this.restCount
    this.#countCarried(state.monitor)
  }

  /** All bursts are one object, but in tests. */
  #begin(burst: Burst): LanePasses {
    const { rest } = this
    const { notes, adjacencies } = this.#learner
    this.#burst = burst
    this.#passes = lanePasses({
      packet: this.#packet,
      burst,
      notes,
      table: this.#table,
      adjacencies: adjacencies.words,
      adjacencyPairs: adjacencies.pairs,
      rest,
      carried: this.#carried,
    })
    return this.#passes
  }

  /** Leaves every frame of a burst to the chain, and notes none: nothing is learned of them. */
  leaveAll(count: number): void {
    const { notes } = this.#learner
    for (let i = 0; i < count; i++) {
      notes[(i << NOTE_SHIFT) + Note.HOME_AND_KIND] = NONE
      this.rest[i] = i
    }
    this.restCount = count
  }

  #countCarried(monitor: Monitor): void {
    const carried = this.#carried
    for (let direction = 0; direction < 4; direction++) {
      const word = carried[direction] as number
      if (word === 0) continue
      monitor.repeated(direction, carriedFrames(word), carriedBytes(word))
      carried[direction] = 0
    }
  }

  /** The chain has forwarded frame `index`: see FlowLearner. */
  learn(ctx: PacketContext, index: number, start: number, bytes: number): void {
    this.#learner.learn(ctx, index, start, bytes)
  }

  /** The chain has handled `rest`: what its connections make void is forgotten. */
  endBurst(): void {
    this.#learner.forgetReplies()
  }

  /** Housekeeping: a part of the table, so that flows which ended are counted too. */
  step(): void {
    this.#table.sweep()
  }

  /** Brings the connections' counters up to date: before a dump, and when the worker ends. */
  settleAll(): void {
    this.#table.settleAll()
  }
}
