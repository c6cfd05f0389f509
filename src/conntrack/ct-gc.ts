/**
 * Collection of expired connections in bounded steps, on the worker's own time between bursts
 * (Cilium: pkg/maps/ctmap). Any table will do whose stamp is the second at which an entry expires,
 * such as the one of fragments.
 *
 * The interval adapts as Cilium's does: a sweep that finds many dead entries makes the next come
 * sooner, one that finds few makes it later. A table that begins to evict is swept at once, so that
 * the dead go before the living; how much each sweep found stands in the table's header.
 *
 * Several workers share the slots out (`SweepShare`): each sweeps its own, when it finds it due.
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

/** Which part of a table's slots is whose. */
export interface SweepShare {
  /** From 0. */
  readonly index: number
  readonly of: number
}

export const WHOLE_TABLE: SweepShare = { index: 0, of: 1 }

/** First slot of a share; of the one after the last, the end. */
export const shareStart = (slots: number, { index, of }: SweepShare): number =>
  Math.floor((slots * index) / of)

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
  readonly #shares: number
  readonly #firstSlot: number
  readonly #endSlot: number
  #nextSlot = 0
  #isSweeping = false
  #sizeAtStart = 0
  #deletedInSweep = 0
  #dueSeconds = -1
  #isRequested = false
  #requestsSeen: number
  #evictionsSeen: number
  #endedSeconds = -INTERVAL_MIN_SECONDS

  intervalSeconds = INTERVAL_FIRST_SECONDS
  /** Entries deleted since the start. */
  deleted = 0
  sweeps = 0

  constructor(table: LruHashMap, share = WHOLE_TABLE) {
    this.#table = table
    this.#stampWord = table.spec.stampWord ?? 0
    this.#shares = share.of
    this.#firstSlot = shareStart(table.slotCount, share)
    this.#endSlot = shareStart(table.slotCount, { index: share.index + 1, of: share.of })
    this.#evictionsSeen = table.evictions
    this.#requestsSeen = table.sweepRequests
  }

  /** Starts the next sweep at once, of all shares, as when a table fills up. */
  request(): void {
    this.#table.requestSweep()
  }

  /** A sweep is under way: an idle worker goes on with it at once. */
  get hasMore(): boolean {
    return this.#isSweeping
  }

  /** One bounded step; call it between bursts. */
  step(nowSeconds: number): void {
    if (!this.#isSweeping) {
      if (this.#dueSeconds < 0) this.#dueSeconds = nowSeconds + this.intervalSeconds
      if (this.#isWanted(nowSeconds)) {
        this.#dueSeconds = 0
        this.#isRequested = true
      }
      if (nowSeconds < this.#dueSeconds) return
      this.#isSweeping = true
      this.#sizeAtStart = this.#table.size / this.#shares
      this.#deletedInSweep = 0
      this.#nextSlot = this.#firstSlot
    }
    const end = Math.min(this.#nextSlot + STEP_SLOTS, this.#endSlot)
    for (let slot = this.#nextSlot; slot < end; slot++) {
      if (this.#table.isLive(slot)) this.#collect(slot, nowSeconds)
    }
    this.#nextSlot = end
    if (end === this.#endSlot) this.#finish(nowSeconds)
  }

  /**
   * Somebody asked for a sweep, or the table has evicted since the last look; one that did not help
   * is not repeated at once.
   */
  #isWanted(nowSeconds: number): boolean {
    const requests = this.#table.sweepRequests
    if (requests !== this.#requestsSeen) {
      this.#requestsSeen = requests
      return true
    }
    const evictions = this.#table.evictions
    if (evictions === this.#evictionsSeen) return false
    if (nowSeconds < this.#endedSeconds + INTERVAL_MIN_SECONDS) return false
    this.#evictionsSeen = evictions
    return true
  }

  /** Another worker may give the slot to a new entry meanwhile: that one has another generation. */
  #collect(slot: number, nowSeconds: number): void {
    const table = this.#table
    const generation = table.generation(slot)
    const stamp = table.valueStart(slot) + this.#stampWord
    if ((table.words[stamp] as number) >= nowSeconds) return
    if (table.deleteSlot(slot, generation)) this.#deletedInSweep++
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
