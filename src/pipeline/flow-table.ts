/**
 * What the flow lane remembers of flows: each one cache line, in the place that its hash leads to or
 * one of the next seven, and beside it the connections that its packets belong to. It belongs to one
 * worker, and so is plain memory without locks.
 *
 * Packets that were repeated are counted here, and added to their connections' entries (`settle`)
 * when the flow is learned again, renewed, forgotten or displaced; those of a flow that ended, by the
 * sweep, which forgets it, too.
 */
import { randomInt } from 'node:crypto'
import { REPEATED_SECONDS_MAX } from '../base/limits.js'
import type { Conntrack } from '../conntrack/conntrack.js'
import { VISITED_MAX, type VisitedEntries } from '../conntrack/ct-traffic.js'
import { type FlowAccess, flowAccess, REPEAT_SECONDS } from './flow-access.js'
import {
  CLOCK_WORDS,
  Clock,
  FLOW_SHIFT,
  FLOW_WORDS,
  Flow,
  FORGOTTEN,
  NO_FLOW,
  WAYS,
} from './flow-layout.js'

const FLOWS_MIN = 1 << 12
const FLOWS_MAX = 1 << 22
const VISITED_WORDS = 2 * VISITED_MAX
/**
 * Steps in which the sweep looks at every flow, some twenty seconds with the tasks that a worker has; and
 * flows that a step looks at, at least.
 */
const SWEEP_STEPS = 1 << 8
const SWEEP_FLOWS_MIN = 16

/**
 * Flows that the chain sees again in a millisecond, because of their age alone. More would take a large
 * part of the time (3 µs each, most of it cache misses), and the packets behind them would wait: what is
 * beyond is renewed.
 */
const RELEARNED_PER_MILLISECOND = 4
/**
 * Flows that were learned at the same time grow old at the same time. A renewed one does earlier, each by
 * another part of half the time: by so many bits of its number's hash, in milliseconds.
 */
const SPREAD_BITS = 12
const SPREAD_MULTIPLIER = 0x9e37_79b1
/** So long after the chain saw it a flow is renewed for the last time. */
const RENEWED_SECONDS_MAX = REPEATED_SECONDS_MAX - REPEAT_SECONDS
/** A flow that was not learned or renewed for so long cannot be renewed: its connections may have expired. */
const RENEWABLE_MILLISECONDS = 30_000

const { ENDS_A, ENDS_B, ENDS_C, INGRESS, EPOCH, LEARNED_AT, PACKETS, BYTES, REPEATED_AT } = Flow
const { MILLISECONDS, EPOCH: EPOCH_NOW } = Clock
const WINDOW_WORDS = WAYS * FLOW_WORDS

/** Where the lane's memory comes from, as zeros. */
export type AllocateMemory = (bytes: number) => ArrayBufferLike

const ordinaryMemory: AllocateMemory = (bytes) => new ArrayBuffer(bytes)

export class FlowTable {
  readonly words: Int32Array
  /** Slot and state word of each flow's connections. */
  readonly #visited: Int32Array
  readonly access: FlowAccess
  readonly #clock = new Int32Array(CLOCK_WORDS)
  /** Of each flow: seconds before LEARNED_AT in which the chain saw none of it; at most RENEWED_SECONDS_MAX. */
  readonly #unseenSeconds: Uint8Array
  readonly #sweepFlows: number
  #conntrack: Conntrack | null = null
  #sweep = 0
  #nowSeconds = 0
  #relearnedAt = 0
  #relearned = 0
  /** See RELEARNED_PER_MILLISECOND; fewer for the training, so that it meets what comes then. */
  relearnedMax = RELEARNED_PER_MILLISECOND

  /**
   * @param flows that may be remembered: 4096 to 4,194,304, rounded up to a power of two
   * @param allocate a flow is one cache line if what it gives begins with one
   */
  constructor(flows: number, allocate: AllocateMemory = ordinaryMemory) {
    const homes = Math.min(FLOWS_MAX, Math.max(FLOWS_MIN, 2 ** Math.ceil(Math.log2(flows))))
    const places = homes + WAYS - 1
    this.#sweepFlows = Math.max(SWEEP_FLOWS_MIN, homes / SWEEP_STEPS)
    this.words = new Int32Array(allocate(places * FLOW_WORDS * 4))
    this.#visited = new Int32Array(allocate(places * VISITED_WORDS * 4))
    this.#unseenSeconds = new Uint8Array(allocate(places))
    this.#clock[EPOCH_NOW] = 1
    this.access = flowAccess(this.words, this.#clock, homes - 1, randomInt(2 ** 31))
  }

  /** Begins anew, with flows of these connections. */
  serve(conntrack: Conntrack): void {
    if (this.#conntrack !== null) {
      for (const memory of [this.words, this.#visited, this.#unseenSeconds]) memory.fill(0)
    }
    this.#conntrack = conntrack
    this.relearnedMax = RELEARNED_PER_MILLISECOND
  }

  /** For the flows learned, asked for and counted from now on. */
  setTime(nowSeconds: number, nowNanoseconds: number): void {
    this.#nowSeconds = nowSeconds
    this.#clock[MILLISECONDS] = Math.imul(nowSeconds, 1000) + ((nowNanoseconds / 1_000_000) | 0)
  }

  /** Nothing that is known is fresh any more. */
  invalidate(): void {
    this.#clock[EPOCH_NOW] = ((this.#clock[EPOCH_NOW] as number) + 1) | 0 || 1
  }

  /**
   * A place for a flow, fresh and with nothing counted; what it does is for the caller to write. It is
   * the flow's own, a forgotten one's, or that of the flow learned first.
   *
   * @param entries the connections that its packets belong to
   */
  insert(
    home: number,
    a: number,
    b: number,
    c: number,
    ingress: number,
    entries: VisitedEntries,
  ): number {
    const known = this.access.find(home, a, b, c, ingress)
    const flow = known === NO_FLOW ? this.#victim(home) : known
    this.settle(flow)
    const words = this.words
    words[flow + ENDS_A] = a
    words[flow + ENDS_B] = b
    words[flow + ENDS_C] = c
    words[flow + INGRESS] = ingress
    words[flow + EPOCH] = this.#clock[EPOCH_NOW] as number
    words[flow + LEARNED_AT] = this.#clock[MILLISECONDS] as number
    this.#unseenSeconds[flow >>> FLOW_SHIFT] = 0
    const start = visitedStart(flow)
    const used = 2 * entries.count
    for (let i = 0; i < VISITED_WORDS; i++) {
      this.#visited[start + i] = i < used ? (entries.words[i] as number) : 0
    }
    return flow
  }

  /**
   * A packet comes of a flow that is not fresh any more: may it be repeated all the same? So it is when
   * its age alone is the reason, many are as old, and its connections are still what they were.
   */
  renew(flow: number): boolean {
    if (!this.#isRenewable(flow)) return false
    const words = this.words
    const now = this.#clock[MILLISECONDS] as number
    const age = (now - (words[flow + LEARNED_AT] as number)) >>> 0
    const number = flow >>> FLOW_SHIFT
    const unseen = (this.#unseenSeconds[number] as number) + Math.ceil(age / 1000)
    if (unseen > RENEWED_SECONDS_MAX) return false
    // The chain still has time for it in this millisecond.
    if (this.#takeRelearning()) return false
    if (!this.#tell(flow, this.#nowSeconds)) return false
    const spread = Math.imul(number, SPREAD_MULTIPLIER) >>> (32 - SPREAD_BITS)
    // What the flow is made older by is not counted twice.
    this.#unseenSeconds[number] = Math.max(0, unseen - Math.floor(spread / 1000))
    words[flow + LEARNED_AT] = now - spread
    return true
  }

  /** Takes one of this millisecond's relearnings; false when they are used up. */
  #takeRelearning(): boolean {
    const now = this.#clock[MILLISECONDS] as number
    if (this.#relearnedAt !== now) {
      this.#relearnedAt = now
      this.#relearned = 0
    }
    return this.#relearned++ < this.relearnedMax
  }

  forget(flow: number): void {
    this.settle(flow)
    this.words.fill(0, flow, flow + FLOW_WORDS)
    this.words[flow + INGRESS] = FORGOTTEN
  }

  /** Forgets the flow with these ends, if it is known. */
  forgetEnds(a: number, b: number, c: number, ingress: number): void {
    const { access } = this
    const flow = access.find(access.homeOf(a, b, c, ingress), a, b, c, ingress)
    if (flow !== NO_FLOW) this.forget(flow)
  }

  /** Tells the flow's connections of the packets counted, and of the time of the last one. */
  settle(flow: number): void {
    const words = this.words
    if (words[flow + PACKETS] === 0) return
    const now = this.#clock[MILLISECONDS] as number
    const agoMilliseconds = (now - (words[flow + REPEATED_AT] as number)) >>> 0
    this.#tell(flow, this.#nowSeconds - Math.ceil(agoMilliseconds / 1000))
  }

  /** @returns false when one of the connections is no more */
  #tell(flow: number, seenSeconds: number): boolean {
    const words = this.words
    const packets = words[flow + PACKETS] as number
    const bytes = words[flow + BYTES] as number
    words[flow + PACKETS] = 0
    words[flow + BYTES] = 0
    const visited = this.#visited
    const first = visitedStart(flow)
    let areAlive = true
    for (let i = first; i < first + VISITED_WORDS; i += 2) {
      const state = visited[i + 1] as number
      if (state === 0) continue
      const slot = visited[i] as number
      const isAlive = this.#conntrack?.account(slot, state, packets, bytes, seenSeconds) === true
      areAlive = areAlive && isAlive
    }
    return areAlive
  }

  settleAll(): void {
    for (let flow = 0; flow < this.words.length; flow += FLOW_WORDS) this.settle(flow)
  }

  /**
   * A part of the table: settles flows of which nothing was heard for as long as they are known, and
   * forgets those that cannot be renewed. The clock has 32 bits: a flow that nobody forgot would be
   * young again after 49 days.
   */
  sweep(): void {
    const words = this.words
    const end = Math.min(words.length, this.#sweep + this.#sweepFlows * FLOW_WORDS)
    for (let flow = this.#sweep; flow < end; flow += FLOW_WORDS) {
      if (words[flow + EPOCH] === 0 || this.access.isFresh(flow)) continue
      if (this.#isRenewable(flow)) this.settle(flow)
      else this.forget(flow)
    }
    this.#sweep = end === words.length ? 0 : end
  }

  /** As far as the flow's age and the state of the maps tell. */
  #isRenewable(flow: number): boolean {
    const words = this.words
    const age = ((this.#clock[MILLISECONDS] as number) - (words[flow + LEARNED_AT] as number)) >>> 0
    return age < RENEWABLE_MILLISECONDS && words[flow + EPOCH] === this.#clock[EPOCH_NOW]
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
