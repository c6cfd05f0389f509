/**
 * What the flow lane writes around packets, apart from their own fields: MAC addresses, and the
 * envelope of a tunnel. Many flows share it (routers call it an adjacency), so that it stays in the
 * processor's cache and a flow needs but its number.
 *
 * A row is found by what it says, and so is never wrong; it is never changed, and all go at once.
 */

const ROWS = 1 << 12
/** As many are searched; then the table counts as full. */
const PROBES_MAX = 64
/** Words of a row, as a power of two: MAC addresses, then an envelope. */
export const ROW_SHIFT = 4
const ROW_WORDS = 1 << ROW_SHIFT
export const MAC_WORDS = 3
const EMPTY = 0

export class AdjacencyTable {
  /** Rows: three words of MAC addresses, thirteen of an envelope or zeros. */
  readonly words = new Int32Array(ROWS << ROW_SHIFT)
  /** The same by two words at a time. */
  readonly pairs = new BigInt64Array(this.words.buffer)
  /** By row: 1 where there is one. */
  readonly #isUsed = new Uint8Array(ROWS)
  readonly #row = new Int32Array(ROW_WORDS)

  /** To be filled before `add`. */
  get row(): Int32Array {
    return this.#row
  }

  /** The number of the row that says what `row` does, a new one if there is none; -1 when full. */
  add(): number {
    const row = this.#row
    let h = 0
    for (let i = 0; i < ROW_WORDS; i++)
      h = Math.imul(h ^ (row[i] as number), 0x9e3779b1) ^ (h >>> 15)
    for (let i = 0; i < PROBES_MAX; i++) {
      const number = ((h >>> 8) + i) & (ROWS - 1)
      if (this.#isUsed[number] === EMPTY) {
        this.#isUsed[number] = 1
        this.words.set(row, number << ROW_SHIFT)
        return number
      }
      if (this.#isSame(number)) return number
    }
    return -1
  }

  clear(): void {
    this.#isUsed.fill(EMPTY)
  }

  #isSame(number: number): boolean {
    const start = number << ROW_SHIFT
    for (let i = 0; i < ROW_WORDS; i++) {
      if (this.words[start + i] !== this.#row[i]) return false
    }
    return true
  }
}
