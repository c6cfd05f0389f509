/**
 * What the numbers of arriving frames tell: duplicates, and frames out of order (RFC 4737: one that
 * a later one of its flow has overtaken). What is lost is known when all has come: numbers up to the
 * highest that were not seen, or all that were sent. generator/count.bpf.c does the same.
 */

/** A number seen again within so many frames is a duplicate; a power of two. */
export const DUPLICATE_WINDOW = 1 << 18

export class SequenceTracker {
  /** By number modulo the window, the last number seen plus one. */
  readonly #seen = new Int32Array(DUPLICATE_WINDOW)
  /** By flow, the number after the highest seen. */
  readonly #next: Int32Array
  readonly #flows: number
  duplicates = 0
  reordered = 0
  /** Largest distance, in frames of the flow, to one that had come before. */
  reorderExtent = 0
  /** One more than the highest number that came in order. */
  highest = 0

  /** @param flows frame n belongs to flow n mod this */
  constructor(flows: number) {
    this.#flows = flows
    this.#next = new Int32Array(flows)
  }

  /** @param sequence the frame's number, an int32 that wraps */
  see(sequence: number): void {
    const slot = sequence & (DUPLICATE_WINDOW - 1)
    const mark = (sequence + 1) | 0
    if (this.#seen[slot] === mark) {
      this.duplicates++
      return
    }
    this.#seen[slot] = mark
    const flow = this.#flows > 1 ? (sequence >>> 0) % this.#flows : 0
    const behind = ((this.#next[flow] as number) - sequence) | 0
    if (behind <= 0) {
      this.#next[flow] = mark
      if (mark >>> 0 > this.highest) this.highest = mark >>> 0
      return
    }
    this.reordered++
    const extent = Math.floor((behind - 1) / this.#flows)
    if (extent > this.reorderExtent) this.reorderExtent = extent
  }

  reset(): void {
    this.#seen.fill(0)
    this.#next.fill(0)
    this.duplicates = 0
    this.reordered = 0
    this.reorderExtent = 0
    this.highest = 0
  }
}
