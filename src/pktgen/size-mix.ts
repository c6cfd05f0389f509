/**
 * Mixes of frame sizes, as weights, and the order in which they are sent. A size is that of the
 * frame from the destination address to the end of the payload; the four bytes of check sequence
 * that RFC 2544 counts come on top, so that its 64 is 60 here.
 */
import { invalid } from './invalid.js'

export interface SizeShare {
  readonly frameBytes: number
  /** Frames of this size among those of all weights together. */
  readonly weight: number
}

export const FRAME_BYTES_MIN = 60
export const FRAME_BYTES_MAX = 1522
export const SHARES_MAX = 8
/** Of all shares together: the longest schedule. */
export const WEIGHTS_MAX = 1024

/** The simple IMIX of 7:4:1 (RFC 6985 appendix A calls it so), without check sequences. */
const IMIX: readonly SizeShare[] = [
  { frameBytes: 60, weight: 7 },
  { frameBytes: 590, weight: 4 },
  { frameBytes: 1514, weight: 1 },
]

const EXPECTED =
  `a size from ${FRAME_BYTES_MIN} to ${FRAME_BYTES_MAX}, "imix", ` +
  `or up to ${SHARES_MAX} of "size:weight" with commas`

/** @throws RingpathError CONFIG_INVALID */
export function parseSizes(text: string): readonly SizeShare[] {
  if (text.toLowerCase() === 'imix') return IMIX
  const shares = text.split(',').map((part) => {
    const match = /^(\d+)(?::(\d+))?$/.exec(part.trim())
    if (match === null) throw invalid('size', text, EXPECTED)
    return { frameBytes: Number(match[1]), weight: Number(match[2] ?? 1) }
  })
  const isRight = ({ frameBytes, weight }: SizeShare) =>
    frameBytes >= FRAME_BYTES_MIN && frameBytes <= FRAME_BYTES_MAX && weight >= 1
  const weights = shares.reduce((sum, { weight }) => sum + weight, 0)
  if (!shares.every(isRight) || shares.length > SHARES_MAX) throw invalid('size', text, EXPECTED)
  if (weights > WEIGHTS_MAX) {
    throw invalid('size', text, `weights that add up to at most ${WEIGHTS_MAX}`)
  }
  return shares
}

/**
 * The shares' indices in the order of sending: each as often as its weight, and spread evenly
 * (smooth weighted round robin: who is owed the most comes next, and then owes all weights).
 */
export function scheduleOf(shares: readonly SizeShare[]): Uint8Array {
  const total = shares.reduce((sum, { weight }) => sum + weight, 0)
  const owed = shares.map(() => 0)
  return Uint8Array.from({ length: total }, () => {
    let best = 0
    for (const [index, { weight }] of shares.entries()) {
      owed[index] = (owed[index] ?? 0) + weight
      if ((owed[index] ?? 0) > (owed[best] ?? 0)) best = index
    }
    owed[best] = (owed[best] ?? 0) - total
    return best
  })
}

export function meanFrameBytes(shares: readonly SizeShare[]): number {
  const weights = shares.reduce((sum, { weight }) => sum + weight, 0)
  return shares.reduce((sum, each) => sum + each.frameBytes * each.weight, 0) / weights
}
