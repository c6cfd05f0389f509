/**
 * The tables that answer for IPv4 in one to three loads (DIR-16-8-8, after Gupta, Lin and McKeown,
 * "Routing lookups in hardware at memory access speeds", 1998): 2^16 root cells for the first half
 * of the address, tables of 256 cells for each further byte.
 *
 * A cell holds the answer for all addresses under it (n > 0: the prefix in slot n - 1; 0: none), or
 * n < 0, the table -n - 1 that knows more. It changes by one store, and a table is filled before a
 * cell names it, so a reader sees the old answer or the new one. A table given back is left as it
 * is; the map's epoch tells readers when it may be in use again.
 */
import type { HashMap } from './hash-map.js'
import {
  LpmHeader,
  type LpmLayout,
  MAPPED_BITS,
  PREFIX_LENGTH,
  ROOT_CELLS,
  TABLE_CELLS,
} from './lpm-layout.js'
import type { Slot } from './map.js'

const NOTHING = 0

/** Calls of the writer's methods need the map's lock. */
export class LpmTables {
  readonly #words: Int32Array
  readonly #layout: LpmLayout
  readonly #rootStart: number
  readonly #tablesStart: number
  readonly #entries: HashMap

  constructor(words: Int32Array, layout: LpmLayout, entries: HashMap) {
    this.#words = words
    this.#layout = layout
    this.#rootStart = layout.rootStart
    this.#tablesStart = layout.tablesStart
    this.#entries = entries
  }

  /** Slot of the longest prefix of an IPv4 address, or NOT_FOUND. */
  lookup(ip: number): Slot {
    const words = this.#words
    let cell = words[this.#rootStart + (ip >>> 16)] as number
    if (cell < 0) {
      cell = words[this.#tablesStart + (~cell << 8) + ((ip >>> 8) & 0xff)] as number
      if (cell < 0) cell = words[this.#tablesStart + (~cell << 8) + (ip & 0xff)] as number
    }
    return cell - 1
  }

  /** Whether there are tables enough to hold a prefix of `bits` (0 to 32) bits. */
  hasRoomFor(ip: number, bits: number): boolean {
    const words = this.#words
    const root = words[this.#rootStart + (ip >>> 16)] as number
    const second = root < 0 ? (words[this.#cellOf(root, (ip >>> 8) & 0xff)] as number) : NOTHING
    const needed = (bits > 16 && root >= 0 ? 1 : 0) + (bits > 24 && second >= 0 ? 1 : 0)
    return needed <= (words[LpmHeader.FREE_TABLES] as number)
  }

  /**
   * Writes the slot into all cells of the prefix that no longer prefix holds. Again and again does
   * no harm.
   */
  spread(ip: number, bits: number, slot: Slot): void {
    let at = this.#rootStart + (ip >>> 16)
    let depth = 16
    while (bits > depth) {
      at = this.#cellOf(this.#tableAt(at), (ip >>> (24 - depth)) & 0xff)
      depth += 8
    }
    this.#spreadCells(at, 1 << (depth - bits), slot, MAPPED_BITS + bits)
  }

  /** For a prefix shorter than /96 that covers all of IPv4. */
  spreadEverywhere(slot: Slot, prefixLength: number): void {
    this.#spreadCells(this.#rootStart, ROOT_CELLS, slot, prefixLength)
  }

  /**
   * Everywhere under the prefix `slot` becomes `cover` (or NOT_FOUND); tables that say one thing
   * only are given back.
   */
  withdraw(ip: number, bits: number, slot: Slot, cover: Slot): void {
    const first = this.#rootStart + (ip >>> 16)
    if (bits <= 16) {
      this.#replaceCells(first, 1 << (16 - bits), slot + 1, cover + 1)
      return
    }
    const second = this.#cellOf(this.#words[first] as number, (ip >>> 8) & 0xff)
    if (bits <= 24) {
      this.#replaceCells(second, 1 << (24 - bits), slot + 1, cover + 1)
    } else {
      const third = this.#cellOf(this.#words[second] as number, ip & 0xff)
      this.#replaceCells(third, 1 << (32 - bits), slot + 1, cover + 1)
      this.#collapse(second)
    }
    this.#collapse(first)
  }

  withdrawEverywhere(slot: Slot, cover: Slot): void {
    this.#replaceCells(this.#rootStart, ROOT_CELLS, slot + 1, cover + 1)
  }

  /**
   * Makes the stack of free tables anew, of all that no cell names. Clears cells whose entry is
   * gone or covers other addresses, and all but one of the cells that name the same table: two
   * writers at once leave such, when one of them was taken for dead.
   */
  collectTables(): void {
    const words = this.#words
    const isUsed = new Uint8Array(this.#layout.tables)
    this.#markTables(this.#rootStart, 16, 0, isUsed)
    let free = 0
    for (let table = this.#layout.tables - 1; table >= 0; table--) {
      if (isUsed[table] === 0) words[this.#layout.freeStart + free++] = ~table
    }
    words[LpmHeader.FREE_TABLES] = free
  }

  /** @param shift how far left of the address's end the cells' own bits end: 16, 8 or 0 */
  #markTables(start: number, shift: number, ip: number, isUsed: Uint8Array): void {
    const words = this.#words
    const count = shift === 16 ? ROOT_CELLS : TABLE_CELLS
    for (let i = 0; i < count; i++) {
      const cell = words[start + i] as number
      const under = ip | (i << shift)
      if (cell > 0 && !this.#covers(cell - 1, under)) words[start + i] = NOTHING
      if (cell >= 0) continue
      const isWrong = ~cell >= this.#layout.tables || isUsed[~cell] === 1 || shift === 0
      if (isWrong) words[start + i] = NOTHING
      else {
        isUsed[~cell] = 1
        this.#markTables(this.#cellOf(cell, 0), shift - 8, under, isUsed)
      }
    }
  }

  #covers(slot: Slot, ip: number): boolean {
    const entries = this.#entries
    if (slot >= entries.slotCount || !entries.isLive(slot)) return false
    const prefix = entries.keyStart(slot)
    const bits = (entries.words[prefix + PREFIX_LENGTH] as number) - MAPPED_BITS
    if (bits <= 0) return true
    return (((entries.words[prefix + 3] as number) ^ ip) & (-1 << (32 - bits))) === 0
  }

  /** Index of a cell of the table that the given cell names. */
  #cellOf(cell: number, index: number): number {
    return this.#tablesStart + (~cell << 8) + index
  }

  #spreadCells(start: number, count: number, slot: Slot, prefixLength: number): void {
    for (let at = start; at < start + count; at++) {
      const cell = this.#words[at] as number
      if (cell < 0) this.#spreadCells(this.#cellOf(cell, 0), TABLE_CELLS, slot, prefixLength)
      else if (this.#lengthOf(cell) <= prefixLength) this.#words[at] = slot + 1
    }
  }

  #replaceCells(start: number, count: number, from: number, to: number): void {
    for (let at = start; at < start + count; at++) {
      const cell = this.#words[at] as number
      if (cell < 0) this.#replaceCells(this.#cellOf(cell, 0), TABLE_CELLS, from, to)
      else if (cell === from) this.#words[at] = to
    }
  }

  #lengthOf(cell: number): number {
    if (cell === NOTHING) return -1
    const entries = this.#entries
    return entries.words[entries.keyStart(cell - 1) + PREFIX_LENGTH] as number
  }

  /**
   * The table behind a cell as a cell value, made if need be with the cell's own answer everywhere.
   */
  #tableAt(at: number): number {
    const words = this.#words
    const cell = words[at] as number
    if (cell < 0) return cell
    const free = (words[LpmHeader.FREE_TABLES] as number) - 1
    const table = words[this.#layout.freeStart + free] as number
    words[LpmHeader.FREE_TABLES] = free
    const start = this.#cellOf(table, 0)
    words.fill(cell, start, start + TABLE_CELLS)
    Atomics.store(words, at, table)
    return table
  }

  /**
   * Gives the table behind a cell back if all its cells hold the same answer, which the cell then
   * holds itself.
   */
  #collapse(at: number): void {
    const words = this.#words
    const table = words[at] as number
    if (table >= 0) return
    const start = this.#cellOf(table, 0)
    const answer = words[start] as number
    if (answer < 0) return
    for (let i = 1; i < TABLE_CELLS; i++) if (words[start + i] !== answer) return
    Atomics.store(words, at, answer)
    const free = words[LpmHeader.FREE_TABLES] as number
    words[this.#layout.freeStart + free] = table
    words[LpmHeader.FREE_TABLES] = free + 1
  }
}
