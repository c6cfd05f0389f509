/**
 * The lane for established flows, in front of the chain: it repeats what the chain did with the
 * last packet of the same flow. Nobody tells it what the chain decides; it compares the headers
 * before and after, and remembers the difference (addresses, ports, TTL, MACs, way out, and the
 * checksum deltas that follow from them). docs/adr/0013 has the reasons.
 *
 * When it may repeat: a plain TCP or UDP packet (src/wire/plain4.ts) that neither opens nor closes
 * a connection; by the port, with the addresses and ports, that the chain forwarded within the last
 * two seconds; and no map of the control plane has changed since (src/maps/revision.ts), nor has a NAT
 * binding been evicted, nor a connection begun that it answers.
 * Everything else takes the chain: first packets, SYN, FIN and RST, ICMP,
 * fragments, drops, and one packet of each flow every two seconds, which refreshes the connection's lifetime
 * and tells of it. A stage whose decision holds for one packet alone says so (`isRepeatable`).
 *
 * It belongs to one worker, and so is plain memory without locks. It tracks nothing: the packets
 * that it carried are added to their connections' entries when the chain sees the flow again.
 *
 * It is over 400 lines because V8 folds constants only in the module that they belong to, and the layout of
 * a flow is used by all of it.
 */
import { randomInt } from 'node:crypto'
import type { Conntrack } from '../conntrack/conntrack.js'
import { VISITED_MAX, type VisitedEntries } from '../conntrack/ct-traffic.js'
import type { Revisions } from '../maps/revision.js'
import type { Monitor } from '../monitor/monitor.js'
import type { Burst } from '../packet/burst.js'
import type { PacketBuffer } from '../packet/packet-buffer.js'
import { completePartialChecksum } from '../wire/partial-checksum.js'
import * as plain4 from '../wire/plain4.js'
import type { PacketContext } from './context.js'

/** How long a decision is repeated before the chain is asked again. */
const REPEAT_MILLISECONDS = 2000
const TTL_HOPS_MAX = 3

// Constants of this file, and not of another: V8 folds those it finds in a function's own module,
// and reads an imported or exported one anew, checks included, at each use.
const { NONE, STEADY } = plain4.Plain
/** A frame's place: the set of its flow, with its kind (Plain) in the bits below. */
const KIND_MASK = 3

/** Words that are noted of a frame which the chain handles, to learn from what it does. */
const FRAME_SHIFT = 3
const Frame = { PLACE: 0, ENDS_A: 1, ENDS_B: 2, ENDS_C: 3, WAY: 4, TTL: 5 } as const

/** A flow is one cache line; a set of four flows is where a hash leads. */
const FLOW_SHIFT = 4
const FLOW_WORDS = 1 << FLOW_SHIFT
const WAYS = 4
const SET_SHIFT = FLOW_SHIFT + 2
/**
 * Few flows in a large table lie in a page each, and the processor's address translation would miss
 * more than its cache does: the table begins small, and is four times as large each time that flows
 * in use displace each other.
 */
const SETS_FIRST = 1 << 10
const SETS_MAX = 1 << 16
const GROWTH_SHIFT = 2
const VISITED_WORDS = 2 * VISITED_MAX
const NO_FLOW = -1
/** Flows that one step of the sweep looks at. */
const SWEEP_FLOWS = 16

/** Words of a flow. */
const Flow = {
  /** Addresses and ports as the packet comes in, see plain4.ts. */
  ENDS_A: 0,
  ENDS_B: 1,
  ENDS_C: 2,
  /** Port it comes in by << 8 | protocol. */
  WAY: 3,
  /** State of the maps that the decision was made in; 0 for none. */
  EPOCH: 4,
  LEARNED_AT: 5,
  /** Greatest IP length << 16 | metric direction << 12 | hops << 10 | port it leaves by. */
  ACTION: 6,
  /** As it leaves. */
  NEW_ENDS_A: 7,
  NEW_ENDS_B: 8,
  NEW_ENDS_C: 9,
  /** What that adds to the checksums, see plain4.ts. */
  DELTAS: 10,
  /** Both MAC addresses as it leaves: three words. */
  MACS: 11,
  /** Repeated since its connections were told. */
  PACKETS: 14,
  BYTES: 15,
} as const
const ACTION_PORT_MASK = 0x3ff
const ACTION_HOPS_SHIFT = 10
const ACTION_DIRECTION_SHIFT = 12
const ACTION_BYTES_SHIFT = 16

export class FlowLane {
  readonly #revisions: Revisions
  readonly #conntrack: Conntrack
  readonly #monitor: Monitor
  readonly #packet: PacketBuffer
  /** The packet memory. */
  readonly #words: Int32Array
  readonly #isClosed: boolean
  readonly #frames: Int32Array
  readonly #flows = new Int32Array(SETS_MAX << SET_SHIFT)
  /** Slot and state of the connections that each flow's packets belong to. */
  readonly #visited = new Int32Array(SETS_MAX * WAYS * VISITED_WORDS)
  /** Of this burst: frames and bytes by metric direction. */
  readonly #carried = new Int32Array(8)
  /** Random, so that no sender can aim at one set. */
  readonly #seed = randomInt(2 ** 31)
  #sets = SETS_FIRST
  /** Flows displaced while they were in use, since the table grew. */
  #displaced = 0
  #sweep = 0
  #revision = 0
  #epoch = 1
  #nowMilliseconds = 0

  /** Indexes of the frames that the chain has to handle, in the burst's order. */
  readonly rest: Int32Array
  restCount = 0
  /** Frames repeated since the start. */
  repeated = 0
  /** Sum of the words touched ahead; kept so that no compiler may drop the loads. */
  touched = 0

  /** @param isClosed every frame takes the chain */
  constructor(
    state: { revisions: Revisions; conntrack: Conntrack; monitor: Monitor },
    packet: PacketBuffer,
    burstCapacity: number,
    isClosed: boolean,
  ) {
    this.#isClosed = isClosed
    this.#revisions = state.revisions
    this.#conntrack = state.conntrack
    this.#monitor = state.monitor
    this.#packet = packet
    this.#words = packet.memoryWords
    this.#frames = new Int32Array(burstCapacity << FRAME_SHIFT)
    this.rest = new Int32Array(burstCapacity)
  }

  /** Carries the frames it can; `rest` has the others. */
  run(burst: Burst): void {
    if (this.#isClosed) {
      this.#leaveAll(burst.count)
      return
    }
    this.#nowMilliseconds =
      (Math.imul(burst.nowSeconds, 1000) + ((burst.nowNanoseconds / 1_000_000) | 0)) | 0
    const revision = this.#revisions.sum
    if (revision !== this.#revision) {
      this.#revision = revision
      this.#epoch = (this.#epoch + 1) | 0
    }
    if (this.#displaced > this.#sets >> 2 && this.#sets < SETS_MAX) this.#grow()
    this.#touchFrames(burst)
    this.#placeFrames(burst)
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
    const flows = this.#flows
    const seed = this.#seed
    const setMask = this.#sets - 1
    let touched = this.touched
    for (let i = 0; i < count; i++) {
      const start = starts[i] as number
      const kind = plain4.classify(words, start, lengths[i] as number)
      if (kind === NONE) {
        frames[i << FRAME_SHIFT] = NONE
        continue
      }
      const at = start >> 2
      const way = ((ports[i] as number) << 8) | plain4.protocol(words, at)
      const a = plain4.endsA(words, at)
      const h = hashOf(a, plain4.endsB(words, at), plain4.endsC(words, at), way, seed)
      const set = (h & setMask) << SET_SHIFT
      frames[i << FRAME_SHIFT] = set | kind
      touched = (touched + (flows[set] as number)) | 0
    }
    this.touched = touched
  }

  /** Second pass: what is known is repeated, the rest is noted. */
  #repeatFrames(burst: Burst): void {
    const { starts, lengths, ports, count } = burst
    const words = this.#words
    const frames = this.#frames
    const rest = this.rest
    let restCount = 0
    for (let i = 0; i < count; i++) {
      const place = frames[i << FRAME_SHIFT] as number
      if (place !== NONE) {
        const at = (starts[i] as number) >> 2
        const way = ((ports[i] as number) << 8) | plain4.protocol(words, at)
        const set = place & ~KIND_MASK
        const a = plain4.endsA(words, at)
        const flow = this.#find(set, a, plain4.endsB(words, at), plain4.endsC(words, at), way)
        const isSteady = (place & KIND_MASK) === STEADY
        if (flow !== NO_FLOW && isSteady && this.#mayRepeat(flow, at)) {
          const bytes = lengths[i] as number
          ports[i] = this.#repeat(flow, at, bytes)
          continue
        }
        // Nor may a later packet of this burst overtake what the chain now decides.
        if (flow !== NO_FLOW) this.#forget(flow)
        this.#note(i << FRAME_SHIFT, at, way)
      }
      rest[restCount++] = i
    }
    this.repeated += count - restCount
    this.restCount = restCount
  }

  /** Index in `#flows` of the flow of a frame with these ends, or NO_FLOW. */
  #find(set: number, a: number, b: number, c: number, way: number): number {
    const flows = this.#flows
    for (let flow = set; flow < set + WAYS * FLOW_WORDS; flow = (flow + FLOW_WORDS) | 0) {
      if (
        flows[flow] === a &&
        flows[flow + Flow.ENDS_B] === b &&
        flows[flow + Flow.ENDS_C] === c &&
        flows[flow + Flow.WAY] === way
      ) {
        return flow
      }
    }
    return NO_FLOW
  }

  #mayRepeat(flow: number, at: number): boolean {
    const flows = this.#flows
    const words = this.#words
    if (!this.#isFresh(flow)) return false
    const action = flows[flow + Flow.ACTION] as number
    const hops = (action >>> ACTION_HOPS_SHIFT) & TTL_HOPS_MAX
    if (plain4.ttl(words, at) <= hops) return false
    return plain4.totalLength(words, at) <= action >>> ACTION_BYTES_SHIFT
  }

  /** Rewrites the frame as the flow's last one was, and returns the port it leaves by. */
  #repeat(flow: number, at: number, bytes: number): number {
    const flows = this.#flows
    const words = this.#words
    if (plain4.isChecksumPartial(words, at)) this.#completeChecksum(at, bytes)
    const action = flows[flow + Flow.ACTION] as number
    plain4.rewrite(
      words,
      at,
      flows[flow + Flow.NEW_ENDS_A] as number,
      flows[flow + Flow.NEW_ENDS_B] as number,
      flows[flow + Flow.NEW_ENDS_C] as number,
      (action >>> ACTION_HOPS_SHIFT) & TTL_HOPS_MAX,
      flows[flow + Flow.DELTAS] as number,
    )
    words[at] = flows[flow + Flow.MACS] as number
    words[at + 1] = flows[flow + Flow.MACS + 1] as number
    words[at + 2] = flows[flow + Flow.MACS + 2] as number
    flows[flow + Flow.PACKETS] = (flows[flow + Flow.PACKETS] as number) + 1
    flows[flow + Flow.BYTES] = (flows[flow + Flow.BYTES] as number) + bytes
    const counter = ((action >>> ACTION_DIRECTION_SHIFT) & 3) << 1
    this.#carried[counter] = (this.#carried[counter] as number) + 1
    this.#carried[counter + 1] = (this.#carried[counter + 1] as number) + bytes
    return action & ACTION_PORT_MASK
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

  /** Keeps what the frame is before the chain changes it. */
  #note(frame: number, at: number, way: number): void {
    const frames = this.#frames
    const words = this.#words
    frames[frame + Frame.ENDS_A] = plain4.endsA(words, at)
    frames[frame + Frame.ENDS_B] = plain4.endsB(words, at)
    frames[frame + Frame.ENDS_C] = plain4.endsC(words, at)
    frames[frame + Frame.WAY] = way
    frames[frame + Frame.TTL] = plain4.ttl(words, at)
  }

  /** The chain has forwarded frame `index`, which begins where it did; `ctx` shows it as it leaves. */
  learn(ctx: PacketContext, index: number): void {
    const frame = index << FRAME_SHIFT
    const frames = this.#frames
    const place = frames[frame] as number
    if (this.#conntrack.visited.hasNew) {
      this.#forgetReply(ctx)
      return
    }
    if ((place & KIND_MASK) !== STEADY || !ctx.isRepeatable) return
    const words = this.#words
    const { start, length } = ctx.packet
    // An answer that the chain made of the packet is none to the flow's next one.
    if (plain4.classify(words, start, length) !== STEADY) return
    const at = start >> 2
    const hops = (frames[frame + Frame.TTL] as number) - plain4.ttl(words, at)
    if (hops < 0 || hops > TTL_HOPS_MAX) return
    const flows = this.#flows
    const a = frames[frame + Frame.ENDS_A] as number
    const b = frames[frame + Frame.ENDS_B] as number
    const c = frames[frame + Frame.ENDS_C] as number
    const way = frames[frame + Frame.WAY] as number
    const set = place & ~KIND_MASK
    // Two packets of one burst may both be learned from: a flow has one place.
    const known = this.#find(set, a, b, c, way)
    const flow = known === NO_FLOW ? this.#victim(set) : known
    this.#settle(flow)
    const newA = plain4.endsA(words, at)
    const newB = plain4.endsB(words, at)
    const newC = plain4.endsC(words, at)
    flows[flow] = a
    flows[flow + Flow.ENDS_B] = b
    flows[flow + Flow.ENDS_C] = c
    flows[flow + Flow.WAY] = way
    flows[flow + Flow.EPOCH] = this.#epoch
    flows[flow + Flow.LEARNED_AT] = this.#nowMilliseconds
    flows[flow + Flow.ACTION] =
      (ctx.repeatableBytesMax << ACTION_BYTES_SHIFT) |
      (ctx.direction << ACTION_DIRECTION_SHIFT) |
      (hops << ACTION_HOPS_SHIFT) |
      ctx.egressPort
    flows[flow + Flow.NEW_ENDS_A] = newA
    flows[flow + Flow.NEW_ENDS_B] = newB
    flows[flow + Flow.NEW_ENDS_C] = newC
    flows[flow + Flow.DELTAS] = plain4.deltas(a, b, c, newA, newB, newC, hops)
    for (let i = 0; i < 3; i++) flows[flow + Flow.MACS + i] = words[at + i] as number
    this.#noteVisited(flow, this.#conntrack.visited)
  }

  /** Which flow of a set a new one replaces: a forgotten one, or else the one learned first. */
  #victim(set: number): number {
    const flows = this.#flows
    let oldest = set
    for (let flow = set; flow < set + WAYS * FLOW_WORDS; flow += FLOW_WORDS) {
      if (flows[flow + Flow.EPOCH] === 0) return flow
      const learnedAt = flows[flow + Flow.LEARNED_AT] as number
      const isOlder = ((learnedAt - (flows[oldest + Flow.LEARNED_AT] as number)) | 0) < 0
      if (isOlder) oldest = flow
    }
    if (this.#isFresh(oldest)) this.#displaced++
    return oldest
  }

  #grow(): void {
    this.settleAll()
    this.#flows.fill(0, 0, this.#sets << SET_SHIFT)
    this.#sets <<= GROWTH_SHIFT
    this.#displaced = 0
    this.#sweep = 0
  }

  #isFresh(flow: number): boolean {
    const age = (this.#nowMilliseconds - (this.#flows[flow + Flow.LEARNED_AT] as number)) >>> 0
    return age < REPEAT_MILLISECONDS && this.#flows[flow + Flow.EPOCH] === this.#epoch
  }

  /** The chain decides anew, and what it does is learned again, or not. */
  #forget(flow: number): void {
    this.#settle(flow)
    this.#flows.fill(0, flow, flow + FLOW_WORDS)
  }

  /**
   * A connection began with the packet that leaves: what its reply's addresses and ports met before, as
   * packets of no connection or of another, is not what the reply will meet.
   */
  #forgetReply(ctx: PacketContext): void {
    const words = this.#words
    const { start, length } = ctx.packet
    if (plain4.classify(words, start, length) === NONE) return
    const at = start >> 2
    const a = plain4.endsA(words, at)
    const b = plain4.endsB(words, at)
    const c = plain4.endsC(words, at)
    const replyA = plain4.turnedA(b, c)
    const replyB = plain4.turnedB(a, c)
    const replyC = plain4.turnedC(a, b)
    const way = (ctx.egressPort << 8) | plain4.protocol(words, at)
    const h = hashOf(replyA, replyB, replyC, way, this.#seed)
    const set = (h & (this.#sets - 1)) << SET_SHIFT
    const flow = this.#find(set, replyA, replyB, replyC, way)
    if (flow !== NO_FLOW) this.#forget(flow)
  }

  /** Housekeeping: a part of the table, so that flows which ended are counted too. */
  step(): void {
    const first = this.#sweep
    this.#sweep = (first + (SWEEP_FLOWS << FLOW_SHIFT)) & ((this.#sets << SET_SHIFT) - 1)
    for (let i = 0; i < SWEEP_FLOWS; i++) this.#settleOld(first + (i << FLOW_SHIFT))
  }

  /** Brings the connections' counters up to date: before a dump, and when the worker ends. */
  settleAll(): void {
    const end = this.#sets << SET_SHIFT
    for (let flow = 0; flow < end; flow += 1 << FLOW_SHIFT) this.#settle(flow)
  }

  #noteVisited(flow: number, entries: VisitedEntries): void {
    const start = visitedStart(flow)
    const used = 2 * entries.count
    for (let i = 0; i < VISITED_WORDS; i++) {
      this.#visited[start + i] = i < used ? (entries.words[i] as number) : 0
    }
  }

  #settleOld(flow: number): void {
    const flows = this.#flows
    if (flows[flow + Flow.PACKETS] === 0) return
    const age = (this.#nowMilliseconds - (flows[flow + Flow.LEARNED_AT] as number)) >>> 0
    if (age >= REPEAT_MILLISECONDS) this.#settle(flow)
  }

  #settle(flow: number): void {
    const flows = this.#flows
    const packets = flows[flow + Flow.PACKETS] as number
    if (packets === 0) return
    const bytes = flows[flow + Flow.BYTES] as number
    flows[flow + Flow.PACKETS] = 0
    flows[flow + Flow.BYTES] = 0
    const visited = this.#visited
    const first = visitedStart(flow)
    for (let i = first; i < first + VISITED_WORDS; i += 2) {
      const state = visited[i + 1] as number
      if (state !== 0) this.#conntrack.account(visited[i] as number, state, packets, bytes)
    }
  }
}

function hashOf(a: number, b: number, c: number, way: number, seed: number): number {
  let h = Math.imul(a ^ seed, 0x9e3779b1)
  h = (h + Math.imul(b, 0x85ebca6b)) | 0
  h = (h + Math.imul(c, 0xc2b2ae35)) ^ way
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d)
  return h ^ (h >>> 13)
}

const visitedStart = (flow: number): number => (flow >>> FLOW_SHIFT) * VISITED_WORDS
