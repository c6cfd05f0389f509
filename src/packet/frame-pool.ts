/**
 * The free frames of one UMEM, last in first out so that few stay hot in the cache. One thread uses
 * it; the native poller shares the same words inside `exchange`. A frame has exactly one owner:
 * pool, ring, or burst.
 */
import { assert } from '../base/assert.js'

/**
 * words[0] is the number of free frames; the stack of frame starts follows. native/src/frames.h
 * reads the same layout.
 */
const FREE = 0
const STACK = 1

/** Returned by `take` when every frame is in use. */
export const NO_FRAME = -1

export class FramePool {
  readonly words: Int32Array
  readonly frameCount: number

  /**
   * Over existing words, as a native UMEM hands them out; see `FramePool.filled` for a new pool.
   */
  constructor(words: Int32Array) {
    this.words = words
    this.frameCount = words.length - STACK
  }

  static filled(frameCount: number, stride: number): FramePool {
    const pool = new FramePool(new Int32Array(STACK + frameCount))
    for (let frame = frameCount - 1; frame >= 0; frame--) pool.give(frame * stride)
    return pool
  }

  get freeCount(): number {
    return this.words[FREE] as number
  }

  /** The first byte of a free frame, now the caller's, or NO_FRAME. */
  take(): number {
    const free = this.words[FREE] as number
    if (free === 0) return NO_FRAME
    this.words[FREE] = free - 1
    return this.words[STACK + free - 1] as number
  }

  /** @param frameStart the first byte of the frame itself, not of a packet in it */
  give(frameStart: number): void {
    const free = this.words[FREE] as number
    assert(free < this.frameCount, 'a frame was freed twice: the pool holds more than there are')
    this.words[STACK + free] = frameStart
    this.words[FREE] = free + 1
  }
}
