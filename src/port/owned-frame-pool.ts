/**
 * A frame pool for debugging: it remembers of each frame whether the pool or the caller owns it, so
 * that a frame freed or sent twice is reported at once and by its number, not when the pool
 * overflows much later.
 *
 * It sees only takes and gives made through its methods, so it serves software exchanges, not the
 * native poller.
 */
import { assert } from '../base/assert.js'
import { FramePool, NO_FRAME } from '../packet/frame-pool.js'

const OWNED_BY_POOL = 0
const OWNED_BY_CALLER = 1

export class OwnedFramePool extends FramePool {
  readonly #owners: Uint8Array
  readonly #stride: number

  constructor(frameCount: number, stride: number) {
    super(FramePool.filled(frameCount, stride).words)
    this.#owners = new Uint8Array(frameCount)
    this.#stride = stride
  }

  override take(): number {
    const start = super.take()
    if (start !== NO_FRAME) this.#owners[this.#indexOf(start)] = OWNED_BY_CALLER
    return start
  }

  override give(frameStart: number): void {
    const index = this.#indexOf(frameStart)
    assert(
      this.#owners[index] === OWNED_BY_CALLER,
      `frame ${index} (start ${frameStart}) was given back twice: it is in the pool already`,
    )
    this.#owners[index] = OWNED_BY_POOL
    super.give(frameStart)
  }

  /**
   * Throws unless the caller owns the frame: before it is sent, for a frame sent twice carries
   * another's bytes.
   */
  assertOwned(frameStart: number): void {
    const index = this.#indexOf(frameStart)
    assert(
      this.#owners[index] === OWNED_BY_CALLER,
      `frame ${index} (start ${frameStart}) was sent or freed twice: the pool owns it`,
    )
  }

  /**
   * Numbers of the frames that are not in the pool, for the message of a failed conservation check.
   */
  missing(): number[] {
    const missing: number[] = []
    for (let i = 0; i < this.#owners.length; i++) {
      if (this.#owners[i] === OWNED_BY_CALLER) missing.push(i)
    }
    return missing
  }

  #indexOf(frameStart: number): number {
    const index = Math.trunc(frameStart / this.#stride)
    assert(
      index >= 0 && index < this.#owners.length && index * this.#stride === frameStart,
      `${frameStart} is not the start of a frame (stride ${this.#stride}, ` +
        `${this.#owners.length} frames)`,
    )
    return index
  }
}
