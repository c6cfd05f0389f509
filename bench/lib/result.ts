/**
 * What a benchmark says: several runs of one measure, and its ratio to a yardstick that ran in turn
 * with it. Medians only: single figures of a shared machine swing by half.
 */

export interface BenchResult {
  /** Stable: other programs look for it. */
  readonly name: string
  readonly unit: string
  readonly median: number
  readonly min: number
  readonly max: number
  readonly runs: number
  /** Name of the result that `ratio` is relative to. */
  readonly yardstick?: string
  /**
   * Median over the rounds of (this run / the yardstick's run of the same round); none against
   * nothing.
   */
  readonly ratio?: number
  /** The least and the greatest of those ratios. */
  readonly ratioMin?: number
  readonly ratioMax?: number
  /** What else a reader must know to judge the figure. */
  readonly note?: string
}

export interface Samples {
  readonly name: string
  readonly unit: string
  /** One for each round, in order. */
  readonly values: readonly number[]
  readonly note?: string
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle]
  const lower = sorted[sorted.length % 2 === 0 ? middle - 1 : middle]
  if (upper === undefined || lower === undefined) throw new Error('no value, so no median')
  return (lower + upper) / 2
}

/**
 * @param yardstick samples of the same rounds, as many; the ratio is taken round by round, so that a
 * drift hits both
 */
export function summarize(samples: Samples, yardstick?: Samples): BenchResult {
  const { name, unit, values } = samples
  const summary = {
    name,
    unit,
    median: median(values),
    min: Math.min(...values),
    max: Math.max(...values),
    runs: values.length,
    ...(samples.note === undefined ? {} : { note: samples.note }),
  }
  if (yardstick === undefined) return summary
  if (yardstick.values.length !== values.length) {
    const counts = `${values.length} rounds beside ${yardstick.values.length}`
    throw new Error(`${name}: ${counts} of ${yardstick.name}`)
  }
  const ratios = values.map((value, round) => value / (yardstick.values[round] ?? Number.NaN))
  const ratio = median(ratios)
  const compared = { ...summary, yardstick: yardstick.name }
  if (!Number.isFinite(ratio)) return compared
  const known = ratios.filter(Number.isFinite)
  return { ...compared, ratio, ratioMin: Math.min(...known), ratioMax: Math.max(...known) }
}

/** It has run, and tells nothing. */
export const isBroken = ({ runs, median }: BenchResult): boolean =>
  runs > 0 && !Number.isFinite(median)
