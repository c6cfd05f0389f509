/**
 * Wraps any frame exchange and records what crosses chosen ports, an interface per port, with its
 * direction. Received frames stand in the capture as they came, sent ones as they were handed to
 * the port: a full transmit ring may still drop them.
 *
 * A capture that cannot be written (a full disk) ends; it never stops the frames.
 */
import { type Burst, NO_PORT } from '../packet/burst.js'
import type { FrameChains } from '../packet/frame-chains.js'
import type { FramePool } from '../packet/frame-pool.js'
import { type CaptureWriter, Direction, LINK_TYPE_ETHERNET } from './pcap/capture.js'
import type { FrameExchange, PortStatistics } from './port.js'

export interface CaptureOptions {
  /** Names of the ports to record; by default all, also those added later. */
  readonly ports?: ReadonlySet<string>
  /** Longest part of a frame that is kept, in bytes; 0, the default, for all of it. */
  readonly snapLength?: number
  /**
   * Nanoseconds since 1970 at the zero of the burst's clock; by default 0, as under a virtual
   * clock.
   */
  readonly epochNanoseconds?: bigint
  /** Comments for the frame at `index` of the burst, as `ringpath trace` adds verdict and stage. */
  readonly describe?: (burst: Burst, index: number, direction: Direction) => readonly string[]
}

export class CaptureExchange implements FrameExchange {
  readonly #inner: FrameExchange
  readonly #writer: CaptureWriter
  readonly #options: CaptureOptions
  readonly #bytes: Uint8Array
  /**
   * By port index: the name the port had when it was added to the capture, and its interface there.
   */
  readonly #names: string[] = []
  readonly #interfaces: number[] = []
  #failure: Error | null = null
  #frameCount = 0

  /** @param writer one that takes several interfaces (pcapng); closed with the exchange */
  constructor(inner: FrameExchange, writer: CaptureWriter, options: CaptureOptions = {}) {
    this.#inner = inner
    this.#writer = writer
    this.#options = options
    this.#bytes = new Uint8Array(inner.umem)
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
    return this.#inner.framesOnRings
  }

  /** Frames recorded so far. */
  get frameCount(): number {
    return this.#frameCount
  }

  /** What the file system said when the capture ended early, or null. */
  get failure(): Error | null {
    return this.#failure
  }

  exchange(burst: Burst, maxReceive?: number): number {
    this.#record(burst, Direction.OUTBOUND)
    const count = this.#inner.exchange(burst, maxReceive)
    this.#record(burst, Direction.INBOUND)
    return count
  }

  /**
   * Hands what was recorded to the operating system before it sleeps, so that a reader can follow
   * the file.
   */
  wait(timeoutMilliseconds: number): boolean {
    this.#attempt(() => this.#writer.flush())
    return this.#inner.wait(timeoutMilliseconds)
  }

  statistics(portIndex: number): PortStatistics {
    return this.#inner.statistics(portIndex)
  }

  close(): void {
    this.#inner.close()
    this.#attempt(() => this.#writer.close())
  }

  #record(burst: Burst, direction: Direction): void {
    if (this.#failure !== null || burst.count === 0) return
    this.#attempt(() => {
      const epoch = this.#options.epochNanoseconds ?? 0n
      const time = epoch + BigInt(burst.nowSeconds) * 1_000_000_000n + BigInt(burst.nowNanoseconds)
      for (let i = 0; i < burst.count; i++) this.#recordFrame(burst, i, direction, time)
    })
  }

  #recordFrame(burst: Burst, index: number, direction: Direction, time: bigint): void {
    const port = burst.ports[index]
    if (port === NO_PORT) return
    const name = this.#inner.portNames[port] ?? ''
    if (this.#options.ports !== undefined && !this.#options.ports.has(name)) return
    const start = burst.starts[index]
    const frame = this.#frame(start, burst.lengths[index])
    const comments = this.#options.describe?.(burst, index, direction) ?? []
    this.#writer.write(this.#interfaceOf(port, name), time, frame, { direction, comments })
    this.#frameCount++
  }

  #frame(start: number, length: number): Uint8Array {
    const { chains } = this.#inner
    if (!chains.hasAny || !chains.hasNext(start)) return this.#bytes.subarray(start, start + length)
    const frame = new Uint8Array(length)
    chains.copyTo(this.#bytes, start, length, frame, 0)
    return frame
  }

  /** A port index that was given to another port gets another interface. */
  #interfaceOf(port: number, name: string): number {
    if (this.#names[port] === name) return this.#interfaces[port]
    const snapLength = this.#options.snapLength ?? 0
    const index = this.#writer.addInterface({ name, linkType: LINK_TYPE_ETHERNET, snapLength })
    this.#names[port] = name
    this.#interfaces[port] = index
    return index
  }

  #attempt(write: () => void): void {
    try {
      write()
    } catch (error) {
      this.#failure ??= error instanceof Error ? error : new Error(String(error))
    }
  }
}
