/** The bandwidth of an endpoint as its owner wishes it. */
import { ErrorCode, RingpathError } from '../base/errors.js'

export interface BandwidthSpec {
  /** Bits per second that the endpoint may send, 8,000 to 10^12; not limited unless given. */
  readonly egressBitsPerSecond?: number
  /** The same of what it may get. */
  readonly ingressBitsPerSecond?: number
}

const BITS_MIN = 8_000
const BITS_MAX = 1_000_000_000_000

/** Thousands of bits per second, rounded down; 0 for no limit. ECONFIG_INVALID. */
export function kilobitsOf(field: string, bits: number | undefined): number {
  if (bits === undefined) return 0
  if (Number.isInteger(bits) && bits >= BITS_MIN && bits <= BITS_MAX) return Math.floor(bits / 1000)
  const expected = `a whole number from ${BITS_MIN} to ${BITS_MAX}`
  const message = `bandwidth.${field}: '${String(bits)}', expected ${expected}`
  throw new RingpathError(ErrorCode.CONFIG_INVALID, message)
}
