/**
 * A bounded first-in first-out queue of frame copies with the time at which each may be taken.
 * Slots are reused and grow by doubling up to the bound, so a steady stream allocates nothing.
 */
import { assert } from '../base/assert.js'

const SLOTS_AT_FIRST = 16

export class FrameQueue {
  readonly #slotBytes: number
  readonly #framesMax: number
  #slots: number
  #bytes: Uint8Array
  #lengths: Int32Array
  #due: Float64Array
  #head = 0
  #count = 0

  /**
   * @param framesMax how many frames may wait
   * @param slotBytes the longest frame
   */
  constructor(framesMax: number, slotBytes: number) {
    assert(framesMax > 0 && slotBytes > 0, 'a frame queue needs room for at least one byte')
    this.#framesMax = framesMax
    this.#slotBytes = slotBytes
    this.#slots = Math.min(SLOTS_AT_FIRST, framesMax)
    this.#bytes = new Uint8Array(this.#slots * slotBytes)
    this.#lengths = new Int32Array(this.#slots)
    this.#due = new Float64Array(this.#slots)
  }

  get count(): number {
    return this.#count
  }

  /**
   * Copies a frame in; false, and nothing kept, when the queue is full or the frame longer than a
   * slot.
   */
  push(source: Uint8Array, start: number, length: number, dueNanoseconds: number): boolean {
    if (length > this.#slotBytes) return false
    if (this.#count === this.#slots && !this.#grow()) return false
    let slot = this.#head + this.#count
    if (slot >= this.#slots) slot -= this.#slots
    copyBytes(source, start, this.#bytes, slot * this.#slotBytes, length)
    this.#lengths[slot] = length
    this.#due[slot] = dueNanoseconds
    this.#count++
    return true
  }

  /** Whether the first frame may be taken at this time. */
  isDue(nowNanoseconds: number): boolean {
    return this.#count > 0 && this.#due[this.#head] <= nowNanoseconds
  }

  /** Length of the first frame; the queue is not empty. */
  get firstLength(): number {
    assert(this.#count > 0, 'the frame queue is empty')
    return this.#lengths[this.#head]
  }

  /**
   * Copies the first frame, whole, to `target[start]` and on; it stays in the queue until `drop`.
   */
  copyFirst(target: Uint8Array, start: number): void {
    copyBytes(this.#bytes, this.#head * this.#slotBytes, target, start, this.firstLength)
  }

  /** Forgets the first frame. */
  drop(): void {
    assert(this.#count > 0, 'the frame queue is empty')
    this.#head = this.#head + 1 === this.#slots ? 0 : this.#head + 1
    this.#count--
  }

  clear(): void {
    this.#head = 0
    this.#count = 0
  }

  #grow(): boolean {
    if (this.#slots === this.#framesMax) return false
    const slots = Math.min(this.#slots * 2, this.#framesMax)
    const bytes = new Uint8Array(slots * this.#slotBytes)
    const lengths = new Int32Array(slots)
    const due = new Float64Array(slots)
    // Unrolls the ring: the part from the head to the end first, then what had wrapped around.
    const tail = this.#slots - this.#head
    bytes.set(this.#bytes.subarray(this.#head * this.#slotBytes), 0)
    bytes.set(this.#bytes.subarray(0, this.#head * this.#slotBytes), tail * this.#slotBytes)
    lengths.set(this.#lengths.subarray(this.#head), 0)
    lengths.set(this.#lengths.subarray(0, this.#head), tail)
    due.set(this.#due.subarray(this.#head), 0)
    due.set(this.#due.subarray(0, this.#head), tail)
    this.#bytes = bytes
    this.#lengths = lengths
    this.#due = due
    this.#slots = slots
    this.#head = 0
    return true
  }
}

/** A plain loop: `set(subarray())` would make an object per frame, and frames are short. */
export function copyBytes(
  source: Uint8Array,
  sourceStart: number,
  target: Uint8Array,
  targetStart: number,
  length: number,
): void {
  for (let i = 0; i < length; i++) target[targetStart + i] = source[sourceStart + i]
}
