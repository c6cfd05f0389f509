/**
 * The events of the datapath, taken from its rings and kept for a while: the last flows, and the
 * last drops for longer, because they are asked about later. Whoever follows is told of each.
 */
import { EVENT_WORDS } from '../monitor/event.js'
import type { EventRings } from '../monitor/event-rings.js'
import { type Flow, flowOf } from './flow.js'

/** Events taken in one turn: what is left waits for the next, so that nothing else has to. */
const EVENTS_PER_TURN_MAX = 2_000
const FLOWS_KEPT = 8_192
const DROPS_KEPT = 4_096

export class FlowLog {
  readonly #rings: EventRings
  readonly #event = new Int32Array(EVENT_WORDS)
  readonly #flows = new Kept(FLOWS_KEPT)
  readonly #drops = new Kept(DROPS_KEPT)
  readonly #followers = new Set<(flow: Flow) => void>()
  #lastId = 0
  /** Events that the datapath could not leave for want of room. */
  lost = 0

  constructor(rings: EventRings) {
    this.#rings = rings
  }

  /** Events seen. */
  get count(): number {
    return this.#lastId
  }

  /** Takes what waits, up to a bound; returns how many events it was. */
  poll(): number {
    let count = 0
    while (count < EVENTS_PER_TURN_MAX && this.#rings.read(this.#event)) {
      count++
      this.lost += this.#rings.lostBefore
      const flow = flowOf(this.#event, ++this.#lastId, new Date())
      this.#flows.add(flow)
      if (flow.verdict === 'DROPPED') this.#drops.add(flow)
      for (const follower of this.#followers) follower(flow)
    }
    return count
  }

  /** Undefined for one that was never, or is not kept any more. */
  find(id: number): Flow | undefined {
    return this.#flows.find(id) ?? this.#drops.find(id)
  }

  /** Oldest first, at most `limit` of the newest that match. */
  last(limit: number, matches: (flow: Flow) => boolean, dropsOnly = false): Flow[] {
    return (dropsOnly ? this.#drops : this.#flows).last(limit, matches)
  }

  /** @returns to be called to stop following */
  follow(follower: (flow: Flow) => void): () => void {
    this.#followers.add(follower)
    return () => this.#followers.delete(follower)
  }
}

/** The newest flows, up to a number of them. */
class Kept {
  readonly #flows: (Flow | undefined)[]
  #next = 0

  constructor(capacity: number) {
    this.#flows = new Array<Flow | undefined>(capacity).fill(undefined)
  }

  add(flow: Flow): void {
    this.#flows[this.#next] = flow
    this.#next = (this.#next + 1) % this.#flows.length
  }

  find(id: number): Flow | undefined {
    return this.#flows.find((flow) => flow?.id === id)
  }

  last(limit: number, matches: (flow: Flow) => boolean): Flow[] {
    const found: Flow[] = []
    const count = this.#flows.length
    for (let i = 1; i <= count && found.length < limit; i++) {
      const flow = this.#flows[(this.#next - i + count) % count]
      if (flow === undefined) break
      if (matches(flow)) found.push(flow)
    }
    return found.reverse()
  }
}
