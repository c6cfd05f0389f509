/**
 * Software ports whose other side is a capture file: one replays frames into an exchange, one
 * records what is sent to it.
 *
 * Only Ethernet captures can be replayed. A frame that the capture cut short arrives cut short, as
 * it stands in the file.
 */
import { closeSync, openSync } from 'node:fs'
import type { Clock } from '../../base/clock.js'
import { ErrorCode, RingpathError } from '../../base/errors.js'
import { NOTHING_WAITS, type SoftwarePort } from '../software-port.js'
import {
  type CapturedFrame,
  type CaptureReader,
  type CaptureWriter,
  formatError,
  LINK_TYPE_ETHERNET,
} from './capture.js'
import { readCapture } from './open-capture.js'

export interface PcapReadOptions {
  /**
   * With a clock, a frame arrives as long after the first as the capture says; without, as fast as
   * it is taken. A frame whose time lies before its predecessor's, or is not known, comes at once.
   */
  readonly clock?: Clock
  /** Only frames of the interface of this name (pcapng); by default all. */
  readonly interfaceName?: string
}

export class PcapReadPort implements SoftwarePort {
  readonly name: string
  readonly receiveDropped = 0
  readonly #descriptor: number | null
  readonly #reader: CaptureReader
  readonly #clock: Clock | null
  readonly #interfaceName: string | null
  #next: CapturedFrame | null = null
  #failure: RingpathError | null = null
  #firstFrameTime: bigint | null = null
  #startTime = 0n
  #isOpen = true

  /**
   * @param input the path of a capture file, or a whole capture
   * @throws EPCAP_FORMAT when it is none; what open(2) says when there is no such file
   */
  constructor(name: string, input: string | Uint8Array, options: PcapReadOptions = {}) {
    this.name = name
    this.#clock = options.clock ?? null
    this.#interfaceName = options.interfaceName ?? null
    this.#descriptor = typeof input === 'string' ? openSync(input, 'r') : null
    try {
      this.#reader = readCapture(this.#descriptor ?? (input as Uint8Array))
    } catch (error) {
      if (this.#descriptor !== null) closeSync(this.#descriptor)
      throw error
    }
    this.#advance()
  }

  /** Every frame was handed over, or the rest is unreadable. */
  get isFinished(): boolean {
    return this.#next === null
  }

  /** Why the replay ended before the file did; a port must not throw into an exchange. */
  get failure(): RingpathError | null {
    return this.#failure
  }

  get isWaiting(): boolean {
    return this.#next !== null && this.#isDue(this.#next)
  }

  /**
   * Nanoseconds by the clock at which the next frame arrives, for a simulation that jumps there;
   * null when finished.
   */
  get nextDueNanoseconds(): bigint | null {
    return this.#next === null ? null : this.#dueTime(this.#next)
  }

  receive(umem: Uint8Array, start: number, capacity: number): number {
    const frame = this.#next
    if (frame === null || !this.#isDue(frame)) return NOTHING_WAITS
    // The check sequence ends the frame, so a capture that was cut short has less of it, or none.
    const cutOff = frame.originalLength - frame.bytes.length
    const checkSequence = Math.max(0, frame.checkSequenceBytes - cutOff)
    const length = Math.max(0, frame.bytes.length - checkSequence)
    if (length > capacity) return length
    umem.set(frame.bytes.subarray(0, length), start)
    this.#advance()
    return length
  }

  skip(): void {
    this.#advance()
  }

  /** What is sent to a replay goes nowhere, and the exchange counts it as dropped. */
  send(): boolean {
    return false
  }

  close(): void {
    this.#next = null
    if (this.#isOpen && this.#descriptor !== null) closeSync(this.#descriptor)
    this.#isOpen = false
  }

  #advance(): void {
    try {
      do {
        this.#next = this.#reader.next()
      } while (this.#next !== null && !this.#isChosen(this.#next))
    } catch (error) {
      this.#next = null
      this.#failure =
        error instanceof RingpathError
          ? error
          : new RingpathError(ErrorCode.PCAP_FORMAT, 'cannot read on in the capture file', error)
    }
  }

  #isChosen(frame: CapturedFrame): boolean {
    const source = this.#reader.interfaces[frame.interfaceIndex]
    if (this.#interfaceName !== null && source.name !== this.#interfaceName) return false
    if (source.linkType === LINK_TYPE_ETHERNET) return true
    const expected = `${LINK_TYPE_ETHERNET}, Ethernet, for a replay`
    throw formatError(source.linkTypeOffset, 'the link type', source.linkType, expected)
  }

  #isDue(frame: CapturedFrame): boolean {
    return this.#clock === null || this.#dueTime(frame) <= nanosecondsOf(this.#clock)
  }

  #dueTime(frame: CapturedFrame): bigint {
    if (this.#clock === null || frame.timeNanoseconds === null) return 0n
    if (this.#firstFrameTime === null) {
      this.#firstFrameTime = frame.timeNanoseconds
      this.#startTime = nanosecondsOf(this.#clock)
    }
    return this.#startTime + frame.timeNanoseconds - this.#firstFrameTime
  }
}

export class PcapWritePort implements SoftwarePort {
  readonly name: string
  readonly isWaiting = false
  readonly receiveDropped = 0
  readonly #writer: CaptureWriter
  readonly #clock: Clock
  readonly #interfaceIndex: number
  #failure: Error | null = null

  /** @param writer is closed with the port */
  constructor(name: string, writer: CaptureWriter, clock: Clock) {
    this.name = name
    this.#writer = writer
    this.#clock = clock
    this.#interfaceIndex = writer.addInterface({
      name,
      linkType: LINK_TYPE_ETHERNET,
      snapLength: 0,
    })
  }

  /** What the file system said (a full disk); from then on all frames are counted as dropped. */
  get failure(): Error | null {
    return this.#failure
  }

  receive(): number {
    return NOTHING_WAITS
  }

  skip(): void {}

  send(umem: Uint8Array, start: number, length: number): boolean {
    if (this.#failure !== null) return false
    const frame = umem.subarray(start, start + length)
    return this.#attempt(() =>
      this.#writer.write(this.#interfaceIndex, nanosecondsOf(this.#clock), frame),
    )
  }

  close(): void {
    this.#attempt(() => this.#writer.close())
  }

  #attempt(write: () => void): boolean {
    try {
      write()
      return true
    } catch (error) {
      this.#failure ??= error instanceof Error ? error : new Error(String(error))
      return false
    }
  }
}

function nanosecondsOf(clock: Clock): bigint {
  return BigInt(clock.seconds()) * 1_000_000_000n + BigInt(clock.nanosecondsOfSecond())
}
