/**
 * A frame exchange over software ports: the same contract as AF_XDP has, on one UMEM of plain
 * memory, for tests, simulation and replay. It copies each frame in and out; the kernel's place for
 * it is kept: received frames begin `headroomBytes` into their frame, as XDP_PACKET_HEADROOM leaves
 * them.
 *
 * A frame that is longer than a buffer becomes a packet of several, as with the kernel; the ports see
 * it in one piece.
 *
 * Ports may come and go between exchanges; an index is reused only after its port was removed.
 */
import { assert } from '../base/assert.js'
import { type Clock, VirtualClock } from '../base/clock.js'
import { ErrorCode, RingpathError } from '../base/errors.js'
import { type Burst, NO_PORT } from '../packet/burst.js'
import { CHAIN_BUFFERS_MAX, FrameChains } from '../packet/frame-chains.js'
import { FramePool, NO_FRAME } from '../packet/frame-pool.js'
import { OwnedFramePool } from './owned-frame-pool.js'
import { type FrameExchange, NOTHING_COUNTED, type PortStatistics } from './port.js'
import { NOTHING_WAITS, type SoftwarePort } from './software-port.js'

/** XDP_PACKET_HEADROOM of the kernel: what lies free in front of each received frame. */
export const XDP_PACKET_HEADROOM_BYTES = 256
/** 33 cache lines: an odd number of them spreads the frames' first lines over all cache sets. */
export const DEFAULT_STRIDE_BYTES = 2112
const DEFAULT_FRAME_COUNT = 1024
const ETHERNET_HEADER_BYTES = 14
const UMEM_BYTES_MAX = 2 ** 31 - 1

export interface SoftwareExchangeOptions {
  readonly clock: Clock
  readonly frameCount?: number
  readonly stride?: number
  readonly headroomBytes?: number
  /**
   * Owner tags on each frame, which name a frame sent or freed twice. On unless a benchmark turns
   * it off.
   */
  readonly debug?: boolean
  /** Memory of at least frameCount * stride bytes to use, instead of a new SharedArrayBuffer. */
  readonly umem?: ArrayBufferLike
  /**
   * How to pass idle time; the default sleeps until `wake`, or returns at once under a
   * VirtualClock.
   */
  readonly sleep?: (timeoutMilliseconds: number) => void
}

export class SoftwareExchange implements FrameExchange {
  readonly umem: ArrayBufferLike
  readonly stride: number
  readonly headroomBytes: number
  readonly pool: FramePool
  readonly chains: FrameChains
  readonly portNames: string[] = []
  readonly framesOnRings = 0
  /** One word in shared memory: another thread stores 1 and notifies to end a `wait`. */
  readonly wakeWord = new Int32Array(new SharedArrayBuffer(4))
  readonly #ports: (SoftwarePort | null)[] = []
  readonly #statistics: PortStatistics[] = []
  readonly #bytes: Uint8Array
  readonly #clock: Clock
  readonly #owned: OwnedFramePool | null
  readonly #sleep: (timeoutMilliseconds: number) => void
  /** One packet of several buffers in one piece. */
  readonly #large: Uint8Array
  #burst: Burst | null = null
  #nextPort = 0
  #isClosed = false

  constructor(ports: readonly SoftwarePort[], options: SoftwareExchangeOptions) {
    const frameCount = options.frameCount ?? DEFAULT_FRAME_COUNT
    this.stride = options.stride ?? DEFAULT_STRIDE_BYTES
    this.headroomBytes = options.headroomBytes ?? XDP_PACKET_HEADROOM_BYTES
    const umemBytes = frameCount * this.stride
    assert(frameCount > 0 && umemBytes <= UMEM_BYTES_MAX, 'a UMEM holds 1 byte to 2 GiB')
    assert(this.headroomBytes < this.stride, 'the headroom leaves no room for a frame')
    this.umem = options.umem ?? new SharedArrayBuffer(umemBytes)
    assert(this.umem.byteLength >= umemBytes, 'the given UMEM is smaller than its frames')
    this.#bytes = new Uint8Array(this.umem)
    this.#owned = options.debug === false ? null : new OwnedFramePool(frameCount, this.stride)
    this.pool = this.#owned ?? FramePool.filled(frameCount, this.stride)
    this.chains = FrameChains.empty(frameCount, this.stride)
    this.#large = new Uint8Array(CHAIN_BUFFERS_MAX * this.stride)
    this.#clock = options.clock
    const isVirtual = options.clock instanceof VirtualClock
    this.#sleep = options.sleep ?? (isVirtual ? () => {} : (ms) => this.#sleepUntilWoken(ms))
    for (const port of ports) this.addPort(port)
  }

  /**
   * Takes the port into the next exchange. Returns its index; throws EPORT_ATTACH when the name is
   * taken.
   */
  addPort(port: SoftwarePort): number {
    if (port.name === '' || this.portNames.includes(port.name)) {
      throw new RingpathError(
        ErrorCode.PORT_ATTACH,
        `port name '${port.name}' is empty or in use; each port of an exchange needs its own name`,
      )
    }
    const hole = this.#ports.indexOf(null)
    const index = hole < 0 ? this.#ports.length : hole
    this.#ports[index] = port
    this.#statistics[index] = { ...NOTHING_COUNTED }
    this.portNames[index] = port.name
    return index
  }

  /**
   * Closes the port. Frames still sent to its index are counted drops, until another port takes it.
   */
  removePort(index: number): void {
    const port = this.#ports[index] ?? null
    assert(port !== null, `there is no port ${index} to remove`)
    this.#statistics[index].receiveDropped += port.receiveDropped
    this.#ports[index] = null
    this.portNames[index] = ''
    port.close()
  }

  exchange(burst: Burst, maxReceive = burst.capacity): number {
    assert(!this.#isClosed, 'exchange after close')
    this.#burst = burst
    this.#giveOut(burst)
    burst.count = 0
    burst.count = this.#takeIn(burst, Math.min(maxReceive, burst.capacity))
    this.#stamp(burst)
    return burst.count
  }

  /** A wire's other end wakes it as another thread does. */
  wait(timeoutMilliseconds: number): boolean {
    for (let i = 0; i < this.#ports.length; i++) {
      if (this.#ports[i]?.isWaiting === true) return false
    }
    this.#sleep(timeoutMilliseconds)
    return true
  }

  /**
   * Ends a `wait` that goes on, or the next one at once. Any thread that has `wakeWord` can do the
   * same.
   */
  wake(): void {
    Atomics.store(this.wakeWord, 0, 1)
    Atomics.notify(this.wakeWord, 0)
  }

  statistics(portIndex: number): PortStatistics {
    const counted = this.#statistics[portIndex]
    assert(counted !== undefined, `there is no port ${portIndex}`)
    const refused = this.#ports[portIndex]?.receiveDropped ?? 0
    return { ...counted, receiveDropped: counted.receiveDropped + refused }
  }

  hasCounted(portIndex: number): boolean {
    return this.#statistics[portIndex] !== undefined
  }

  /**
   * Takes back the frames of the last burst, unsent, closes the ports and asserts that every frame
   * is free again.
   */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    for (const port of this.#ports) port?.close()
    const burst = this.#burst
    if (burst !== null) {
      for (let i = 0; i < burst.count; i++) this.#giveBack(burst.starts[i])
      burst.count = 0
    }
    const free = this.pool.freeCount
    const missing = this.#owned === null ? '' : `; missing are ${this.#owned.missing().join(', ')}`
    assert(
      free === this.pool.frameCount,
      `frames were lost: ${free} of ${this.pool.frameCount} are free at close${missing}`,
    )
  }

  #giveOut(burst: Burst): void {
    const count = burst.count
    assert(count >= 0 && count <= burst.capacity, `a burst cannot hold ${count} frames`)
    for (let i = 0; i < count; i++) {
      const start = burst.starts[i]
      const frame = this.#frameOf(start)
      const port = burst.ports[i]
      if (port !== NO_PORT) {
        this.#owned?.assertOwned(frame)
        this.#send(port, start, burst.lengths[i], frame)
      }
      this.#giveBack(start)
    }
  }

  #giveBack(start: number): void {
    if (this.chains.hasAny) this.chains.release(start, this.pool)
    this.pool.give(this.#frameOf(start))
  }

  #send(portIndex: number, start: number, length: number, frame: number): void {
    const statistics = this.#statistics[portIndex]
    assert(statistics !== undefined, `a stage sent a frame to port ${portIndex}: never was one`)
    const port = this.#ports[portIndex]
    const isBig = this.chains.hasAny && this.chains.hasNext(start)
    assert(
      length >= 0 && (isBig || start + length <= frame + this.stride),
      `a packet of ${length} bytes at ${start} reaches over the end of its frame`,
    )
    // The kernel refuses what is shorter than a link-layer header, too (net/xdp/xsk.c,
    // dev_validate_header).
    const isSent =
      port !== null &&
      length >= ETHERNET_HEADER_BYTES &&
      (isBig ? this.#sendBig(port, start, length) : port.send(this.#bytes, start, length))
    if (isSent) {
      statistics.sentFrames++
      statistics.sentBytes += length
    } else {
      statistics.sendDropped++
    }
  }

  #sendBig(port: SoftwarePort, start: number, length: number): boolean {
    this.chains.copyTo(this.#bytes, start, length, this.#large, 0)
    return port.send(this.#large, 0, length)
  }

  /** Spreads the port's next frame over its first frame and more; false, and it is gone, without. */
  #receiveBig(port: SoftwarePort, first: number, length: number, capacity: number): boolean {
    const more = Math.ceil(length / capacity) - 1
    if (more >= CHAIN_BUFFERS_MAX || this.pool.freeCount < more) {
      port.skip()
      return false
    }
    port.receive(this.#large, 0, length)
    this.#bytes.set(this.#large.subarray(0, capacity), first)
    let before = first
    for (let done = capacity; done < length; done += capacity) {
      const start = this.pool.take() + this.headroomBytes
      const bytes = Math.min(capacity, length - done)
      this.#bytes.set(this.#large.subarray(done, done + bytes), start)
      this.chains.append(before, before + capacity, start, start + bytes, before === first)
      before = start
    }
    return true
  }

  /**
   * One frame of each port in turn, from the port after the last served, so that a busy one starves
   * no other.
   */
  #takeIn(burst: Burst, max: number): number {
    const ports = this.#ports
    const capacity = this.stride - this.headroomBytes
    // Frames too long are consumed without filling the burst: they count against this bound
    // instead.
    let triesLeft = 2 * max
    let count = 0
    let idle = 0
    let frame = NO_FRAME
    while (count < max && triesLeft > 0 && idle < ports.length) {
      if (frame === NO_FRAME) frame = this.pool.take()
      if (frame === NO_FRAME) break
      const index = this.#nextPort < ports.length ? this.#nextPort : 0
      this.#nextPort = index + 1
      const start = frame + this.headroomBytes
      const port = ports[index]
      const length = port?.receive(this.#bytes, start, capacity) ?? NOTHING_WAITS
      if (length === NOTHING_WAITS) {
        idle++
        continue
      }
      idle = 0
      triesLeft--
      const statistics = this.#statistics[index]
      if (length > capacity && port && !this.#receiveBig(port, start, length, capacity)) {
        statistics.receiveDropped++
        continue
      }
      statistics.receivedFrames++
      statistics.receivedBytes += length
      burst.starts[count] = start
      burst.lengths[count] = length
      burst.ports[count] = index
      count++
      frame = NO_FRAME
    }
    if (frame !== NO_FRAME) this.pool.give(frame)
    return count
  }

  /**
   * A packet may begin anywhere in its frame; the frame begins at the multiple of the stride below.
   */
  #frameOf(start: number): number {
    assert(start >= 0 && start < this.#bytes.length, `start ${start} lies outside the UMEM`)
    return start - (start % this.stride)
  }

  /** Reads the second twice, because it may turn between it and its fraction. */
  #stamp(burst: Burst): void {
    let seconds = this.#clock.seconds()
    let nanoseconds = this.#clock.nanosecondsOfSecond()
    const again = this.#clock.seconds()
    if (again !== seconds) {
      seconds = again
      nanoseconds = 0
    }
    burst.setTime(seconds | 0, nanoseconds)
  }

  #sleepUntilWoken(timeoutMilliseconds: number): void {
    Atomics.wait(this.wakeWord, 0, 0, timeoutMilliseconds)
    Atomics.store(this.wakeWord, 0, 0)
  }
}
