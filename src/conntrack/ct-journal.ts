/**
 * What one packet made of the connection table, so that nothing stays of a packet that is dropped:
 * the entries it made go again, those it wrote over or gave another backend get their values back.
 * Counters and lifetimes that a lookup brings up to date are not here.
 */
import { assert } from '../base/assert.js'
import type { LruHashMap } from '../maps/lru-hash-map.js'
import type { Slot } from '../maps/map.js'
import { VISITED_MAX } from './ct-traffic.js'

/** Each of the packet's connections may be made, and then be given another backend. */
const EDITS_MAX = 2 * VISITED_MAX

/** Words of a row; the value that the entry had follows. */
const SLOT = 0
const GENERATION = 1
/** 1: the entry was there before. */
const WAS_THERE = 2
const VALUE = 3

export class CtJournal {
  readonly #table: LruHashMap
  readonly #rows: Int32Array
  readonly #rowWords: number
  readonly #value: Int32Array
  #end = 0

  constructor(table: LruHashMap) {
    this.#table = table
    this.#rowWords = VALUE + table.spec.valueWords
    this.#value = new Int32Array(table.spec.valueWords)
    this.#rows = new Int32Array(EDITS_MAX * this.#rowWords)
  }

  /** Call it before each packet. */
  begin(): void {
    this.#end = 0
  }

  /** The packet made this entry. */
  made(slot: Slot, generation: number): void {
    this.#add(slot, generation, 0)
  }

  /** The packet changed this entry, which had the value at `start` of `words`. */
  changed(slot: Slot, generation: number, words: Int32Array, start: number): void {
    const row = this.#add(slot, generation, 1)
    for (let i = VALUE; i < this.#rowWords; i++) {
      this.#rows[row + i] = words[start + i - VALUE] as number
    }
  }

  /** Takes back, last first; an entry that somebody else has meanwhile is left alone. */
  undo(): void {
    for (let row = this.#end - this.#rowWords; row >= 0; row -= this.#rowWords) {
      // The first row of an entry takes back what the others did.
      if (!this.#hasEarlier(row)) this.#undo(row)
    }
    this.#end = 0
  }

  #undo(row: number): void {
    const slot = this.#rows[row + SLOT] as number
    const generation = this.#rows[row + GENERATION] as number
    if (this.#rows[row + WAS_THERE] === 0) {
      this.#table.deleteSlot(slot, generation)
      return
    }
    const value = this.#value
    for (let i = 0; i < value.length; i++) value[i] = this.#rows[row + VALUE + i] as number
    this.#table.updateSlot(slot, generation, value)
  }

  #hasEarlier(row: number): boolean {
    const rows = this.#rows
    for (let at = 0; at < row; at += this.#rowWords) {
      const isSame =
        rows[at + SLOT] === rows[row + SLOT] && rows[at + GENERATION] === rows[row + GENERATION]
      if (isSame) return true
    }
    return false
  }

  /** Start of the new row. */
  #add(slot: Slot, generation: number, wasThere: number): number {
    const row = this.#end
    assert(row < this.#rows.length, 'a packet changed more connections than it can have')
    this.#rows[row + SLOT] = slot
    this.#rows[row + GENERATION] = generation
    this.#rows[row + WAS_THERE] = wasThere
    this.#end += this.#rowWords
    return row
  }
}
