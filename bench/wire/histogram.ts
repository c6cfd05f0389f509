/** The counter's histogram of latencies: buckets of bench/generator/frame.h. */
import type { Histogram } from './traffic.js'

/** 32 buckets to each power of two. */
const STEPS_BITS = 5
const STEPS = 1 << STEPS_BITS

/** Largest number of nanoseconds that falls into the bucket. */
export function bucketEnd(bucket: number): number {
  const exponent = bucket >> STEPS_BITS
  const step = bucket & (STEPS - 1)
  return exponent === 0 ? step : (STEPS + step + 1) * 2 ** (exponent - 1) - 1
}

/** What came after an earlier reading. */
export function difference(last: Histogram, first: Histogram): Histogram {
  const before = new Map(first)
  return last
    .map(([bucket, frames]) => [bucket, frames - (before.get(bucket) ?? 0)] as const)
    .filter(([, frames]) => frames > 0)
}

/**
 * Nanoseconds within which that share of the frames took, rounded up to the end of a bucket; NaN of
 * no frames.
 *
 * @param share 0 to 1
 */
export function quantile(histogram: Histogram, share: number): number {
  const sorted = [...histogram].sort(([a], [b]) => a - b)
  const total = sorted.reduce((sum, [, frames]) => sum + frames, 0)
  let seen = 0
  for (const [bucket, frames] of sorted) {
    seen += frames
    if (seen >= share * total) return bucketEnd(bucket)
  }
  return Number.NaN
}
