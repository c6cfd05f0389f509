/** A program of the demonstration: what it tries, what was promised of it, and what it achieved. */

export interface ProgramSpec {
  /** The pod it runs in, or the node. */
  readonly where: string
  /** As a person would type it. */
  readonly command: string
  /** `works`: the policy allows it. `refused`: nothing of it may get through. */
  readonly expectation: 'works' | 'refused'
  /** Why it is expected, for the introduction. */
  readonly promise: string
  /** What is counted, in the plural: `requests answered`, `attempts got through`. */
  readonly unit: string
  /** Share of the attempts that must succeed for `works`, 0 to 1; 1 when not given. */
  readonly shareMin?: number
}

export class Program {
  readonly spec: ProgramSpec
  attempts = 0
  successes = 0
  /** What else it tells, such as a rate or a round-trip time. */
  detail = ''

  constructor(spec: ProgramSpec) {
    this.spec = spec
  }

  record(attempts: number, successes: number, detail = this.detail): void {
    this.attempts += attempts
    this.successes += successes
    this.detail = detail
  }

  /** False as well for a program that did not get to try anything. */
  get isAsPromised(): boolean {
    if (this.attempts === 0) return false
    if (this.spec.expectation === 'refused') return this.successes === 0
    return this.successes > 0 && this.successes >= this.attempts * (this.spec.shareMin ?? 1)
  }

  /** `12 of 12 requests answered, 0.8 ms`; `0 of 7 attempts got through`. */
  get result(): string {
    const detail = this.detail === '' ? '' : `, ${this.detail}`
    if (this.attempts === 0) return this.detail || 'not yet'
    return `${this.successes} of ${this.attempts} ${this.spec.unit}${detail}`
  }
}

/** When the bulk transfer runs: in the middle, so that the quiet before and after is seen too. */
export interface BulkWindow {
  readonly startSeconds: number
  readonly seconds: number
}

const BULK_SECONDS_MAX = 10

export function bulkWindow(showSeconds: number): BulkWindow {
  const seconds = Math.max(1, Math.min(BULK_SECONDS_MAX, Math.floor(showSeconds * 0.4)))
  return { startSeconds: showSeconds * 0.3, seconds }
}
