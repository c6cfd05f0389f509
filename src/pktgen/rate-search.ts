/**
 * The highest rate without loss, by halving, as RFC 2544 section 26.1 asks for: trials of one
 * length each, between a rate that is lost at and one that is not. What a trial is, is the caller's
 * matter.
 */

/** What a trial found. */
export interface Trial {
  /** Frames per second that were really sent. */
  readonly offered: number
  readonly sent: number
  readonly lost: number
}

export interface SearchOptions {
  /** Frames per second. */
  readonly lowest: number
  readonly highest: number
  /** Ends when the step is at most this share of the rate. */
  readonly resolution: number
  /** Share of the sent frames that may be lost; 0 for none. */
  readonly lossTolerance: number
  /** A rate is refused when so many trials in a row lose: 1 is the RFC's, more for a shared machine. */
  readonly attempts: number
}

export interface TrialReport extends Trial {
  readonly rate: number
  readonly isPassed: boolean
  /** `rate` was more than the sender could do. */
  readonly isSenderLimited: boolean
}

export interface SearchResult {
  /** Frames per second really sent in the best trial without loss; 0 when even the lowest lost. */
  readonly rate: number
  readonly best: TrialReport | undefined
  /** The sender, not what was tested, ended the search. */
  readonly isSenderLimited: boolean
  readonly trials: readonly TrialReport[]
}

/** A sender that does less than this share of what it was told is at its own limit. */
const SENDER_SHARE_MIN = 0.98
const TRIALS_MAX = 200

export async function searchRate(
  runTrial: (rate: number) => Promise<Trial>,
  options: SearchOptions,
  tell: (report: TrialReport) => void = () => undefined,
): Promise<SearchResult> {
  const trials: TrialReport[] = []
  const attempt = async (rate: number): Promise<TrialReport> => {
    for (let left = options.attempts; ; left--) {
      const trial = await runTrial(rate)
      const report: TrialReport = {
        ...trial,
        rate,
        isPassed: trial.sent > 0 && trial.lost <= trial.sent * options.lossTolerance,
        isSenderLimited: trial.offered < rate * SENDER_SHARE_MIN,
      }
      trials.push(report)
      tell(report)
      if (report.isPassed || left <= 1) return report
    }
  }
  let best: TrialReport | undefined
  let low = options.lowest
  let high = options.highest
  for (let rate = high; trials.length < TRIALS_MAX; rate = (low + high) / 2) {
    const report = await attempt(rate)
    if (report.isPassed) {
      if (best === undefined || report.offered > best.offered) best = report
      if (rate === options.highest || report.isSenderLimited) break
      low = rate
    } else {
      // A sender that reached less lost at what it reached.
      high = Math.max(low, Math.min(rate, report.offered))
    }
    if (high - low <= options.resolution * high) break
  }
  if (best === undefined && trials.length < TRIALS_MAX) {
    const last = await attempt(options.lowest)
    if (last.isPassed) best = last
  }
  const isSenderLimited = best?.isSenderLimited === true
  return { rate: best?.offered ?? 0, best, isSenderLimited, trials }
}
