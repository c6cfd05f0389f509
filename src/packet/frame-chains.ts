/**
 * Packets of several buffers (kernel: Documentation/networking/af_xdp.rst, "Multi-Buffer Support").
 * A burst has the first buffer of such a packet, with all headers in it and the length of the whole;
 * this table has the rest. A packet that fits one frame is never in it, so of an ordinary packet
 * nothing is looked up: longer than the rest of its frame is the mark (PacketBuffer.isChained).
 *
 * Whoever holds the first buffer holds them all. The table knows packets in the program's hands, not
 * those on rings. native/src/chains.h reads the same words.
 */
import { assert } from '../base/assert.js'
import type { FramePool } from './frame-pool.js'

/** Of a packet: the kernel's copy mode sends no more (MAX_SKB_FRAGS). */
export const CHAIN_BUFFERS_MAX = 17
/** What its first buffer holds at least when it is received: more than all headers. */
export const CHAIN_HEAD_BYTES_MIN = 1024

/** Header words: packets in the table, and their buffers but for the first ones. */
const CHAINS = 0
const TAILS = 1
const HEADER_WORDS = 2
/** Words of a frame: one more than the next buffer's first byte, or 0; the byte behind its last. */
const NEXT = 0
const END = 1
const FRAME_WORDS = 2

/** From `next`: it was the last one. */
export const NO_BUFFER = -1

export class FrameChains {
  readonly words: Int32Array
  readonly #stride: number

  /** Over words that a native UMEM has; see `FrameChains.empty` for others. */
  constructor(words: Int32Array, stride: number) {
    this.words = words
    this.#stride = stride
  }

  static empty(frameCount: number, stride: number): FrameChains {
    return new FrameChains(new Int32Array(HEADER_WORDS + frameCount * FRAME_WORDS), stride)
  }

  /** Frames that are neither in the pool nor on a ring, nor named by a burst. */
  get tailFrames(): number {
    return this.words[TAILS] as number
  }

  /** Whether there is any packet of several buffers; asked before a frame is looked up. */
  get hasAny(): boolean {
    return this.words[CHAINS] !== 0
  }

  /** Is there a buffer behind this one? @param start a byte of any buffer */
  hasNext(start: number): boolean {
    return this.words[this.#row(start) + NEXT] !== 0
  }

  /** First byte of the buffer behind the one that `start` lies in, or NO_BUFFER. */
  next(start: number): number {
    return (this.words[this.#row(start) + NEXT] as number) - 1
  }

  /** The byte behind the last one of a buffer of such a packet. */
  end(start: number): number {
    return this.words[this.#row(start) + END] as number
  }

  /**
   * Adds a buffer at the end of a packet; the caller owned its frame. Both ends are behind the
   * buffers' last bytes.
   *
   * @param isFirst the buffer before is the packet's first
   */
  append(before: number, endBefore: number, start: number, end: number, isFirst: boolean): void {
    const words = this.words
    const row = this.#row(before)
    assert(words[row + NEXT] === 0, 'a buffer has one behind it already')
    words[row + NEXT] = start + 1
    words[row + END] = endBefore
    const last = this.#row(start)
    words[last + NEXT] = 0
    words[last + END] = end
    words[TAILS] = (words[TAILS] as number) + 1
    if (isFirst) words[CHAINS] = (words[CHAINS] as number) + 1
  }

  /** Gives all buffers but the first to the pool; the packet is an ordinary one from then on. */
  release(start: number, pool: FramePool): void {
    const words = this.words
    let row = this.#row(start)
    if (words[row + NEXT] === 0) return
    words[CHAINS] = (words[CHAINS] as number) - 1
    for (let left = CHAIN_BUFFERS_MAX; left > 0; left--) {
      const next = (words[row + NEXT] as number) - 1
      words[row + NEXT] = 0
      if (next === NO_BUFFER) return
      words[TAILS] = (words[TAILS] as number) - 1
      pool.give(next - (next % this.#stride))
      row = this.#row(next)
    }
    assert(false, 'the buffers of a packet are linked in a ring')
  }

  /** Copies the first `length` bytes of a packet, chained or not, to `target[targetStart]` and on. */
  copyTo(
    memory: Uint8Array,
    start: number,
    length: number,
    target: Uint8Array,
    targetStart: number,
  ): void {
    let from = start
    let left = length
    let at = targetStart
    while (left > 0) {
      const hasNext = this.hasNext(from)
      const bytes = hasNext ? Math.min(left, this.end(from) - from) : left
      for (let i = 0; i < bytes; i++) target[at + i] = memory[from + i] as number
      at += bytes
      left -= bytes
      if (hasNext) from = this.next(from)
    }
  }

  #row(start: number): number {
    return HEADER_WORDS + Math.trunc(start / this.#stride) * FRAME_WORDS
  }
}
