/**
 * The frame exchange over AF_XDP sockets: one native call per burst for all ports (package xdp-socket-napi).
 *
 * A port is one device with all of its receive queues. Devices come and go while the exchange runs; every frame is on one
 * UMEM, so that what one device received another one sends without a copy.
 */
import { deviceInfo, Poller, Umem, XdpProgram, XdpSocket } from 'xdp-socket-napi'
import { assert } from '../base/assert.js'
import { ErrorCode, RingpathError } from '../base/errors.js'
import { BURST_RECEIVE_MAX } from '../base/limits.js'
import type { Burst } from '../packet/burst.js'
import { FramePool } from '../packet/frame-pool.js'
import type { FrameExchange, PortStatistics } from './port.js'

export interface XskExchangeOptions {
  /** 1 to 1,048,576. */
  readonly frameCount: number
  /** The one burst that will be exchanged: its words are registered with the native poller. */
  readonly burst: Burst
  readonly busyPollMicroseconds?: number
}

/** What became of an attachment. */
export interface AttachedDevice {
  readonly isNative: boolean
  readonly isZeroCopy: boolean
}

interface DevicePort {
  readonly program: XdpProgram
  readonly sockets: readonly XdpSocket[]
}

export class XskExchange implements FrameExchange {
  readonly pool: FramePool
  readonly stride: number
  readonly portNames: string[] = []
  readonly #umem: Umem
  readonly #poller: Poller
  readonly #burst: Burst
  readonly #ports = new Map<number, DevicePort>()
  readonly #busyPollMicroseconds: number
  #isClosed = false

  /** Throws XdpError: EXDP_PERMISSION, EXDP_MEMLOCK, EXDP_UNSUPPORTED. */
  constructor(options: XskExchangeOptions) {
    this.#umem = new Umem({ frameCount: options.frameCount })
    this.#burst = options.burst
    this.#poller = new Poller({ umem: this.#umem, burstWords: options.burst.words })
    this.pool = new FramePool(this.#umem.poolWords)
    this.stride = this.#umem.strideBytes
    this.#busyPollMicroseconds = options.busyPollMicroseconds ?? 0
  }

  get umem(): ArrayBufferLike {
    return this.#umem.buffer
  }

  /** Written to by any thread to end a `wait`; see `wakePoller`. */
  get wakeFd(): number {
    return this.#poller.wakeFd
  }

  get framesOnRings(): number {
    return this.#isClosed ? 0 : this.#poller.framesOnRings
  }

  /** Takes a device as port `index`; EPORT_ATTACH with the cause, and nothing left attached, when it cannot. */
  attach(index: number, device: string, mode: 'pod' | 'uplink'): AttachedDevice {
    assert(!this.#ports.has(index), `port ${index} is attached already`)
    const sockets: XdpSocket[] = []
    let program: XdpProgram | undefined
    try {
      program = XdpProgram.attach({ device, mode })
      const queues = deviceInfo(device).receiveQueues || 1
      for (let queue = 0; queue < queues; queue++) {
        const socket = this.#open(device, queue)
        sockets.push(socket)
        this.#poller.addSocket(socket, index)
        program.setSocket(queue, socket)
      }
    } catch (cause) {
      program?.detach()
      for (const socket of sockets) socket.close()
      const why = cause instanceof Error ? cause.message : String(cause)
      throw new RingpathError(ErrorCode.PORT_ATTACH, `device ${device}: ${why}`, cause)
    }
    this.#ports.set(index, { program, sockets })
    this.portNames[index] = device
    const isZeroCopy = sockets.every((socket) => socket.mode === 'zero-copy')
    return { isNative: program.attachMode === 'native', isZeroCopy }
  }

  /** Gives the device back to the kernel, with every frame returned to the pool. */
  detach(index: number): void {
    const port = this.#ports.get(index)
    assert(port !== undefined, `port ${index} is not attached`)
    port.program.detach()
    for (const socket of port.sockets) socket.close()
    this.#ports.delete(index)
    this.portNames[index] = ''
  }

  exchange(burst: Burst, maxReceive = BURST_RECEIVE_MAX): number {
    assert(burst === this.#burst, 'another burst than the registered one')
    return this.#poller.exchange(maxReceive)
  }

  wait(timeoutMilliseconds: number): void {
    this.#poller.wait(timeoutMilliseconds)
  }

  statistics(portIndex: number): PortStatistics {
    const sum = {
      receivedFrames: 0,
      receivedBytes: 0,
      sentFrames: 0,
      sentBytes: 0,
      sendDropped: 0,
      receiveDropped: 0,
    }
    for (const socket of this.#ports.get(portIndex)?.sockets ?? []) {
      const counted = socket.statistics()
      sum.receivedFrames += counted.receivedFrames
      sum.receivedBytes += counted.receivedBytes
      sum.sentFrames += counted.sentFrames
      sum.sentBytes += counted.sentBytes
      sum.sendDropped += counted.sendDropped
      sum.receiveDropped += counted.receiveDropped
    }
    return sum
  }

  /** Asserts, through the poller, that every frame is back in the pool. */
  close(): void {
    if (this.#isClosed) return
    for (const port of this.#ports.values()) port.program.detach()
    this.#ports.clear()
    this.#isClosed = true
    this.#poller.close()
    this.#umem.close()
  }

  #open(device: string, queue: number): XdpSocket {
    const busyPoll =
      this.#busyPollMicroseconds > 0
        ? { busyPoll: { microseconds: this.#busyPollMicroseconds } }
        : {}
    return new XdpSocket({ umem: this.#umem, device, queue, ...busyPoll })
  }
}
