/**
 * The lane for established flows, in front of the chain: it repeats what the chain did with the
 * last packet of the same flow. Nobody tells it what the chain decides; it compares the headers
 * before and after, and remembers the difference (addresses, ports, TTL, MACs, way out, and the
 * checksum deltas that follow from them). docs/adr/0011 has the reasons.
 *
 * When it may repeat: a plain TCP or UDP packet (src/wire/plain4.ts) that neither opens nor closes
 * a connection; by the port, with the addresses and ports, that the chain forwarded within the last
 * second; and no map of the control plane has changed since (src/maps/revision.ts), nor has a NAT
 * binding been evicted. Everything else takes the chain: first packets, SYN, FIN and RST, ICMP,
 * fragments, drops, and one packet of each flow a second, which refreshes the connection's lifetime
 * and tells of it. A stage whose decision holds for one packet alone says so (`isRepeatable`).
 *
 * It belongs to one worker, and so is plain memory without locks. It tracks nothing: the packets
 * that it carried are added to their connections' entries at the latest a second after.
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
import * as checksums from '../wire/checksum.js'
import { completePartialChecksum } from '../wire/partial-checksum.js'
import * as plain4 from '../wire/plain4.js'
import type { PacketContext } from './context.js'

/** How long a decision is repeated before the chain is asked again. */
const REPEAT_MILLISECONDS = 1000
const TTL_HOPS_MAX = 3

// Constants of this file, and not of another: V8 folds those it finds in a function's own module,
// and reads an imported or exported one anew, checks included, at each use.
const { NONE, STEADY } = plain4.Plain
/** The transport header begins so far behind the IP header. */
const IP_HEADER_BYTES = plain4.L4_OFFSET - plain4.L3_OFFSET

/** Words of what is noted of each frame of the burst. */
const FRAME_SHIFT = 3
const Frame = { KIND: 0, SET: 1, SOURCE: 2, DESTINATION: 3, PORTS: 4, WAY: 5, TTL: 6 } as const

/** A flow is one cache line; a set of four flows is where a hash leads. */
const FLOW_SHIFT = 4
const WAYS = 4
const SET_SHIFT = FLOW_SHIFT + 2
const SETS = 1 << 16
const VISITED_WORDS = 2 * VISITED_MAX
const NO_FLOW = -1
/** Flows that one step of the sweep looks at. */
const SWEEP_FLOWS = 64

/** Words of a flow. */
const Flow = {
  /** As the packet comes in: addresses, ports (source << 16 | destination). */
  SOURCE: 0,
  DESTINATION: 1,
  PORTS: 2,
  /** Port it comes in by << 8 | protocol. */
  WAY: 3,
  /** State of the maps that the decision was made in; 0 for none. */
  EPOCH: 4,
  LEARNED_AT: 5,
  /** Greatest IP length << 16 | metric direction << 12 | hops << 10 | port it leaves by. */
  ACTION: 6,
  NEW_SOURCE: 7,
  NEW_DESTINATION: 8,
  NEW_PORTS: 9,
  /** Of the IP header's checksum << 16 | of the transport's; 0 where it stays. */
  DELTAS: 10,
  /** Both MAC addresses as it leaves: three words. */
  MACS: 11,
  /** Repeated since its connections were told. */
  PACKETS: 14,
  BYTES: 15,
} as const

export class FlowLane {
  readonly #revisions: Revisions
  readonly #conntrack: Conntrack
  readonly #monitor: Monitor
  readonly #packet: PacketBuffer
  readonly #isClosed: boolean
  readonly #frames: Int32Array
  readonly #flows = new Int32Array(SETS << SET_SHIFT)
  /** Slot and state of the connections that each flow's packets belong to. */
  readonly #visited = new Int32Array(SETS * WAYS * VISITED_WORDS)
  /** Random, so that no sender can aim at one set. */
  readonly #seed = randomInt(2 ** 31)
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
    this.#touchFrames(burst)
    this.#readFrames(burst)
    this.#repeatFrames(burst)
  }

  #leaveAll(count: number): void {
    for (let i = 0; i < count; i++) {
      this.#frames[(i << FRAME_SHIFT) + Frame.KIND] = NONE
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
    const p = this.#packet
    let touched = 0
    for (let i = 0; i < count; i++) {
      p.attach(starts[i] as number, 0)
      touched += p.u8(0)
    }
    this.touched = touched
  }

  /**
   * First pass: what flow is each frame of? The table's lines are touched, so that their cache
   * misses overlap.
   */
  #readFrames(burst: Burst): void {
    const { starts, lengths, ports, count } = burst
    const p = this.#packet
    const frames = this.#frames
    const flows = this.#flows
    const seed = this.#seed
    let touched = 0
    for (let i = 0; i < count; i++) {
      p.attach(starts[i] as number, lengths[i] as number)
      const frame = i << FRAME_SHIFT
      const kind = plain4.classify(p)
      frames[frame + Frame.KIND] = kind
      if (kind === NONE) continue
      const source = plain4.source(p)
      const destination = plain4.destination(p)
      const portPair = plain4.ports(p)
      const ttlWord = plain4.ttlWord(p)
      const way = ((ports[i] as number) << 8) | ((ttlWord >>> 16) & 0xff)
      const set = setOf(source ^ seed, destination, portPair, way)
      frames[frame + Frame.SET] = set
      frames[frame + Frame.SOURCE] = source
      frames[frame + Frame.DESTINATION] = destination
      frames[frame + Frame.PORTS] = portPair
      frames[frame + Frame.WAY] = way
      frames[frame + Frame.TTL] = ttlWord >>> 24
      touched = (touched + (flows[set] as number)) | 0
    }
    this.touched = (this.touched + touched) | 0
  }

  #repeatFrames(burst: Burst): void {
    const count = burst.count
    const rest = this.rest
    let restCount = 0
    for (let i = 0; i < count; i++) {
      const frame = i << FRAME_SHIFT
      const kind = this.#frames[frame + Frame.KIND]
      if (kind !== NONE) {
        const flow = this.#find(frame)
        if (flow !== NO_FLOW) {
          if (kind === STEADY && this.#repeat(burst, i, frame, flow)) continue
          // Nor may a later packet of this burst overtake what the chain now decides.
          this.#forget(flow)
        }
      }
      rest[restCount++] = i
    }
    this.repeated += count - restCount
    this.restCount = restCount
  }

  /** Index in `#flows` of the frame's flow, or NO_FLOW. */
  #find(frame: number): number {
    const frames = this.#frames
    const flows = this.#flows
    const set = frames[frame + Frame.SET] as number
    const ports = frames[frame + Frame.PORTS]
    for (let flow = set; flow < set + (WAYS << FLOW_SHIFT); flow += 1 << FLOW_SHIFT) {
      if (
        flows[flow + Flow.PORTS] === ports &&
        flows[flow + Flow.SOURCE] === frames[frame + Frame.SOURCE] &&
        flows[flow + Flow.DESTINATION] === frames[frame + Frame.DESTINATION] &&
        flows[flow + Flow.WAY] === frames[frame + Frame.WAY]
      ) {
        return flow
      }
    }
    return NO_FLOW
  }

  /** Which flow of a set a new one replaces: a forgotten one, or else the one learned first. */
  #victim(set: number): number {
    const flows = this.#flows
    let oldest = set
    for (let flow = set; flow < set + (WAYS << FLOW_SHIFT); flow += 1 << FLOW_SHIFT) {
      if (flows[flow + Flow.EPOCH] === 0) return flow
      const learnedAt = flows[flow + Flow.LEARNED_AT] as number
      const isOlder = ((learnedAt - (flows[oldest + Flow.LEARNED_AT] as number)) | 0) < 0
      if (isOlder) oldest = flow
    }
    return oldest
  }

  /** False, and nothing done, when this packet needs the chain. */
  #repeat(burst: Burst, index: number, frame: number, flow: number): boolean {
    const words = this.#flows
    if (words[flow + Flow.EPOCH] !== this.#epoch) return false
    const age = (this.#nowMilliseconds - (words[flow + Flow.LEARNED_AT] as number)) >>> 0
    if (age >= REPEAT_MILLISECONDS) return false
    const p = this.#packet
    const frameBytes = burst.lengths[index] as number
    p.attach(burst.starts[index] as number, frameBytes)
    const bytes = plain4.totalLength(p)
    const action = words[flow + Flow.ACTION] as number
    const hops = (action >>> 10) & TTL_HOPS_MAX
    if (bytes > action >>> 16 || (this.#frames[frame + Frame.TTL] as number) <= hops) return false
    const protocol = (words[flow + Flow.WAY] as number) & 0xff
    const source = words[flow + Flow.SOURCE] as number
    const destination = words[flow + Flow.DESTINATION] as number
    // What a sender with offload left undone (src/wire/partial-checksum.ts).
    const pseudo = checksums.word(source) + checksums.word(destination) + protocol + bytes
    const field = plain4.transportChecksum(p, protocol)
    if (field === checksums.fold(pseudo - IP_HEADER_BYTES)) {
      completePartialChecksum(p, plain4.L3_OFFSET, plain4.L4_OFFSET, protocol)
    }
    const deltas = words[flow + Flow.DELTAS] as number
    if (deltas >>> 16 !== 0) plain4.lowerTtl(p, hops, deltas >>> 16)
    if ((deltas & 0xffff) !== 0) plain4.applyTransportDelta(p, protocol, deltas & 0xffff)
    plain4.setTuple(
      p,
      words[flow + Flow.NEW_SOURCE] as number,
      words[flow + Flow.NEW_DESTINATION] as number,
      words[flow + Flow.NEW_PORTS] as number,
    )
    plain4.setMacs(
      p,
      words[flow + Flow.MACS] as number,
      words[flow + Flow.MACS + 1] as number,
      words[flow + Flow.MACS + 2] as number,
    )
    words[flow + Flow.PACKETS] = ((words[flow + Flow.PACKETS] as number) + 1) | 0
    words[flow + Flow.BYTES] = ((words[flow + Flow.BYTES] as number) + frameBytes) | 0
    burst.ports[index] = action & 0x3ff
    this.#monitor.repeated((action >>> 12) & 3, frameBytes)
    return true
  }

  /** The chain has forwarded frame `index`; `ctx` shows it as it leaves. */
  learn(ctx: PacketContext, index: number, isMoved: boolean): void {
    const frame = index << FRAME_SHIFT
    const frames = this.#frames
    if (frames[frame + Frame.KIND] !== STEADY || !ctx.isRepeatable || isMoved) return
    if (this.#conntrack.visited.hasNew) return
    const p = ctx.packet
    // An answer that the chain made of the packet is none to the flow's next one.
    if (plain4.classify(p) !== STEADY) return
    const ttl = frames[frame + Frame.TTL] as number
    const hops = ttl - (plain4.ttlWord(p) >>> 24)
    if (hops < 0 || hops > TTL_HOPS_MAX) return
    const known = this.#find(frame)
    const flow = known === NO_FLOW ? this.#victim(frames[frame + Frame.SET] as number) : known
    this.#settle(flow)
    const words = this.#flows
    words[flow + Flow.SOURCE] = frames[frame + Frame.SOURCE] as number
    words[flow + Flow.DESTINATION] = frames[frame + Frame.DESTINATION] as number
    words[flow + Flow.PORTS] = frames[frame + Frame.PORTS] as number
    words[flow + Flow.WAY] = frames[frame + Frame.WAY] as number
    words[flow + Flow.EPOCH] = this.#epoch
    words[flow + Flow.LEARNED_AT] = this.#nowMilliseconds
    words[flow + Flow.ACTION] =
      (ctx.repeatableBytesMax << 16) | (ctx.direction << 12) | (hops << 10) | ctx.egressPort
    words[flow + Flow.NEW_SOURCE] = plain4.source(p)
    words[flow + Flow.NEW_DESTINATION] = plain4.destination(p)
    words[flow + Flow.NEW_PORTS] = plain4.ports(p)
    words[flow + Flow.MACS] = plain4.macWord(p, 0)
    words[flow + Flow.MACS + 1] = plain4.macWord(p, 1)
    words[flow + Flow.MACS + 2] = plain4.macWord(p, 2)
    words[flow + Flow.DELTAS] = deltasOf(words, flow, hops)
    this.#noteVisited(flow, this.#conntrack.visited)
  }

  /** The chain decides anew, and what it does is learned again, or not. */
  #forget(flow: number): void {
    this.#settle(flow)
    this.#flows[flow + Flow.EPOCH] = 0
  }

  /** Housekeeping: a part of the table, so that flows which ended are counted too. */
  step(): void {
    const first = this.#sweep
    this.#sweep = (first + (SWEEP_FLOWS << FLOW_SHIFT)) & (this.#flows.length - 1)
    for (let i = 0; i < SWEEP_FLOWS; i++) this.#settleOld(first + (i << FLOW_SHIFT))
  }

  /** Brings the connections' counters up to date: before a dump, and when the worker ends. */
  settleAll(): void {
    const end = this.#flows.length
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
    const words = this.#flows
    if (words[flow + Flow.PACKETS] === 0) return
    const age = (this.#nowMilliseconds - (words[flow + Flow.LEARNED_AT] as number)) >>> 0
    if (age >= REPEAT_MILLISECONDS) this.#settle(flow)
  }

  #settle(flow: number): void {
    const words = this.#flows
    const packets = words[flow + Flow.PACKETS] as number
    if (packets === 0) return
    const bytes = words[flow + Flow.BYTES] as number
    words[flow + Flow.PACKETS] = 0
    words[flow + Flow.BYTES] = 0
    const visited = this.#visited
    const first = visitedStart(flow)
    for (let i = first; i < first + VISITED_WORDS; i += 2) {
      const state = visited[i + 1] as number
      if (state !== 0) this.#conntrack.account(visited[i] as number, state, packets, bytes)
    }
  }
}

const visitedStart = (flow: number): number => (flow >>> FLOW_SHIFT) * VISITED_WORDS

/** Index in `#flows` of the first flow of the set. */
function setOf(source: number, destination: number, ports: number, way: number): number {
  let h = Math.imul(source, 0x9e3779b1) + Math.imul(destination, 0x85ebca6b)
  h = (h + Math.imul(ports, 0xc2b2ae35)) ^ way
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d)
  h ^= h >>> 13
  return (h & (SETS - 1)) << SET_SHIFT
}

/**
 * What the change of the flow's headers adds to the checksums: the IP header's in the upper half,
 * the transport's, 0 when it stays, in the lower.
 */
function deltasOf(words: Int32Array, flow: number, hops: number): number {
  const ports = words[flow + Flow.PORTS] as number
  const newPorts = words[flow + Flow.NEW_PORTS] as number
  const isTranslated =
    words[flow + Flow.SOURCE] !== words[flow + Flow.NEW_SOURCE] ||
    words[flow + Flow.DESTINATION] !== words[flow + Flow.NEW_DESTINATION] ||
    ports !== newPorts
  const addresses =
    checksums.delta32(
      words[flow + Flow.SOURCE] as number,
      words[flow + Flow.NEW_SOURCE] as number,
    ) +
    checksums.delta32(
      words[flow + Flow.DESTINATION] as number,
      words[flow + Flow.NEW_DESTINATION] as number,
    )
  const isChanged = isTranslated || hops !== 0
  const l3 = isChanged ? checksums.fold(addresses + checksums.delta16(hops << 8, 0)) : 0
  const l4 = isTranslated ? checksums.fold(addresses + checksums.delta32(ports, newPorts)) : 0
  return (l3 << 16) | l4
}
