/**
 * Latencies in a log-linear histogram: 32 steps for each power of two, so that a value read from it
 * is at most 1/32 too high, from 1 ns to 68 s in 1024 buckets. generator/count.bpf.c fills the same
 * buckets in the kernel.
 */

const STEP_BITS = 5
const STEPS = 1 << STEP_BITS
export const BUCKETS = 1024
/** Longer ones count as this long. */
export const LATENCY_MAX_NANOSECONDS = 2 ** 36 - 1

export interface LatencySummary {
  readonly count: number
  /** Nanoseconds, all of them. */
  readonly min: number
  readonly mean: number
  readonly p50: number
  readonly p99: number
  readonly p999: number
  readonly max: number
}

export function bucketOf(nanoseconds: number): number {
  const value = Math.min(Math.max(Math.floor(nanoseconds), 0), LATENCY_MAX_NANOSECONDS)
  if (value < STEPS) return value
  const high = Math.floor(value / 2 ** STEP_BITS)
  // What is above 32 bits after the shift cannot be: 36 - 5 are left.
  const power = 31 - Math.clz32(high)
  const step = Math.floor(value / 2 ** power) - STEPS
  return ((power + 1) << STEP_BITS) + step
}

/** The highest value that falls into the bucket. */
export function highestOf(bucket: number): number {
  if (bucket < STEPS) return bucket
  const power = (bucket >> STEP_BITS) - 1
  return (STEPS + (bucket & (STEPS - 1)) + 1) * 2 ** power - 1
}

export class LatencyHistogram {
  readonly #counts = new Float64Array(BUCKETS)
  #count = 0
  #sum = 0
  #min = Number.POSITIVE_INFINITY
  #max = 0

  get count(): number {
    return this.#count
  }

  record(nanoseconds: number): void {
    const value = Math.min(Math.max(nanoseconds, 0), LATENCY_MAX_NANOSECONDS)
    const bucket = bucketOf(value)
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1
    this.#count++
    this.#sum += value
    if (value < this.#min) this.#min = value
    if (value > this.#max) this.#max = value
  }

  reset(): void {
    this.#counts.fill(0)
    this.#count = 0
    this.#sum = 0
    this.#min = Number.POSITIVE_INFINITY
    this.#max = 0
  }

  /** Buckets that hold something, with how much. */
  buckets(): [bucket: number, count: number][] {
    return [...this.#counts.entries()].filter(([, count]) => count > 0)
  }

  get sum(): number {
    return this.#sum
  }

  get min(): number {
    return this.#count === 0 ? 0 : this.#min
  }

  get max(): number {
    return this.#max
  }
}

export interface LatencyCounts {
  readonly buckets: readonly (readonly [bucket: number, count: number])[]
  readonly sum: number
  readonly min: number
  readonly max: number
}

/** Undefined when nothing was measured. */
export function summarizeLatency(counts: LatencyCounts): LatencySummary | undefined {
  const count = counts.buckets.reduce((sum, [, each]) => sum + each, 0)
  if (count === 0) return undefined
  const percentile = (share: number): number => {
    let left = Math.max(1, Math.ceil(count * share))
    for (const [bucket, each] of counts.buckets) {
      left -= each
      if (left <= 0) return Math.min(highestOf(bucket), counts.max)
    }
    return counts.max
  }
  return {
    count,
    min: counts.min,
    mean: counts.sum / count,
    p50: percentile(0.5),
    p99: percentile(0.99),
    p999: percentile(0.999),
    max: counts.max,
  }
}
