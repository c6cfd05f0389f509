/**
 * Which entry answered recent questions about a policy, so that a new connection like those before it
 * takes one look instead of one for each prefix length in use. It belongs to one worker; an answer
 * counts as long as the policy map's revision (src/maps/revision.ts) is the one that it was found in.
 */
import { Header } from '../maps/map-header.js'

/** Words of a row: the question, then the answer. */
const ROW_SHIFT = 3
const POLICY = 0
const IDENTITY = 1
const PORT = 2
const PREFIXES = 3
const REVISION = 4
const SLOT = 5
const KIND = 6
/** Kinds of destinations that a node's pods talk to at one time; each has one row. */
const ROWS = 1024
const REVISION_WORD = Header.REVISION

export class PolicyAnswers {
  readonly #entries: Int32Array
  readonly #rows = new Int32Array(ROWS << ROW_SHIFT)
  #row = 0
  #revision = 0

  /** Of the last `recall` that was true: the slot that decides, and what else `remember` was told. */
  slot = 0
  kind = 0

  /** @param entries words of the policy map */
  constructor(entries: Int32Array) {
    this.#entries = entries
  }

  /**
   * @param policy its number and the direction
   * @param port with the protocol, as one word
   * @param prefixes in use, not 0
   */
  recall(policy: number, identity: number, port: number, prefixes: number): boolean {
    const rows = this.#rows
    let h = Math.imul(policy ^ Math.imul(identity, 0x9e3779b1), 0x85ebca6b) ^ port
    h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d)
    const row = ((h ^ (h >>> 13)) & (ROWS - 1)) << ROW_SHIFT
    // Before the map is asked: what changes meanwhile voids the answer.
    this.#revision = this.#entries[REVISION_WORD] as number
    this.#row = row
    if (
      rows[row + POLICY] === policy &&
      rows[row + IDENTITY] === identity &&
      rows[row + PORT] === port &&
      rows[row + PREFIXES] === prefixes &&
      rows[row + REVISION] === this.#revision
    ) {
      this.slot = rows[row + SLOT] as number
      this.kind = rows[row + KIND] as number
      return true
    }
    rows[row + POLICY] = policy
    rows[row + IDENTITY] = identity
    rows[row + PORT] = port
    rows[row + PREFIXES] = 0
    rows[row + REVISION] = this.#revision
    return false
  }

  /** The answer to the question that was just not known. */
  remember(prefixes: number, slot: number, kind: number): void {
    const rows = this.#rows
    rows[this.#row + PREFIXES] = prefixes
    rows[this.#row + SLOT] = slot
    rows[this.#row + KIND] = kind
  }
}
