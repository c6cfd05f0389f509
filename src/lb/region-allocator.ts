/**
 * Runs of words in an array map, handed out first fit: for the backends of a service and for Maglev
 * tables. Control plane only; what is in use is known to the map's readers, and told again by
 * `reserve` when a new control plane takes over.
 */
import { assert } from '../base/assert.js'

interface Run {
  start: number
  length: number
}

export class RegionAllocator {
  /** Free runs by ascending start, never two that touch. */
  readonly #free: Run[]

  constructor(words: number) {
    this.#free = [{ start: 0, length: words }]
  }

  get freeWords(): number {
    return this.#free.reduce((sum, run) => sum + run.length, 0)
  }

  /**
   * The start of a run of that many words (0 words: any number), or -1 when no free run is as long.
   */
  take(length: number): number {
    if (length === 0) return 0
    const i = this.#free.findIndex((run) => run.length >= length)
    const run = this.#free[i]
    if (run === undefined) return -1
    const { start } = run
    run.start += length
    run.length -= length
    if (run.length === 0) this.#free.splice(i, 1)
    return start
  }

  /** Takes a run that is in use already. */
  reserve(start: number, length: number): void {
    if (length === 0) return
    const end = start + length
    const i = this.#free.findIndex((run) => run.start <= start && run.start + run.length >= end)
    const run = this.#free[i]
    assert(run !== undefined, 'two services name the same run of an array')
    const behind = { start: end, length: run.start + run.length - end }
    run.length = start - run.start
    const pieces = [run, behind].filter((piece) => piece.length > 0)
    this.#free.splice(i, 1, ...pieces)
  }

  give(start: number, length: number): void {
    if (length === 0) return
    const next = this.#free.findIndex((run) => run.start > start)
    const i = next < 0 ? this.#free.length : next
    this.#free.splice(i, 0, { start, length })
    this.#join(i)
    this.#join(i - 1)
  }

  /** Joins run `i` with the one behind it if they touch. */
  #join(i: number): void {
    const run = this.#free[i]
    const behind = this.#free[i + 1]
    if (run === undefined || behind === undefined) return
    assert(run.start + run.length <= behind.start, 'a run was given back twice')
    if (run.start + run.length !== behind.start) return
    run.length += behind.length
    this.#free.splice(i + 1, 1)
  }
}
