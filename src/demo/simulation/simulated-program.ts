/** A simulated program: it tries again and again, and an attempt without an answer fails. */
import type { Program } from '../program.js'
import type { Attempt } from './simulated-pod.js'

/** A second, as the real `nc -w 1` waits. */
const TIMEOUT_SECONDS = 1

export interface Schedule {
  readonly program: Program
  readonly periodSeconds: number
  readonly start: () => Attempt
  /** Seconds after the start of the show at which it begins; 0 when not given. */
  readonly firstSeconds?: number
  /** Told of each success, to put it into words. */
  readonly describe?: (seconds: number) => string
  /** How long an attempt may take; 1 when not given. */
  readonly timeoutSeconds?: number
  /** For an attempt that goes on until it is told to end. */
  readonly finish?: { readonly afterSeconds: number; readonly how: () => void }
  /** Attempts at most; any number when not given. */
  readonly attemptsMax?: number
}

export class SimulatedProgram {
  readonly #schedule: Schedule
  #current: Attempt | undefined
  #startedAt = 0
  #nextAt: number
  #started = 0

  constructor(schedule: Schedule, nowSeconds: number) {
    this.#schedule = schedule
    this.#nextAt = nowSeconds + (schedule.firstSeconds ?? 0)
  }

  step(nowSeconds: number): void {
    const { program, start, periodSeconds, describe, attemptsMax, timeoutSeconds } = this.#schedule
    const { finish } = this.#schedule
    if (this.#current !== undefined) {
      const taken = nowSeconds - this.#startedAt
      if (finish !== undefined && taken >= finish.afterSeconds) finish.how()
      if (this.#current.isDone) program.record(1, 1, describe?.(taken) ?? '')
      else if (taken >= (timeoutSeconds ?? TIMEOUT_SECONDS)) program.record(1, 0, '')
      else return
      this.#current = undefined
    }
    if (nowSeconds < this.#nextAt || this.#started >= (attemptsMax ?? Number.POSITIVE_INFINITY))
      return
    this.#started++
    this.#startedAt = nowSeconds
    this.#nextAt = nowSeconds + periodSeconds
    if (program.attempts === 0) program.detail = 'running'
    this.#current = start()
  }
}
