/**
 * Collection of expired connections in bounded steps, on the worker's own time between bursts
 * (Cilium: pkg/maps/ctmap).
 *
 * The interval adapts as Cilium's does: a sweep that finds many dead entries makes the next come
 * sooner, one that finds few makes it later.
 */
import type { LruHashMap } from '../maps/lru-hash-map.js'
import { Ct } from './ct-entry.js'

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
  #nextSlot = 0
  #isSweeping = false
  #sizeAtStart = 0
  #deletedInSweep = 0
  #dueSeconds = -1
  #isRequested = false

  intervalSeconds = INTERVAL_FIRST_SECONDS
  /** Entries deleted since the start. */
  deleted = 0
  sweeps = 0

  constructor(table: LruHashMap) {
    this.#table = table
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

  #isExpired(slot: number, nowSeconds: number): boolean {
    if (!this.#table.isLive(slot)) return false
    const lifetime = this.#table.words[this.#table.valueStart(slot) + Ct.LIFETIME] as number
    return lifetime < nowSeconds
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
  }
}
