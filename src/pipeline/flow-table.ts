/**
 * What the flow lane remembers of flows: each one cache line, in the place that its hash leads to or
 * one of the next three, and beside it the connections that its packets belong to. It belongs to one
 * worker, and so is plain memory without locks.
 *
 * Packets that were repeated are counted here, and added to their connections' entries (`settle`)
 * when the flow is learned again, forgotten or displaced; those of a flow that ended, by the sweep.
 */
import { randomInt } from 'node:crypto'
import type { Conntrack } from '../conntrack/conntrack.js'
import { VISITED_MAX, type VisitedEntries } from '../conntrack/ct-traffic.js'

/** How long a flow is remembered: the chain sees one packet of it in that time. */
const REPEAT_MILLISECONDS = 8000

const FLOW_SHIFT = 4
const FLOW_WORDS = 1 << FLOW_SHIFT
/** Places that a flow may have; side by side, for a processor fetches neighbouring lines together. */
const WAYS = 4
const WINDOW_WORDS = WAYS * FLOW_WORDS
const FLOWS_MIN = 1 << 12
const FLOWS_MAX = 1 << 22
const VISITED_WORDS = 2 * VISITED_MAX
/** Steps in which the sweep looks at every flow, and flows that a step looks at, at least. */
const SWEEP_STEPS = 1 << 13
const SWEEP_FLOWS_MIN = 16

/** Words of a flow. */
export const Flow = {
  /** Addresses and ports as the packet comes in, see plain4.ts. */
  ENDS_A: 0,
  ENDS_B: 1,
  ENDS_C: 2,
  /** Port it comes in by << 8 | protocol. */
  WAY: 3,
  /** State of the maps that the decision was made in; 0 for none. */
  EPOCH: 4,
  LEARNED_AT: 5,
  /** What is done with a packet: see flow-lane.ts. */
  ACTION: 6,
  /** As it leaves. */
  NEW_ENDS_A: 7,
  NEW_ENDS_B: 8,
  NEW_ENDS_C: 9,
  /** What that adds to the checksums, see plain4.ts. */
  DELTAS: 10,
  /** Number of its adjacency << 16 | source port of its envelope, as in memory. */
  AROUND: 11,
  /** Repeated since its connections were told, the last one at. */
  PACKETS: 12,
  BYTES: 13,
  REPEATED_AT: 14,
} as const
const { ENDS_B, ENDS_C, WAY, EPOCH, LEARNED_AT, PACKETS, BYTES, REPEATED_AT } = Flow

export const NO_FLOW = -1

export class FlowTable {
  readonly words: Int32Array
  /** Slot and state word of each flow's connections. */
  readonly #visited: Int32Array
  readonly #conntrack: Conntrack
  readonly #mask: number
  readonly #sweepFlows: number
  /** Random, so that no sender can aim at one place. */
  readonly #seed = randomInt(2 ** 31)
  #sweep = 0
  #nowSeconds = 0
  #nowMilliseconds = 0
  #epoch = 1

  /**
   * @param flows that may be remembered: 4096 to 4,194,304, rounded up to a power of two
   * @param allocate memory of so many bytes, zeros; a flow is one cache line if it begins with one
   */
  constructor(
    conntrack: Conntrack,
    flows: number,
    allocate: (bytes: number) => ArrayBufferLike = (bytes) => new ArrayBuffer(bytes),
  ) {
    const homes = Math.min(FLOWS_MAX, Math.max(FLOWS_MIN, 2 ** Math.ceil(Math.log2(flows))))
    const places = homes + WAYS - 1
    this.#conntrack = conntrack
    this.#mask = homes - 1
    this.#sweepFlows = Math.max(SWEEP_FLOWS_MIN, homes / SWEEP_STEPS)
    this.words = new Int32Array(allocate(places * FLOW_WORDS * 4))
    this.#visited = new Int32Array(allocate(places * VISITED_WORDS * 4))
  }

  /** For the flows learned, asked for and counted from now on. */
  setTime(nowSeconds: number, nowNanoseconds: number): void {
    this.#nowSeconds = nowSeconds
    this.#nowMilliseconds = (Math.imul(nowSeconds, 1000) + ((nowNanoseconds / 1_000_000) | 0)) | 0
  }

  /** Nothing that is known is fresh any more. */
  invalidate(): void {
    this.#epoch = (this.#epoch + 1) | 0 || 1
  }

  /** Index in `words` of the first place that a flow may have. */
  homeOf(a: number, b: number, c: number, way: number): number {
    let h = Math.imul(a ^ this.#seed, 0x9e3779b1)
    h = (h + Math.imul(b, 0x85ebca6b)) | 0
    h = (h + Math.imul(c, 0xc2b2ae35)) ^ way
    h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d)
    return ((h ^ (h >>> 13)) & this.#mask) << FLOW_SHIFT
  }

  /** Index in `words` of the flow with these ends, or NO_FLOW. */
  find(home: number, a: number, b: number, c: number, way: number): number {
    const words = this.words
    for (let flow = home; flow < home + WINDOW_WORDS; flow = (flow + FLOW_WORDS) | 0) {
      if (
        words[flow] === a &&
        words[flow + ENDS_B] === b &&
        words[flow + ENDS_C] === c &&
        words[flow + WAY] === way
      ) {
        return flow
      }
    }
    return NO_FLOW
  }

  /** Was it learned a short time ago, and has nothing been invalidated since? */
  isFresh(flow: number): boolean {
    const age = (this.#nowMilliseconds - (this.words[flow + LEARNED_AT] as number)) >>> 0
    return age < REPEAT_MILLISECONDS && this.words[flow + EPOCH] === this.#epoch
  }

  /**
   * A place for a flow, fresh and with nothing counted; what it does is for the caller to write. It is
   * the flow's own, a forgotten one's, or that of the flow learned first.
   *
   * @param entries the connections that its packets belong to
   */
  place(
    home: number,
    a: number,
    b: number,
    c: number,
    way: number,
    entries: VisitedEntries,
  ): number {
    const known = this.find(home, a, b, c, way)
    const flow = known === NO_FLOW ? this.#victim(home) : known
    this.settle(flow)
    const words = this.words
    words[flow] = a
    words[flow + ENDS_B] = b
    words[flow + ENDS_C] = c
    words[flow + WAY] = way
    words[flow + EPOCH] = this.#epoch
    words[flow + LEARNED_AT] = this.#nowMilliseconds
    const start = visitedStart(flow)
    const used = 2 * entries.count
    for (let i = 0; i < VISITED_WORDS; i++) {
      this.#visited[start + i] = i < used ? (entries.words[i] as number) : 0
    }
    return flow
  }

  forget(flow: number): void {
    this.settle(flow)
    this.words.fill(0, flow, flow + FLOW_WORDS)
  }

  /** Forgets the flow with these ends, if it is known. */
  forgetEnds(a: number, b: number, c: number, way: number): void {
    const flow = this.find(this.homeOf(a, b, c, way), a, b, c, way)
    if (flow !== NO_FLOW) this.forget(flow)
  }

  /** A packet of the flow was repeated. */
  count(flow: number, bytes: number): void {
    const words = this.words
    words[flow + PACKETS] = (words[flow + PACKETS] as number) + 1
    words[flow + BYTES] = (words[flow + BYTES] as number) + bytes
    words[flow + REPEATED_AT] = this.#nowMilliseconds
  }

  /** Tells the flow's connections of the packets counted, and of the time of the last one. */
  settle(flow: number): void {
    const words = this.words
    const packets = words[flow + PACKETS] as number
    if (packets === 0) return
    const bytes = words[flow + BYTES] as number
    const agoMilliseconds = (this.#nowMilliseconds - (words[flow + REPEATED_AT] as number)) >>> 0
    const seenSeconds = this.#nowSeconds - Math.ceil(agoMilliseconds / 1000)
    words[flow + PACKETS] = 0
    words[flow + BYTES] = 0
    const visited = this.#visited
    const first = visitedStart(flow)
    for (let i = first; i < first + VISITED_WORDS; i += 2) {
      const state = visited[i + 1] as number
      if (state === 0) continue
      this.#conntrack.account(visited[i] as number, state, packets, bytes, seenSeconds)
    }
  }

  settleAll(): void {
    for (let flow = 0; flow < this.words.length; flow += FLOW_WORDS) this.settle(flow)
  }

  /** A part of the table: settles flows of which nothing was heard for as long as they are known. */
  sweep(): void {
    const words = this.words
    const end = Math.min(words.length, this.#sweep + this.#sweepFlows * FLOW_WORDS)
    for (let flow = this.#sweep; flow < end; flow += FLOW_WORDS) {
      if (words[flow + PACKETS] !== 0 && !this.isFresh(flow)) this.settle(flow)
    }
    this.#sweep = end === words.length ? 0 : end
  }

  /** Which flow a new one replaces. */
  #victim(home: number): number {
    const words = this.words
    let oldest = home
    for (let flow = home; flow < home + WINDOW_WORDS; flow += FLOW_WORDS) {
      if (words[flow + EPOCH] === 0) return flow
      const learnedAt = words[flow + LEARNED_AT] as number
      const isOlder = ((learnedAt - (words[oldest + LEARNED_AT] as number)) | 0) < 0
      if (isOlder) oldest = flow
    }
    return oldest
  }
}

const visitedStart = (flow: number): number => (flow >>> FLOW_SHIFT) * VISITED_WORDS
