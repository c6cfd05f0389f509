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
import * as ipv4 from '../wire/ipv4.js'
import { completePartialChecksum } from '../wire/partial-checksum.js'
import * as plain4 from '../wire/plain4.js'
import { Protocol } from '../wire/protocols.js'
import { ENVELOPE_BYTES as BYTES } from '../wire/vxlan.js'
import { AdjacencyTable, ROW_SHIFT } from './adjacency-table.js'
import type { PacketContext } from './context.js'
import { FlowAction, TTL_HOPS_MAX as HOPS_MAX, packAction } from './flow-action.js'
import type { FlowNews } from './flow-news.js'
import { Flow, FlowTable, NO_FLOW as NONE_FOUND } from './flow-table.js'

// Constants of this file, and not of another: V8 folds those it finds in a function's own module,
// and reads an imported or exported one anew, checks included, at each use.
const { NONE, STEADY } = plain4.Plain
const { ACTION, NEW_ENDS_A, NEW_ENDS_B, NEW_ENDS_C, DELTAS, AROUND } = Flow
const NO_FLOW = NONE_FOUND
const { PORT_MASK, HOPS_SHIFT, DIRECTION_SHIFT, ENVELOPE, BYTES_SHIFT } = FlowAction
const TTL_HOPS_MAX = HOPS_MAX
const { TCP, UDP } = Protocol
const ENVELOPE_BYTES = BYTES
const ADJACENCY_SHIFT = ROW_SHIFT

/** A frame's note: where its flow begins to be looked for, with its kind (Plain) in the bits below. */
const KIND_MASK = 3
/** What is noted of a frame as it comes in; the chain's frames are learned from by it, too. */
const FRAME_SHIFT = 3
const Frame = { PLACE: 0, ENDS_A: 1, ENDS_B: 2, ENDS_C: 3, WAY: 4, TTL: 5 } as const
const { ENDS_A, ENDS_B, ENDS_C, WAY, TTL } = Frame

/** Of AROUND: the number of the adjacency stands above, the source port of the envelope below. */
const AROUND_SHIFT = 16
const AROUND_MASK = 0xffff
/** In front of an envelope lie two bytes of its first word. */
const ENVELOPE_ROOM_BYTES = 52

export class FlowLane {
  readonly #revisions: Revisions
  readonly #conntrack: Conntrack
  readonly #monitor: Monitor
  readonly #packet: PacketBuffer
  /** The packet memory. */
  readonly #words: Int32Array
  readonly #isClosed: boolean
  readonly #news: FlowNews | undefined
  readonly #frames: Int32Array
  readonly #table: FlowTable
  readonly #flows: Int32Array
  readonly #adjacencies = new AdjacencyTable()
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
    this.#conntrack = state.conntrack
    this.#monitor = state.monitor
    this.#packet = packet
    this.#words = packet.memoryWords
    this.#table = new FlowTable(state.conntrack, isClosed ? 0 : state.conntrack.capacity, allocate)
    this.#flows = this.#table.words
    this.#frames = new Int32Array(burstCapacity << FRAME_SHIFT)
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
      this.#frames[i << FRAME_SHIFT] = NONE
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
    const frames = this.#frames
    const table = this.#table
    for (let i = 0; i < count; i++) {
      const frame = i << FRAME_SHIFT
      const start = starts[i] as number
      const kind = plain4.classify(words, start, lengths[i] as number)
      if (kind === NONE) {
        frames[frame] = NONE
        continue
      }
      const at = start >> 2
      const a = plain4.endsA(words, at)
      const b = plain4.endsB(words, at)
      const c = plain4.endsC(words, at)
      const way = ((ports[i] as number) << 8) | plain4.protocol(words, at)
      const home = table.homeOf(a, b, c, way)
      frames[frame] = home | kind
      frames[frame + ENDS_A] = a
      frames[frame + ENDS_B] = b
      frames[frame + ENDS_C] = c
      frames[frame + WAY] = way
      frames[frame + TTL] = plain4.ttl(words, at)
    }
  }

  /**
   * The table's lines, for the same reason. A loop of its own: a processor looks some hundred
   * instructions ahead, so the less stands between two loads, the more misses overlap.
   */
  #touchFlows(count: number): void {
    const frames = this.#frames
    const flows = this.#flows
    let touched = this.touched
    for (let i = 0; i < count; i++) {
      // The kind in the bits below stays in the line, and NONE is the first flow's.
      touched = (touched + (flows[frames[i << FRAME_SHIFT] as number] as number)) | 0
    }
    this.touched = touched
  }

  /** Second pass: what is known is repeated, the rest is for the chain. */
  #repeatFrames(burst: Burst): void {
    const { starts, count } = burst
    const frames = this.#frames
    const table = this.#table
    const rest = this.rest
    let restCount = 0
    for (let i = 0; i < count; i++) {
      const frame = i << FRAME_SHIFT
      const place = frames[frame] as number
      if (place !== NONE) {
        const flow = table.find(
          place & ~KIND_MASK,
          frames[frame + ENDS_A] as number,
          frames[frame + ENDS_B] as number,
          frames[frame + ENDS_C] as number,
          frames[frame + WAY] as number,
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
    const adjacencies = this.#adjacencies.words
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

  /**
   * The chain has forwarded frame `index`.
   *
   * @param ctx shows it as it leaves
   * @param start byte that it began at as it came, in the packet memory
   * @param bytes that it had
   */
  learn(ctx: PacketContext, index: number, start: number, bytes: number): void {
    const kind = (this.#frames[index << FRAME_SHIFT] as number) & KIND_MASK
    const grown = start - ctx.packet.start
    if (ctx.packet.length !== bytes + grown) return
    const hasEnvelope = grown === ENVELOPE_BYTES
    if (grown !== 0 && !hasEnvelope) return
    if (this.#conntrack.visited.hasNew) {
      if (kind !== NONE) this.#tellOwn(index << FRAME_SHIFT)
      if (!hasEnvelope) this.#forgetReply(ctx)
      return
    }
    if (kind !== STEADY || !ctx.isRepeatable) return
    // An answer that the chain made of the packet is none to the flow's next one.
    if (plain4.classify(this.#words, start, bytes) !== STEADY) return
    const adjacency = this.#learnAround(start >> 2, hasEnvelope)
    if (adjacency < 0) return
    this.#learnFlow(ctx, index << FRAME_SHIFT, start >> 2, adjacency, hasEnvelope)
  }

  /** The number of what stands around the packet; -1 if it cannot be kept. */
  #learnAround(at: number, hasEnvelope: boolean): number {
    const { row } = this.#adjacencies
    const words = this.#words
    row.fill(0)
    for (let i = 0; i < 3; i++) row[i] = words[at + i] as number
    if (hasEnvelope && !envelope4.readTemplate(words, at, row, 3)) return -1
    const number = this.#adjacencies.add()
    if (number >= 0) return number
    // Full: what flows know of it goes with it.
    this.#adjacencies.clear()
    this.#table.invalidate()
    return this.#adjacencies.add()
  }

  #learnFlow(
    ctx: PacketContext,
    frame: number,
    at: number,
    adjacency: number,
    hasEnvelope: boolean,
  ): void {
    const frames = this.#frames
    const words = this.#words
    const hops = (frames[frame + TTL] as number) - plain4.ttl(words, at)
    if (hops < 0 || hops > TTL_HOPS_MAX) return
    const a = frames[frame + ENDS_A] as number
    const b = frames[frame + ENDS_B] as number
    const c = frames[frame + ENDS_C] as number
    const way = frames[frame + WAY] as number
    const home = (frames[frame] as number) & ~KIND_MASK
    const flow = this.#table.place(home, a, b, c, way, this.#conntrack.visited)
    const flows = this.#flows
    const newA = plain4.endsA(words, at)
    const newB = plain4.endsB(words, at)
    const newC = plain4.endsC(words, at)
    const { egressPort, direction, repeatableBytesMax } = ctx
    flows[flow + ACTION] = packAction(egressPort, hops, direction, hasEnvelope, repeatableBytesMax)
    flows[flow + NEW_ENDS_A] = newA
    flows[flow + NEW_ENDS_B] = newB
    flows[flow + NEW_ENDS_C] = newC
    flows[flow + DELTAS] = plain4.deltas(a, b, c, newA, newB, newC, hops)
    const sourcePort = hasEnvelope ? envelope4.sourcePort(words, at) : 0
    flows[flow + AROUND] = (adjacency << AROUND_SHIFT) | sourcePort
  }

  /**
   * A connection began with the packet that leaves: what its reply's addresses and ports met before,
   * as packets of no connection or of another, is not what the reply will meet. The packet itself
   * need not be plain: a connection may begin with a fragment.
   */
  #forgetReply(ctx: PacketContext): void {
    const { packet: p, l3Offset, l4Offset, protocol } = ctx
    if (protocol !== TCP && protocol !== UDP) return
    const source = ipv4.destination(p, l3Offset)
    const destination = ipv4.source(p, l3Offset)
    const a = plain4.packA(source, p.u16(l4Offset))
    const b = plain4.packB(source, destination)
    const c = plain4.packC(destination, p.u16(l4Offset + 2))
    const way = (ctx.egressPort << 8) | protocol
    this.#table.forgetEnds(a, b, c, way)
    this.#news?.tell(a, b, c, way)
  }

  /** A connection began with frame `frame`: this lane has forgotten its ends, others may know them. */
  #tellOwn(frame: number): void {
    const frames = this.#frames
    this.#news?.tell(
      frames[frame + ENDS_A] as number,
      frames[frame + ENDS_B] as number,
      frames[frame + ENDS_C] as number,
      frames[frame + WAY] as number,
    )
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
