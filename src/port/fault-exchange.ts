/**
 * Wraps any frame exchange and makes its ports as bad as real networks are: drops, duplicates,
 * delays and thereby reorders, flips bits, truncates; separately on receive and on send, each with
 * its probability. The same seed and the same traffic give the same faults. Frames stay conserved:
 * what it holds back counts as `framesOnRings`.
 *
 * Of a packet of several buffers bits flip in the first one, and it is not duplicated.
 *
 * Delay is counted in exchanges, not in time, so that a replay does not depend on how fast it runs.
 */
import { assert } from '../base/assert.js'
import { Prng } from '../base/prng.js'
import { type Burst, NO_PORT } from '../packet/burst.js'
import type { FrameChains } from '../packet/frame-chains.js'
import { type FramePool, NO_FRAME } from '../packet/frame-pool.js'
import { copyBytes } from './frame-queue.js'
import type { FrameExchange, PortStatistics } from './port.js'

/** Probabilities from 0 to 1, of each frame by itself; what is left out never happens. */
export interface FaultRates {
  readonly drop?: number
  readonly duplicate?: number
  /** Holds the frame back for 1 to `delayExchangesMax` exchanges, while others overtake it. */
  readonly delay?: number
  /** Flips one to eight random bits. */
  readonly corrupt?: number
  /** Cuts the frame to a random shorter length, at least one byte. */
  readonly truncate?: number
}

export interface FaultOptions {
  /** An int32; print it, so that a failure can be repeated. */
  readonly seed: number
  readonly receive?: FaultRates
  readonly send?: FaultRates
  /** The longest delay, in exchanges; 8 unless given. */
  readonly delayExchangesMax?: number
  /** Frames held back at most in each direction, after which none is delayed; 64 unless given. */
  readonly heldFramesMax?: number
}

/** What was done to the frames of one direction. */
export interface FaultStatistics {
  /** Frames that came by, faulty or not. */
  frames: number
  dropped: number
  duplicated: number
  delayed: number
  corrupted: number
  truncated: number
}

const DEFAULT_DELAY_EXCHANGES_MAX = 8
const DEFAULT_HELD_FRAMES_MAX = 64
/** While frames are held back, a wait is cut to this, for they come due by exchanges. */
const HELD_WAIT_MILLISECONDS = 1
const FLIPPED_BITS_MAX = 8

export class FaultExchange implements FrameExchange {
  readonly #inner: FrameExchange
  readonly #receive: FaultLine
  readonly #send: FaultLine
  #round = 0
  #isClosed = false

  constructor(inner: FrameExchange, options: FaultOptions) {
    this.#inner = inner
    // A generator for each direction: what is sent does not change what happens to what is
    // received.
    this.#receive = new FaultLine(inner, options.seed, options.receive ?? {}, options)
    this.#send = new FaultLine(inner, ~options.seed, options.send ?? {}, options)
  }

  get umem(): ArrayBufferLike {
    return this.#inner.umem
  }

  get stride(): number {
    return this.#inner.stride
  }

  get pool(): FramePool {
    return this.#inner.pool
  }

  get chains(): FrameChains {
    return this.#inner.chains
  }

  get portNames(): readonly string[] {
    return this.#inner.portNames
  }

  get framesOnRings(): number {
    return this.#inner.framesOnRings + this.#receive.heldCount + this.#send.heldCount
  }

  exchange(burst: Burst, maxReceive = burst.capacity): number {
    assert(!this.#isClosed, 'exchange after close')
    this.#round++
    this.#send.apply(burst, this.#round, burst.capacity)
    this.#send.release(burst, this.#round, burst.capacity)
    const room = Math.min(maxReceive, burst.capacity)
    this.#inner.exchange(burst, Math.max(0, room - this.#receive.dueCount(this.#round)))
    this.#receive.apply(burst, this.#round, room)
    this.#receive.release(burst, this.#round, room)
    return burst.count
  }

  wait(timeoutMilliseconds: number): boolean {
    const isHolding = this.#receive.heldCount + this.#send.heldCount > 0
    const limit = isHolding ? HELD_WAIT_MILLISECONDS : timeoutMilliseconds
    return this.#inner.wait(Math.min(limit, timeoutMilliseconds))
  }

  statistics(portIndex: number): PortStatistics {
    return this.#inner.statistics(portIndex)
  }

  /** What was done so far to the frames of each direction. */
  faults(): { readonly receive: FaultStatistics; readonly send: FaultStatistics } {
    return { receive: { ...this.#receive.statistics }, send: { ...this.#send.statistics } }
  }

  /** Frames held back are freed, not delivered. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#receive.free()
    this.#send.free()
    this.#inner.close()
  }
}

/** The faults of one direction, and the frames it holds back. */
class FaultLine {
  readonly statistics: FaultStatistics = {
    frames: 0,
    dropped: 0,
    duplicated: 0,
    delayed: 0,
    corrupted: 0,
    truncated: 0,
  }
  readonly #exchange: FrameExchange
  readonly #prng: Prng
  readonly #bytes: Uint8Array
  readonly #rates: Required<FaultRates>
  readonly #delayMax: number
  /** Held frames in the order in which they came: columns of the same index belong together. */
  readonly #starts: Int32Array
  readonly #lengths: Int32Array
  readonly #ports: Int32Array
  readonly #dueRounds: Int32Array
  #held = 0

  constructor(exchange: FrameExchange, seed: number, rates: FaultRates, options: FaultOptions) {
    const heldMax = options.heldFramesMax ?? DEFAULT_HELD_FRAMES_MAX
    this.#exchange = exchange
    this.#prng = new Prng(seed)
    this.#bytes = new Uint8Array(exchange.umem)
    this.#rates = { drop: 0, duplicate: 0, delay: 0, corrupt: 0, truncate: 0, ...rates }
    this.#delayMax = options.delayExchangesMax ?? DEFAULT_DELAY_EXCHANGES_MAX
    assert(this.#delayMax >= 1, 'a delay lasts at least one exchange')
    this.#starts = new Int32Array(heldMax)
    this.#lengths = new Int32Array(heldMax)
    this.#ports = new Int32Array(heldMax)
    this.#dueRounds = new Int32Array(heldMax)
  }

  get heldCount(): number {
    return this.#held
  }

  dueCount(round: number): number {
    let due = 0
    for (let i = 0; i < this.#held; i++) if (this.#dueRounds[i] - round <= 0) due++
    return due
  }

  /**
   * Treats each frame of the burst that has a port. Dropped and held ones leave the burst; copies
   * come in while it has less than `capacity`.
   */
  apply(burst: Burst, round: number, capacity: number): void {
    const count = burst.count
    let kept = 0
    // Copies go behind the frames that were there, and are not treated again.
    for (let i = 0; i < count; i++) {
      const start = burst.starts[i]
      const port = burst.ports[i]
      let length = burst.lengths[i]
      if (port !== NO_PORT) {
        this.statistics.frames++
        if (this.#prng.chance(this.#rates.drop)) {
          this.statistics.dropped++
          this.#free(start)
          continue
        }
        length = this.#damage(start, length)
        if (this.#prng.chance(this.#rates.duplicate) && burst.count < capacity) {
          this.#duplicate(burst, start, length, port)
        }
        if (this.#prng.chance(this.#rates.delay) && this.#hold(start, length, port, round)) continue
      }
      burst.starts[kept] = start
      burst.lengths[kept] = length
      burst.ports[kept] = port
      kept++
    }
    // The copies that #duplicate appended close the gap that dropped and held frames left.
    for (let i = count; i < burst.count; i++) {
      burst.starts[kept] = burst.starts[i]
      burst.lengths[kept] = burst.lengths[i]
      burst.ports[kept] = burst.ports[i]
      kept++
    }
    burst.count = kept
  }

  /**
   * Appends the held frames that are due, as far as the burst has room; the others wait another
   * round.
   */
  release(burst: Burst, round: number, capacity: number): void {
    let left = 0
    for (let i = 0; i < this.#held; i++) {
      if (this.#dueRounds[i] - round <= 0 && burst.count < capacity) {
        append(burst, this.#starts[i], this.#lengths[i], this.#ports[i])
        continue
      }
      this.#starts[left] = this.#starts[i]
      this.#lengths[left] = this.#lengths[i]
      this.#ports[left] = this.#ports[i]
      this.#dueRounds[left] = this.#dueRounds[i]
      left++
    }
    this.#held = left
  }

  free(): void {
    for (let i = 0; i < this.#held; i++) this.#free(this.#starts[i])
    this.#held = 0
  }

  #damage(start: number, length: number): number {
    const firstBytes = this.#isChained(start) ? this.#exchange.chains.end(start) - start : length
    if (this.#prng.chance(this.#rates.corrupt) && length > 0) {
      this.statistics.corrupted++
      for (let bits = 1 + this.#prng.below(FLIPPED_BITS_MAX); bits > 0; bits--) {
        const at = start + this.#prng.below(firstBytes)
        this.#bytes[at] ^= 1 << this.#prng.below(8)
      }
    }
    if (this.#prng.chance(this.#rates.truncate) && length > 1) {
      this.statistics.truncated++
      return 1 + this.#prng.below(length - 1)
    }
    return length
  }

  /** Without a free frame there is no duplicate. */
  #duplicate(burst: Burst, start: number, length: number, port: number): void {
    if (this.#isChained(start)) return
    const frame = this.#exchange.pool.take()
    if (frame === NO_FRAME) return
    this.statistics.duplicated++
    const copy = frame + (start % this.#exchange.stride)
    copyBytes(this.#bytes, start, this.#bytes, copy, length)
    append(burst, copy, length, port)
  }

  #hold(start: number, length: number, port: number, round: number): boolean {
    if (this.#held === this.#starts.length) return false
    this.statistics.delayed++
    this.#starts[this.#held] = start
    this.#lengths[this.#held] = length
    this.#ports[this.#held] = port
    this.#dueRounds[this.#held] = (round + 1 + this.#prng.below(this.#delayMax)) | 0
    this.#held++
    return true
  }

  #free(start: number): void {
    const { chains, pool, stride } = this.#exchange
    chains.release(start, pool)
    pool.give(start - (start % stride))
  }

  #isChained(start: number): boolean {
    const { chains } = this.#exchange
    return chains.hasAny && chains.hasNext(start)
  }
}

function append(burst: Burst, start: number, length: number, port: number): void {
  const index = burst.count
  burst.starts[index] = start
  burst.lengths[index] = length
  burst.ports[index] = port
  burst.count = index + 1
}
