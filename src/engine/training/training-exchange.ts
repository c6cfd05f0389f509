/**
 * In place of rings: frames that the training has put into the burst come with the next exchange,
 * then none, so that the burst loop meets work and rest in turn. They belong to nobody's pool.
 */
import { PORTS_MAX } from '../../base/limits.js'
import type { Burst } from '../../packet/burst.js'
import { FrameChains } from '../../packet/frame-chains.js'
import { FramePool } from '../../packet/frame-pool.js'
import type { FrameExchange, PortStatistics } from '../../port/port.js'
import { dropUndeliverable } from '../../port/undeliverable.js'

/** Nanoseconds from exchange to exchange: no whole milliseconds, as on a node. */
const STEP = 3_456_789
const SECOND = 1_000_000_000

export class TrainingExchange implements FrameExchange {
  readonly umem: ArrayBufferLike
  readonly stride: number
  readonly pool: FramePool
  readonly chains: FrameChains
  readonly portNames: readonly string[] = []
  readonly framesOnRings = 0
  /** All ports but the last are there. */
  readonly #queueCounts = new Int32Array(PORTS_MAX).fill(1, 0, PORTS_MAX - 1)
  readonly #undelivered = new Float64Array(PORTS_MAX)
  #waiting = 0
  #seconds = 0
  #nanoseconds = 0
  #isWoken = false

  constructor(umem: ArrayBufferLike, stride: number) {
    this.umem = umem
    this.stride = stride
    this.pool = FramePool.filled(0, stride)
    this.chains = FrameChains.empty(0, stride)
  }

  /** @param frames at the beginning of the burst */
  offer(frames: number, nowSeconds: number): void {
    this.#waiting = frames
    const isSameSecond = nowSeconds === this.#seconds
    this.#nanoseconds = isSameSecond ? (this.#nanoseconds + STEP) % SECOND : 0
    this.#seconds = nowSeconds
  }

  exchange(burst: Burst): number {
    dropUndeliverable(burst, this.#queueCounts, this.#undelivered)
    const count = this.#waiting
    this.#waiting = 0
    burst.count = count
    burst.setTime(this.#seconds, this.#nanoseconds)
    return count
  }

  /** By turns woken and not, for either is to be known. */
  wait(): boolean {
    this.#isWoken = !this.#isWoken
    return this.#isWoken
  }

  statistics(): PortStatistics {
    throw new Error('a training keeps no statistics')
  }

  close(): void {}
}
