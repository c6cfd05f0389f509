/**
 * A map of one row whose words are settings: written by the control plane, read by the stages, and
 * effective with the next packet. A setting is one word, so that a reader sees it whole; 0 is what
 * a new map says, and so has to be each setting's default.
 */
import type { ArrayMap } from './array-map.js'
import type { ChangeCount } from './revision.js'

export class SettingsRow {
  /** The map's memory, for `Revisions`. */
  readonly words: Int32Array
  readonly #changes: ChangeCount
  readonly #start: number

  constructor(map: ArrayMap) {
    this.words = map.words
    this.#changes = map.changes
    this.#start = map.valueStart(0)
  }

  get(word: number): number {
    return this.words[this.#start + word] as number
  }

  /** Who remembers a decision has to learn that it may be another now. */
  set(word: number, value: number): void {
    this.words[this.#start + word] = value
    this.#changes.mark()
  }

  /** For what changes no decision that somebody may remember, such as a sign of life. */
  setUnnoticed(word: number, value: number): void {
    Atomics.store(this.words, this.#start + word, value)
  }
}
