/**
 * A port whose other side is in the same process: a test that injects frames and looks at what was
 * sent, or, as a pair, the port of another exchange (a simulated wire between two engines).
 *
 * A wire with a clock delivers after its delay, by that clock: under a VirtualClock nothing moves
 * until time does.
 */
import type { Clock } from '../base/clock.js'
import { FrameQueue } from './frame-queue.js'
import { NOTHING_WAITS, type SoftwarePort } from './software-port.js'

const DEFAULT_QUEUE_FRAMES = 4096
const DEFAULT_FRAME_BYTES_MAX = 2048

export interface MemoryPortOptions {
  /** Frames that may wait in each direction; more are refused and counted. */
  readonly queueFramesMax?: number
  /** The longest frame the port carries. */
  readonly frameBytesMax?: number
  /** Counts sent frames without keeping them: a sink for benchmarks. */
  readonly discardSent?: boolean
}

export interface WireOptions extends MemoryPortOptions {
  /** With `delayNanoseconds`, when a frame sent on one side may be received on the other. */
  readonly clock?: Clock
  readonly delayNanoseconds?: number
}

export class MemoryPort implements SoftwarePort {
  readonly name: string
  readonly #inbound: FrameQueue
  readonly #clock: Clock | null
  readonly #delayNanoseconds: number
  readonly #discardSent: boolean
  #outbound: FrameQueue
  #peer: MemoryPort | null = null
  #receiveDropped = 0
  #isClosed = false

  constructor(name: string, options: WireOptions = {}) {
    const framesMax = options.queueFramesMax ?? DEFAULT_QUEUE_FRAMES
    const slotBytes = options.frameBytesMax ?? DEFAULT_FRAME_BYTES_MAX
    this.name = name
    this.#inbound = new FrameQueue(framesMax, slotBytes)
    this.#outbound = new FrameQueue(framesMax, slotBytes)
    this.#clock = options.clock ?? null
    this.#delayNanoseconds = options.delayNanoseconds ?? 0
    this.#discardSent = options.discardSent === true
  }

  /**
   * Two ports joined by a wire: what one sends, the other receives. Each belongs into an exchange
   * of its own, or one.
   */
  static pair(
    firstName: string,
    secondName: string,
    options: WireOptions = {},
  ): [MemoryPort, MemoryPort] {
    const first = new MemoryPort(firstName, options)
    const second = new MemoryPort(secondName, options)
    first.#outbound = second.#inbound
    second.#outbound = first.#inbound
    first.#peer = second
    second.#peer = first
    return [first, second]
  }

  get isWaiting(): boolean {
    return this.#inbound.isDue(this.#now())
  }

  get receiveDropped(): number {
    return this.#receiveDropped
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Sent frames that nobody took yet. */
  get sentCount(): number {
    return this.#outbound.count
  }

  /**
   * The test's side: a frame arrives (its bytes are copied). False, and counted, when queue or
   * frame are too large.
   */
  inject(frame: Uint8Array): boolean {
    if (!this.#isClosed && this.#inbound.push(frame, 0, frame.length, this.#now())) return true
    this.#receiveDropped++
    return false
  }

  /** The test's side: all frames sent since the last `take`, in order. */
  take(): Uint8Array[] {
    const frames: Uint8Array[] = []
    while (this.#outbound.count > 0) {
      const frame = new Uint8Array(this.#outbound.firstLength)
      this.#outbound.copyFirst(frame, 0)
      this.#outbound.drop()
      frames.push(frame)
    }
    return frames
  }

  receive(umem: Uint8Array, start: number, capacity: number): number {
    if (!this.#inbound.isDue(this.#now())) return NOTHING_WAITS
    const length = this.#inbound.firstLength
    if (length > capacity) return length
    this.#inbound.copyFirst(umem, start)
    this.#inbound.drop()
    return length
  }

  skip(): void {
    this.#inbound.drop()
  }

  send(umem: Uint8Array, start: number, length: number): boolean {
    if (this.#isClosed || this.#peer?.isClosed === true) return false
    if (this.#discardSent) return true
    return this.#outbound.push(umem, start, length, this.#now() + this.#delayNanoseconds)
  }

  /** Sent frames stay for `take`; frames that waited to be received are gone. */
  close(): void {
    this.#isClosed = true
    this.#inbound.clear()
  }

  #now(): number {
    const clock = this.#clock
    return clock === null ? 0 : clock.seconds() * 1e9 + clock.nanosecondsOfSecond()
  }
}
