/**
 * The frame exchange over AF_XDP: devices as ports, all queues of each, on one UMEM, one native
 * call a burst (kernel: Documentation/networking/af_xdp.rst; the rings are in xdp-socket-napi).
 *
 * Ports are attached and detached at run time, by the thread that calls `exchange`. A port that is
 * not attached takes no frames: those sent to it are counted drops. What the uplink program steers
 * here is set through `program`; what a frame means is none of its business.
 */
import {
  BurstWord,
  type BusyPollOptions,
  deviceInfo,
  Poller,
  PROGRAM_QUEUES_MAX,
  type SteeringMode,
  Umem,
  XdpProgram,
  XdpSocket,
} from 'xdp-socket-napi'
import { assert } from '../base/assert.js'
import { ErrorCode, RingpathError } from '../base/errors.js'
import { PORTS_MAX } from '../base/limits.js'
import { type Burst, NO_PORT } from '../packet/burst.js'
import { FramePool } from '../packet/frame-pool.js'
import type { FrameExchange, PortStatistics } from './port.js'

const DEFAULT_FRAME_COUNT = 4096
/**
 * Frames kept ready on each queue's fill ring: some 10 ms of a TCP sender at full MTU, as long as a
 * worker may be kept off its core. With the socket's own default of 512, iperf3 on two cores lost 2
 * % of its segments; with this none.
 */
const FILL_TARGET = 2048

export interface XskExchangeOptions {
  /**
   * 1 to 1,048,576; at most 2 GiB in all; 4096 unless told. Half of them may wait on receive rings.
   */
  readonly frameCount?: number
  /**
   * Bytes from one frame to the next, 2048 to 4096; 2112 unless told. The kernel may force 2048.
   */
  readonly strideBytes?: number
  /** Kept free before a frame beyond the kernel's 256 bytes; 0 unless told. */
  readonly headroomBytes?: number
  /** 'auto': native XDP, else generic. */
  readonly attachMode?: 'auto' | 'native' | 'generic'
  /** 'auto': zero copy where the driver can. */
  readonly zeroCopy?: 'auto' | 'never'
  readonly busyPoll?: BusyPollOptions
}

/** What became of an attachment. */
export interface XskPort {
  readonly device: string
  readonly mode: SteeringMode
  readonly queueCount: number
  readonly isNative: boolean
  readonly isZeroCopy: boolean
  /**
   * Why it is generic XDP or copy mode, in the words of the native package; empty when it is
   * neither.
   */
  readonly reason: string
}

interface Attachment extends XskPort {
  readonly program: XdpProgram
  readonly sockets: readonly XdpSocket[]
}

export class XskExchange implements FrameExchange {
  readonly umem: ArrayBufferLike
  readonly stride: number
  readonly portNames: string[] = []
  readonly #options: XskExchangeOptions
  readonly #umem: Umem
  readonly #attachments: (Attachment | null)[] = []
  /** Sockets by port: 0 is a port that takes no frames. */
  readonly #queueCounts = new Int32Array(PORTS_MAX)
  /** Frames sent to each port while it was not attached. */
  readonly #undelivered = new Float64Array(PORTS_MAX)
  /** What a port had counted when it was detached. */
  readonly #lastStatistics: PortStatistics[] = []
  #pool: FramePool
  #poller: Poller | null = null
  #burst: Burst | null = null
  #isClosed = false

  /**
   * Throws EPORT_ATTACH when the packet memory cannot be had (rights, locked memory, no AF_XDP);
   * `cause` tells.
   */
  constructor(options: XskExchangeOptions = {}) {
    this.#options = options
    const { strideBytes, headroomBytes } = options
    this.#umem = attaching('the packet memory', () => {
      return new Umem({
        frameCount: options.frameCount ?? DEFAULT_FRAME_COUNT,
        ...(strideBytes === undefined ? {} : { strideBytes }),
        ...(headroomBytes === undefined ? {} : { headroomBytes }),
      })
    })
    this.umem = this.#umem.buffer
    this.stride = this.#umem.strideBytes
    this.#pool = new FramePool(this.#umem.poolWords)
  }

  /** After `close` a copy, whose count can still be asked for; the memory itself is gone then. */
  get pool(): FramePool {
    return this.#pool
  }

  get framesOnRings(): number {
    return this.#isClosed || this.#poller === null ? 0 : this.#poller.framesOnRings
  }

  /**
   * For other threads: `wakePoller(wakeFd)` of xdp-socket-napi ends a `wait`. Valid from the first
   * exchange to `close`.
   */
  get wakeFd(): number {
    assert(this.#poller !== null && !this.#isClosed, 'wakeFd outside first exchange to close')
    return this.#poller.wakeFd
  }

  /**
   * The steering program of a port, to tell an uplink what is ours; null when it is not attached.
   */
  program(port: number): XdpProgram | null {
    return this.#attachments[port]?.program ?? null
  }

  /**
   * Ports whose device vanished (a pod that was deleted takes its veth along): to be detached, for
   * their frames. One word is read when there are none.
   */
  lostPorts(): number[] {
    const burst = this.#burst
    if (burst === null || burst.words[BurstWord.SOCKETS_DOWN] === 0) return []
    const lost: number[] = []
    for (const [port, attachment] of this.#attachments.entries()) {
      const sockets = attachment?.sockets ?? []
      if (sockets.some((socket) => socket.statistics().deviceGone)) lost.push(port)
    }
    return lost
  }

  /**
   * Takes a device of the current network namespace into the next exchange, with all its receive
   * queues. Throws EPORT_ATTACH, with nothing left attached, and the native error as its cause;
   * EPORT_LIMIT when there is no such port number.
   */
  attach(port: number, device: string, mode: SteeringMode): XskPort {
    assert(!this.#isClosed, 'attach after close')
    if (!Number.isInteger(port) || port < 0 || port >= PORTS_MAX) {
      throw new RingpathError(ErrorCode.PORT_LIMIT, `port ${port} is not 0 to ${PORTS_MAX - 1}`)
    }
    const current = this.#attachments[port] ?? null
    const subject = `port ${port} (${device}, ${mode})`
    if (current !== null) {
      const message = `${subject}: the port is ${current.device} already; detach it first`
      throw new RingpathError(ErrorCode.PORT_ATTACH, message)
    }
    const attachment = attaching(subject, () => this.#open(port, device, mode))
    while (this.portNames.length <= port) {
      this.portNames.push('')
      this.#attachments.push(null)
    }
    this.#attachments[port] = attachment
    this.#queueCounts[port] = attachment.sockets.length
    this.#undelivered[port] = 0
    this.portNames[port] = device
    const { queueCount, isNative, isZeroCopy, reason } = attachment
    return { device, mode, queueCount, isNative, isZeroCopy, reason }
  }

  /**
   * Stops receiving, waits (bounded) for frames being sent, takes every frame back and the program
   * off the device.
   */
  detach(port: number): void {
    const attachment = this.#attachments[port] ?? null
    assert(attachment !== null, `port ${port} is not attached`)
    this.#forget(port)
    release(attachment.program, attachment.sockets)
  }

  exchange(burst: Burst, maxReceive = burst.capacity): number {
    const poller = this.#poller ?? this.#start(burst)
    assert(burst === this.#burst, 'an XskExchange works on one burst, that of its first exchange')
    this.#dropUndeliverable(burst)
    return poller.exchange(maxReceive)
  }

  wait(timeoutMilliseconds: number): void {
    this.#poller?.wait(timeoutMilliseconds)
  }

  /** Ends a `wait` that goes on, or the next one at once. */
  wake(): void {
    this.#poller?.wake()
  }

  statistics(portIndex: number): PortStatistics {
    const total = { ...(this.#lastStatistics[portIndex] ?? NOTHING) }
    const attachment = this.#attachments[portIndex] ?? null
    if (attachment !== null) {
      Object.assign(total, NOTHING)
      for (const socket of attachment.sockets) add(total, socket)
    }
    total.sendDropped += this.#undelivered[portIndex] ?? 0
    return total
  }

  /**
   * Throws, after all is released, when a frame did not come back or a program could not be
   * detached.
   */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    const attached = this.#attachments.filter((attachment) => attachment !== null)
    for (const port of this.#attachments.keys()) this.#forget(port)
    runAll([
      () => this.#poller?.close(),
      ...attached.map((attachment) => () => release(attachment.program, attachment.sockets)),
      () => {
        this.#pool = new FramePool(this.#umem.poolWords.slice())
        this.#umem.close()
      },
    ])
  }

  /** Before its sockets close: what a port has counted can still be asked for afterwards. */
  #forget(port: number): void {
    this.#lastStatistics[port] = this.statistics(port)
    this.#undelivered[port] = 0
    this.#attachments[port] = null
    this.#queueCounts[port] = 0
    this.portNames[port] = ''
  }

  #start(burst: Burst): Poller {
    assert(!this.#isClosed, 'exchange after close')
    this.#burst = burst
    this.#poller = new Poller({ umem: this.#umem, burstWords: burst.words })
    for (const [port, attachment] of this.#attachments.entries()) {
      for (const socket of attachment?.sockets ?? []) this.#poller.addSocket(socket, port)
    }
    return this.#poller
  }

  /**
   * A stage may have chosen a port that has gone since, or that the control plane promised and
   * could not attach.
   */
  #dropUndeliverable(burst: Burst): void {
    const ports = burst.ports
    const count = Math.min(burst.count, burst.capacity)
    for (let i = 0; i < count; i++) {
      const port = ports[i]
      // Numbers out of range stay, and stop the worker: the native exchange names the frame.
      if (port < 0 || port >= PORTS_MAX || this.#queueCounts[port] !== 0) continue
      ports[i] = NO_PORT
      this.#undelivered[port]++
    }
  }

  #open(port: number, device: string, mode: SteeringMode): Attachment {
    // Drivers that do not tell how many queues they have, have one.
    const queueCount = deviceInfo(device).receiveQueues || 1
    if (queueCount > PROGRAM_QUEUES_MAX) {
      throw new RingpathError(
        ErrorCode.PORT_ATTACH,
        `${device} has ${queueCount} receive queues, more than ${PROGRAM_QUEUES_MAX}; ` +
          `take some away: ethtool -L ${device} combined ${PROGRAM_QUEUES_MAX}`,
      )
    }
    const { attachMode = 'auto', zeroCopy = 'auto', busyPoll } = this.#options
    const program = XdpProgram.attach({ device, mode, attachMode })
    const sockets: XdpSocket[] = []
    try {
      for (let queue = 0; queue < queueCount; queue++) {
        const busy = busyPoll === undefined ? {} : { busyPoll }
        const umem = this.#umem
        const fillTarget = FILL_TARGET
        const socket = new XdpSocket({ umem, device, queue, zeroCopy, fillTarget, ...busy })
        sockets.push(socket)
        // Into the poller first: its fill ring has frames before the program sends it any.
        this.#poller?.addSocket(socket, port)
        program.setSocket(queue, socket)
      }
    } catch (error) {
      release(program, sockets)
      throw error
    }
    return {
      device,
      mode,
      queueCount,
      isNative: program.attachMode === 'native',
      isZeroCopy: sockets.every((socket) => socket.mode === 'zero-copy'),
      reason: [program.attachReason, sockets[0].modeReason].filter(Boolean).join('; '),
      program,
      sockets,
    }
  }
}

const NOTHING: Readonly<PortStatistics> = {
  receivedFrames: 0,
  receivedBytes: 0,
  sentFrames: 0,
  sentBytes: 0,
  sendDropped: 0,
  receiveDropped: 0,
}

function add(total: PortStatistics, socket: XdpSocket): void {
  const counted = socket.statistics()
  total.receivedFrames += counted.receivedFrames
  total.receivedBytes += counted.receivedBytes
  total.sentFrames += counted.sentFrames
  total.sentBytes += counted.sentBytes
  total.sendDropped += counted.sendDropped
  // Not `receiveDropped` of the package: a frame that found the fill ring empty is counted there
  // twice, as it is among the kernel's rx_dropped, too (net/xdp/xsk.c, __xsk_rcv).
  total.receiveDropped += counted.rxDropped + counted.rxRingFull
}

/**
 * The sockets first: until the program goes, a pod's frames are dropped, not handed to the kernel.
 * A socket that is still in its poller leaves it in good order.
 */
function release(program: XdpProgram, sockets: readonly XdpSocket[]): void {
  const steps: (() => void)[] = []
  for (const socket of sockets) steps.push(() => socket.close())
  steps.push(() => program.detach())
  runAll(steps)
}

/** Runs every step, whatever happens to those before it, and then throws the first error. */
function runAll(steps: readonly (() => void)[]): void {
  const errors: unknown[] = []
  for (const step of steps) {
    try {
      step()
    } catch (error) {
      errors.push(error)
    }
  }
  if (errors.length > 0) throw errors[0]
}

function attaching<T>(subject: string, open: () => T): T {
  try {
    return open()
  } catch (error) {
    if (error instanceof RingpathError) throw error
    const reason = error instanceof Error ? error.message : String(error)
    throw new RingpathError(ErrorCode.PORT_ATTACH, `${subject}: ${reason}`, error)
  }
}
