/**
 * How the flow lane finds a flow in its table (flow-table.ts), and counts for it: what is done for
 * every packet, as closures over the table's memory (see lane-passes.ts for why).
 */
import { Clock, FLOW_SHIFT, FLOW_WORDS, Flow, NEVER_USED, NO_FLOW, WAYS } from './flow-layout.js'

const { ENDS_A, ENDS_B, ENDS_C, INGRESS, EPOCH, LEARNED_AT, PACKETS, BYTES, REPEATED_AT } = Flow
const { MILLISECONDS, EPOCH: EPOCH_NOW } = Clock

/** How long a flow is remembered; then the chain sees a packet of it, or it is renewed (flow-table.ts). */
export const REPEAT_SECONDS = 8
const REPEAT_MILLISECONDS = 1000 * REPEAT_SECONDS
const WINDOW_WORDS = WAYS * FLOW_WORDS

export interface FlowAccess {
  /** Index in the table's words of the first place that a flow may have. */
  homeOf(a: number, b: number, c: number, ingress: number): number
  /** Index in the table's words of the flow with these ends, or NO_FLOW. */
  find(home: number, a: number, b: number, c: number, ingress: number): number
  /** Was it learned or renewed within REPEAT_SECONDS, has nothing been invalidated since, and is its counter far from full? */
  isFresh(flow: number): boolean
  /** A packet of the flow was repeated. */
  count(flow: number, bytes: number): void
}

/**
 * @param words of the table
 * @param clock words as Clock has them
 * @param mask places but one, a power of two less one
 * @param seed random, so that no sender can aim at one place
 */
export function flowAccess(
  words: Int32Array,
  clock: Int32Array,
  mask: number,
  seed: number,
): FlowAccess {
  return {
    homeOf(a, b, c, ingress) {
      let h = Math.imul(a ^ seed, 0x9e3779b1)
      h = (h + Math.imul(b, 0x85ebca6b)) | 0
      h = (h + Math.imul(c, 0xc2b2ae35)) ^ ingress
      // The finalizer of MurmurHash3 (public domain): with less, neighbouring ports come to lie in heaps.
      h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
      h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
      return ((h ^ (h >>> 16)) & mask) << FLOW_SHIFT
    },

    find(home, a, b, c, ingress) {
      const end = (home + WINDOW_WORDS) | 0
      for (let flow = home; flow < end; flow = (flow + FLOW_WORDS) | 0) {
        const its = words[flow + INGRESS]
        if (
          its === ingress &&
          words[flow + ENDS_A] === a &&
          words[flow + ENDS_B] === b &&
          words[flow + ENDS_C] === c
        ) {
          return flow
        }
        if (its === NEVER_USED) return NO_FLOW
      }
      return NO_FLOW
    },

    isFresh(flow) {
      const age = ((clock[MILLISECONDS] as number) - (words[flow + LEARNED_AT] as number)) >>> 0
      return (
        age < REPEAT_MILLISECONDS &&
        words[flow + EPOCH] === clock[EPOCH_NOW] &&
        // Negative from 2 GiB on: its connections are told before the 32 bits wrap at 4 GiB.
        (words[flow + BYTES] as number) >= 0
      )
    },

    count(flow, bytes) {
      words[flow + PACKETS] = (words[flow + PACKETS] as number) + 1
      words[flow + BYTES] = (words[flow + BYTES] as number) + bytes
      words[flow + REPEATED_AT] = clock[MILLISECONDS] as number
    },
  }
}
