/**
 * The lane for established flows, in front of the chain: it repeats what the chain did with the
 * last packet of the same flow. Nobody tells it what the chain decides; it compares the headers
 * before and after, and remembers the difference (addresses, ports, TTL, the checksum deltas that
 * follow from them, way out, MACs, envelope of the tunnel). docs/adr/0013 has the reasons.
 *
 * When it may repeat: a plain TCP or UDP packet (src/wire/plain4.ts) that neither opens nor closes
 * a connection; by the port, with the addresses and ports, that the chain forwarded a few seconds
 * ago; and no map of the control plane has changed since (src/maps/revision.ts), nor has a NAT
 * binding been evicted, nor a connection begun that it answers. Everything else takes the chain:
 * first packets, SYN, FIN and RST, ICMP, fragments, what comes out of a tunnel, drops, and one packet
 * of each flow every few seconds, which tells of the connection. A stage whose decision holds for one
 * packet alone says so (`isRepeatable`).
 */
import type { Conntrack } from '../conntrack/conntrack.js'
import type { Revisions } from '../maps/revision.js'
import type { Monitor } from '../monitor/monitor.js'
import type { Burst } from '../packet/burst.js'
import type { PacketBuffer } from '../packet/packet-buffer.js'
import * as envelope4 from '../wire/envelope4.js'
import { completePartialChecksum } from '../wire/partial-checksum.js'
import * as plain4 from '../wire/plain4.js'
import { ENVELOPE_BYTES } from '../wire/vxlan.js'
import { ROW_SHIFT as ADJACENCY_SHIFT } from './adjacency-table.js'
import type { PacketContext } from './context.js'
import { Around, FlowAction, TTL_HOPS_MAX } from './flow-action.js'
import { FlowLearner } from './flow-learner.js'
import type { FlowNews } from './flow-news.js'
import { KIND_MASK, NOTE_SHIFT, Note } from './flow-notes.js'
import { Flow, FlowTable, NO_FLOW } from './flow-table.js'

const { NONE, STEADY } = plain4.Plain
const { ACTION, NEW_ENDS_A, NEW_ENDS_B, NEW_ENDS_C, DELTAS, AROUND } = Flow
const { PORT_MASK, HOPS_SHIFT, DIRECTION_SHIFT, ENVELOPE, BYTES_SHIFT } = FlowAction
const { ADJACENCY_SHIFT: AROUND_SHIFT, PORT_MASK: AROUND_MASK } = Around
const { ENDS_A, ENDS_B, ENDS_C, WAY, TTL } = Note

/** In front of an envelope lie two bytes of its first word. */
const ENVELOPE_ROOM_BYTES = 52

export class FlowLane {
  readonly #revisions: Revisions
  readonly #monitor: Monitor
  readonly #packet: PacketBuffer
  /** The packet memory. */
  readonly #words: Int32Array
  readonly #isClosed: boolean
  readonly #news: FlowNews | undefined
  readonly #notes: Int32Array
  readonly #table: FlowTable
  readonly #flows: Int32Array
  readonly #adjacencies: Int32Array
  readonly #learner: FlowLearner
  /** Of this burst: frames and bytes by metric direction. */
  readonly #carried = new Int32Array(8)
  #revision = 0

  /** Indexes of the frames that the chain has to handle, in the burst's order. */
  readonly rest: Int32Array
  restCount = 0
  /** Frames repeated since the start. */
  repeated = 0
  /** Sum of the words touched ahead; kept so that no compiler may drop the loads. */
  touched = 0

  /**
   * @param isClosed every frame takes the chain
   * @param allocate see FlowTable
   * @param news to and from the lanes of other workers
   */
  constructor(
    state: { revisions: Revisions; conntrack: Conntrack; monitor: Monitor },
    packet: PacketBuffer,
    burstCapacity: number,
    isClosed: boolean,
    allocate?: (bytes: number) => ArrayBufferLike,
    news?: FlowNews,
  ) {
    this.#isClosed = isClosed
    this.#news = news
    this.#revisions = state.revisions
    this.#monitor = state.monitor
    this.#packet = packet
    this.#words = packet.memoryWords
    this.#table = new FlowTable(state.conntrack, isClosed ? 0 : state.conntrack.capacity, allocate)
    this.#flows = this.#table.words
    this.#learner = new FlowLearner(state.conntrack, this.#words, burstCapacity, this.#table, news)
    this.#notes = this.#learner.notes
    this.#adjacencies = this.#learner.adjacencies.words
    this.rest = new Int32Array(burstCapacity)
  }

  /** Carries the frames it can; `rest` has the others. */
  run(burst: Burst): void {
    if (this.#isClosed) {
      this.#leaveAll(burst.count)
      return
    }
    this.#table.setTime(burst.nowSeconds, burst.nowNanoseconds)
    const revision = this.#revisions.sum
    if (revision !== this.#revision) {
      this.#revision = revision
      this.#table.invalidate()
    }
    this.#news?.hear(this.#table)
    this.#touchFrames(burst)
    this.#placeFrames(burst)
    this.#touchFlows(burst.count)
    this.#repeatFrames(burst)
    this.#countCarried()
  }

  #leaveAll(count: number): void {
    for (let i = 0; i < count; i++) {
      this.#notes[i << NOTE_SHIFT] = NONE
      this.rest[i] = i
    }
    this.restCount = count
  }

  /**
   * The kernel has just written the frames, on another core: a load of each header's line, with
   * nothing that waits for it, lets their misses overlap.
   */
  #touchFrames(burst: Burst): void {
    const { starts, count } = burst
    const words = this.#words
    let touched = 0
    for (let i = 0; i < count; i++) {
      touched = (touched + (words[(starts[i] as number) >> 2] as number)) | 0
    }
    this.touched = touched
  }

  /** First pass: what flow is each frame of? The table's lines are touched for the same reason. */
  #placeFrames(burst: Burst): void {
    const { starts, lengths, ports, count } = burst
    const words = this.#words
    const notes = this.#notes
    const table = this.#table
    for (let i = 0; i < count; i++) {
      const note = i << NOTE_SHIFT
      const start = starts[i] as number
      const kind = plain4.classify(words, start, lengths[i] as number)
      if (kind === NONE) {
        notes[note] = NONE
        continue
      }
      const at = start >> 2
      const a = plain4.endsA(words, at)
      const b = plain4.endsB(words, at)
      const c = plain4.endsC(words, at)
      const way = ((ports[i] as number) << 8) | plain4.protocol(words, at)
      const home = table.homeOf(a, b, c, way)
      notes[note] = home | kind
      notes[note + ENDS_A] = a
      notes[note + ENDS_B] = b
      notes[note + ENDS_C] = c
      notes[note + WAY] = way
      notes[note + TTL] = plain4.ttl(words, at)
    }
  }

  /**
   * The table's lines, for the same reason. A loop of its own: a processor looks some hundred
   * instructions ahead, so the less stands between two loads, the more misses overlap.
   */
  #touchFlows(count: number): void {
    const notes = this.#notes
    const flows = this.#flows
    let touched = this.touched
    for (let i = 0; i < count; i++) {
      // The kind in the bits below stays in the line, and NONE is the first flow's.
      touched = (touched + (flows[notes[i << NOTE_SHIFT] as number] as number)) | 0
    }
    this.touched = touched
  }

  /** Second pass: what is known is repeated, the rest is for the chain. */
  #repeatFrames(burst: Burst): void {
    const { starts, count } = burst
    const notes = this.#notes
    const table = this.#table
    const rest = this.rest
    let restCount = 0
    for (let i = 0; i < count; i++) {
      const note = i << NOTE_SHIFT
      const place = notes[note] as number
      if (place !== NONE) {
        const flow = table.find(
          place & ~KIND_MASK,
          notes[note + ENDS_A] as number,
          notes[note + ENDS_B] as number,
          notes[note + ENDS_C] as number,
          notes[note + WAY] as number,
        )
        if (flow !== NO_FLOW) {
          const at = (starts[i] as number) >> 2
          if ((place & KIND_MASK) === STEADY && this.#mayRepeat(flow, at)) {
            this.#repeat(flow, at, burst, i)
            continue
          }
          // Nor may a later packet of this burst overtake what the chain now decides.
          table.forget(flow)
        }
      }
      rest[restCount++] = i
    }
    this.repeated += count - restCount
    this.restCount = restCount
  }

  #mayRepeat(flow: number, at: number): boolean {
    const words = this.#words
    if (!this.#table.isFresh(flow)) return false
    const action = this.#flows[flow + ACTION] as number
    const hops = (action >>> HOPS_SHIFT) & TTL_HOPS_MAX
    if (plain4.ttl(words, at) <= hops) return false
    if (plain4.totalLength(words, at) > action >>> BYTES_SHIFT) return false
    return (action & ENVELOPE) === 0 || this.#hasRoom(at)
  }

  #hasRoom(at: number): boolean {
    this.#packet.attach(at << 2, 0)
    return this.#packet.headroom >= ENVELOPE_ROOM_BYTES
  }

  /** Rewrites the frame as the flow's last one was, and sends it the same way. */
  #repeat(flow: number, at: number, burst: Burst, index: number): void {
    const flows = this.#flows
    const words = this.#words
    const bytes = burst.lengths[index] as number
    if (plain4.isChecksumPartial(words, at)) this.#completeChecksum(at, bytes)
    const action = flows[flow + ACTION] as number
    plain4.rewrite(
      words,
      at,
      flows[flow + NEW_ENDS_A] as number,
      flows[flow + NEW_ENDS_B] as number,
      flows[flow + NEW_ENDS_C] as number,
      (action >>> HOPS_SHIFT) & TTL_HOPS_MAX,
      flows[flow + DELTAS] as number,
    )
    const adjacencies = this.#adjacencies
    const around = flows[flow + AROUND] as number
    const row = (around >>> AROUND_SHIFT) << ADJACENCY_SHIFT
    words[at] = adjacencies[row] as number
    words[at + 1] = adjacencies[row + 1] as number
    words[at + 2] = adjacencies[row + 2] as number
    if ((action & ENVELOPE) !== 0) {
      envelope4.write(words, at, adjacencies, row + 3, bytes, around & AROUND_MASK)
      burst.starts[index] = (at << 2) - ENVELOPE_BYTES
      burst.lengths[index] = bytes + ENVELOPE_BYTES
    }
    burst.ports[index] = action & PORT_MASK
    this.#table.count(flow, bytes)
    const counter = ((action >>> DIRECTION_SHIFT) & 3) << 1
    this.#carried[counter] = (this.#carried[counter] as number) + 1
    this.#carried[counter + 1] =
      (this.#carried[counter + 1] as number) + (burst.lengths[index] as number)
  }

  #completeChecksum(at: number, bytes: number): void {
    const p = this.#packet
    p.attach(at << 2, bytes)
    const protocol = plain4.protocol(this.#words, at)
    completePartialChecksum(p, plain4.L3_OFFSET, plain4.L4_OFFSET, protocol)
  }

  #countCarried(): void {
    const carried = this.#carried
    for (let direction = 0; direction < 4; direction++) {
      const frames = carried[2 * direction] as number
      if (frames === 0) continue
      this.#monitor.repeated(direction, frames, carried[2 * direction + 1] as number)
      carried[2 * direction] = 0
      carried[2 * direction + 1] = 0
    }
  }

  /** The chain has forwarded frame `index`: see FlowLearner. */
  learn(ctx: PacketContext, index: number, start: number, bytes: number): void {
    this.#learner.learn(ctx, index, start, bytes)
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
