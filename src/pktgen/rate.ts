/**
 * How fast to send: frames per second, or bits per second on the wire (with preamble, check
 * sequence and gap, as a line's speed is told), and the arithmetic of pacing by them.
 */
import { invalid } from './invalid.js'
import { meanFrameBytes, type SizeShare } from './size-mix.js'

/** As fast as possible is 0 frames per second. */
export interface Rate {
  readonly unit: 'frames' | 'bits'
  readonly perSecond: number
}

export const AS_FAST_AS_POSSIBLE: Rate = { unit: 'frames', perSecond: 0 }

/** Preamble 8, check sequence 4, least gap 12 (IEEE 802.3). */
export const WIRE_OVERHEAD_BYTES = 24
/** Behind by more than both, a sender forgets what it owes instead of sending a flood later. */
export const BEHIND_MAX_NANOSECONDS = 1_000_000
export const BEHIND_MAX_FRAMES = 64

const NANOSECONDS = 1e9
const PER_SECOND_MAX = 1e12
const PREFIXES: Readonly<Record<string, number>> = { '': 1, k: 1e3, m: 1e6, g: 1e9 }
const EXPECTED = '"max", frames per second such as 1000, 500k or 1.5M, or bits such as 10Gbit'

/** @throws RingpathError CONFIG_INVALID */
export function parseRate(text: string, option = 'rate'): Rate {
  if (text.toLowerCase() === 'max') return AS_FAST_AS_POSSIBLE
  const match = /^(\d+(?:\.\d+)?)([kmg]?)(bit|bps|bit\/s|pps|fps)?$/i.exec(text.trim())
  if (match === null) throw invalid(option, text, EXPECTED)
  const perSecond = Number(match[1]) * (PREFIXES[(match[2] ?? '').toLowerCase()] ?? 1)
  if (!(perSecond > 0 && perSecond <= PER_SECOND_MAX)) throw invalid(option, text, EXPECTED)
  const isBits = /^b/i.test(match[3] ?? '')
  return { unit: isBits ? 'bits' : 'frames', perSecond }
}

export const wireBits = (frameBytes: number): number => (frameBytes + WIRE_OVERHEAD_BYTES) * 8

/** Nanoseconds, not whole ones, from a frame of this size to the next; 0 as fast as possible. */
export function intervalNanoseconds(rate: Rate, frameBytes: number): number {
  if (rate.perSecond === 0) return 0
  const perFrame = rate.unit === 'bits' ? wireBits(frameBytes) : 1
  return (perFrame * NANOSECONDS) / rate.perSecond
}

/** Frames per second that the rate means for this mix; 0 as fast as possible. */
export function framesPerSecond(rate: Rate, shares: readonly SizeShare[]): number {
  return rate.unit === 'frames' ? rate.perSecond : rate.perSecond / wireBits(meanFrameBytes(shares))
}

/** Says of each frame whether it may go; each takes its interval of the time. */
export class Pacer {
  #due = 0
  /** How often so far behind that the debt was forgotten. */
  timesBehind = 0

  /** Begins at the time of the first call. @param now nanoseconds of any clock */
  isDue(interval: number, now: number): boolean {
    if (interval === 0) return true
    if (this.#due === 0) this.#due = now
    if (now < this.#due) return false
    const behindMax = Math.max(BEHIND_MAX_NANOSECONDS, interval * BEHIND_MAX_FRAMES)
    if (now - this.#due > behindMax) {
      this.#due = now
      this.timesBehind++
    }
    this.#due += interval
    return true
  }
}
