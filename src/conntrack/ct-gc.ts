/**
 * Collection of expired connections in bounded steps, on the worker's own time between bursts
 * (Cilium: pkg/maps/ctmap). Any table will do whose stamp is the second at which an entry expires,
 * such as the one of fragments.
 *
 * The interval adapts as Cilium's does: a sweep that finds many dead entries makes the next come
 * sooner, one that finds few makes it later. A table that begins to evict is swept at once, so that
 * the dead go before the living; how much each sweep found stands in the table's header.
 */
import type { LruHashMap } from '../maps/lru-hash-map.js'

const INTERVAL_FIRST_SECONDS = 300
const INTERVAL_MIN_SECONDS = 10
const INTERVAL_MAX_SECONDS = 12 * 3600
const RATIO_HIGH = 0.25
const RATIO_LOW = 0.05
const SHORTEN_MAX = 0.9
const LENGTHEN = 1.5

/** Slots looked at per step: about 20 µs, so that frames on the rings hardly wait. */
const STEP_SLOTS = 1024

/** The next interval after a sweep that deleted `ratio` (0 to 1) of the entries. */
export function nextInterval(seconds: number, ratio: number): number {
  if (ratio > RATIO_HIGH) {
    const shorter = seconds * (1 - Math.min(ratio, SHORTEN_MAX))
    return Math.max(INTERVAL_MIN_SECONDS, Math.round(shorter))
  }
  if (ratio < RATIO_LOW) return Math.min(INTERVAL_MAX_SECONDS, Math.round(seconds * LENGTHEN))
  return seconds
}

export class ConntrackGc {
  readonly #table: LruHashMap
  readonly #stampWord: number
  #nextSlot = 0
  #isSweeping = false
  #sizeAtStart = 0
  #deletedInSweep = 0
  #dueSeconds = -1
  #isRequested = false
  #evictionsSeen: number
  #endedSeconds = -INTERVAL_MIN_SECONDS

  intervalSeconds = INTERVAL_FIRST_SECONDS
  /** Entries deleted since the start. */
  deleted = 0
  sweeps = 0

  constructor(table: LruHashMap) {
    this.#table = table
    this.#stampWord = table.spec.stampWord ?? 0
    this.#evictionsSeen = table.evictions
  }

  /** Starts the next sweep at once, as when a table fills up. */
  request(): void {
    this.#dueSeconds = 0
    this.#isRequested = true
  }

  /** One bounded step; call it between bursts. */
  step(nowSeconds: number): void {
    if (!this.#isSweeping) {
      if (this.#dueSeconds < 0) this.#dueSeconds = nowSeconds + this.intervalSeconds
      if (this.#isFillingUp(nowSeconds)) this.request()
      if (nowSeconds < this.#dueSeconds) return
      this.#isSweeping = true
      this.#sizeAtStart = this.#table.size
      this.#deletedInSweep = 0
      this.#nextSlot = 0
    }
    const end = Math.min(this.#nextSlot + STEP_SLOTS, this.#table.slotCount)
    for (let slot = this.#nextSlot; slot < end; slot++) {
      if (this.#isExpired(slot, nowSeconds) && this.#table.deleteSlot(slot)) this.#deletedInSweep++
    }
    this.#nextSlot = end
    if (end === this.#table.slotCount) this.#finish(nowSeconds)
  }

  /** It has evicted since the last look; a sweep that did not help is not repeated at once. */
  #isFillingUp(nowSeconds: number): boolean {
    const evictions = this.#table.evictions
    if (evictions === this.#evictionsSeen) return false
    if (nowSeconds < this.#endedSeconds + INTERVAL_MIN_SECONDS) return false
    this.#evictionsSeen = evictions
    return true
  }

  #isExpired(slot: number, nowSeconds: number): boolean {
    if (!this.#table.isLive(slot)) return false
    const stamp = this.#table.valueStart(slot) + this.#stampWord
    return (this.#table.words[stamp] as number) < nowSeconds
  }

  #finish(nowSeconds: number): void {
    this.#isSweeping = false
    this.sweeps++
    this.deleted += this.#deletedInSweep
    const ratio = this.#sizeAtStart === 0 ? 0 : this.#deletedInSweep / this.#sizeAtStart
    const next = nextInterval(this.intervalSeconds, ratio)
    // A sweep out of turn that finds little says nothing about how often to sweep.
    if (!this.#isRequested || next < this.intervalSeconds) this.intervalSeconds = next
    this.#isRequested = false
    this.#dueSeconds = nowSeconds + this.intervalSeconds
    this.#endedSeconds = nowSeconds
    // What the sweep's own time brought is no reason for another.
    this.#evictionsSeen = this.#table.evictions
    this.#table.noteSweep(this.#deletedInSweep, this.intervalSeconds)
  }
}
