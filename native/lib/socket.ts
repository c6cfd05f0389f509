/**
 * One AF_XDP socket on one (device, queue), with its own four rings over a shared UMEM. It moves
 * frames only once it is in a Poller and, for receiving, known to the device's XdpProgram.
 */
import { binding, type SocketHandle } from './binding.js'
import { deviceInfo } from './device.js'
import { checkInteger, checkPowerOfTwo, explained, XdpError, XdpErrorCode } from './errors.js'
import type { Umem } from './umem.js'

const RING_SIZE_MAX = 32768
const DEFAULT_RING_SIZE = 2048
/** Few enough that they stay in the cache, enough for a burst of the kernel's. */
const DEFAULT_FILL_TARGET = 512
const DEFAULT_BUSY_POLL_BUDGET = 64

export interface BusyPollOptions {
  /** How long one busy poll may last. */
  readonly microseconds: number
  /** Packets of one busy poll; 64 unless told. */
  readonly budget?: number
}

export interface XdpSocketOptions {
  readonly umem: Umem
  readonly device: string
  readonly queue: number
  /** Powers of two up to 32768; 2048 unless told. */
  readonly rxRingSize?: number
  readonly txRingSize?: number
  readonly fillRingSize?: number
  readonly completionRingSize?: number
  /**
   * Frames kept for receiving, ready or waiting in the receive ring: how long a burst may be while
   * the program is busy. The smaller of the fill ring and 512 unless told; a poller gives all its
   * sockets together at most half of the frames.
   */
  readonly fillTarget?: number
  /** 'auto': zero copy when the driver can, else copy mode; `modeReason` tells why. */
  readonly zeroCopy?: 'auto' | 'never'
  /**
   * 'auto': packets of several buffers (XDP_USE_SG) in copy mode, where the kernel has it; 'never'
   * unless told. The first socket of a UMEM decides for all. See `Umem.chainWords`.
   */
  readonly multiBuffer?: 'auto' | 'never'
  readonly busyPoll?: BusyPollOptions
}

/** Since the socket was opened. */
export interface SocketStatistics {
  readonly receivedFrames: number
  readonly receivedBytes: number
  /** Handed to the kernel for sending. */
  readonly sentFrames: number
  readonly sentBytes: number
  /** The transmit ring was full: the frame went back to the pool. */
  readonly sendDropped: number
  /** rxDropped + rxRingFull + chainsRefused. */
  readonly receiveDropped: number
  /** Calls that asked the kernel to send. */
  readonly kicks: number
  /** Of those, calls after which no frame had been taken. */
  readonly kickErrors: number
  /**
   * The kernel's counters (XDP_STATISTICS). Frames too long or without a free frame are in
   * `rxDropped`.
   */
  readonly rxDropped: number
  readonly rxRingFull: number
  /** How often the fill ring was empty; in copy mode each is in `rxDropped` too. */
  readonly fillRingEmpty: number
  readonly rxInvalidDescriptors: number
  readonly txInvalidDescriptors: number
  readonly txRingEmpty: number
  /** Frames now on the fill and receive rings, and between them. */
  readonly framesReceiving: number
  /** Frames now on the transmit and completion rings, and between them. */
  readonly framesSending: number
  /** The device is gone: remove the socket. */
  readonly deviceGone: boolean
  /** Packets of more buffers than a socket sends (17). */
  readonly chainsRefused: number
}

/** Index in `XdpSocket.counts`; the native function writes in this order. */
export const SocketCounter = {
  RECEIVED_FRAMES: 0,
  RECEIVED_BYTES: 1,
  SENT_FRAMES: 2,
  SENT_BYTES: 3,
  SEND_DROPPED: 4,
  KICKS: 5,
  KICK_ERRORS: 6,
  RX_DROPPED: 7,
  RX_RING_FULL: 8,
  FILL_RING_EMPTY: 9,
  RX_INVALID: 10,
  TX_INVALID: 11,
  TX_RING_EMPTY: 12,
  FRAMES_RECEIVING: 13,
  FRAMES_SENDING: 14,
  DEVICE_GONE: 15,
  CHAINS_REFUSED: 16,
} as const
const SOCKET_COUNTERS = 17

/** What a socket needs of the poller it is in. */
export interface SocketOwner {
  removeSocket(socket: XdpSocket): unknown
}

/** What another process needs to go on with a socket, beside its descriptor and options. */
export interface SocketLedger {
  /** By which the UMEM's ledger names the socket's frames. */
  readonly tag: number
  /** The program's own counters. */
  readonly counters: readonly number[]
}
const LEDGER_NUMBERS = 9

/** A socket of another process, by the descriptor that came from there. It is duplicated. */
export interface AdoptedSocket {
  readonly descriptor: number
  readonly tag: number
}

export class XdpSocket {
  readonly umem: Umem
  readonly device: string
  readonly queue: number
  readonly mode: 'zero-copy' | 'copy'
  /** Empty in zero-copy mode; else why it is copy mode. */
  readonly modeReason: string
  /** Whether packets of several buffers come and go; else why not. */
  readonly multiBuffer: boolean
  readonly multiBufferReason: string
  /** For poll(2) and diagnostics; the socket keeps it. */
  readonly fd: number
  readonly #handle: SocketHandle
  readonly #counts = new Float64Array(SOCKET_COUNTERS)
  #owner: SocketOwner | undefined
  #closed = false

  /**
   * @param adopted see `Poller.addAdopted` Throws EXDP_NO_DEVICE, EXDP_QUEUE, EXDP_BUSY,
   * EXDP_PERMISSION, EXDP_MEMLOCK, EXDP_ARGUMENT.
   */
  constructor(options: XdpSocketOptions, adopted: AdoptedSocket | null = null) {
    const native = nativeOptions(options)
    const info = deviceInfo(options.device)
    const place = { device: options.device, queue: options.queue }
    if (info.receiveQueues > 0 && options.queue >= info.receiveQueues) {
      throw new XdpError(
        XdpErrorCode.QUEUE,
        `${options.device} has receive queues 0 to ${info.receiveQueues - 1}, not ${options.queue}`,
        place,
      )
    }
    const made = explained('socket', place, () =>
      binding().openSocket(
        options.umem.handle,
        { ...native, interfaceIndex: info.index },
        adopted?.descriptor ?? null,
        adopted?.tag ?? 0,
      ),
    )
    this.umem = options.umem
    this.device = options.device
    this.queue = options.queue
    this.mode = made.zeroCopy ? 'zero-copy' : 'copy'
    this.modeReason = made.modeReason
    this.multiBuffer = made.multiBuffer
    this.multiBufferReason = made.multiBufferReason
    this.fd = made.fd
    this.#handle = made.handle
    options.umem.addUser(1)
  }

  /** For this package's own classes. Throws EXDP_CLOSED. */
  get handle(): SocketHandle {
    this.#assertOpen()
    return this.#handle
  }

  /** Set by the poller that the socket is in; `undefined` takes it out. */
  set owner(owner: SocketOwner | undefined) {
    this.#owner = owner
  }

  /** What `statistics` tells, by SocketCounter, in the socket's own array: valid until the next call. */
  counts(): Readonly<Float64Array> {
    this.#assertOpen()
    const place = { device: this.device, queue: this.queue }
    explained('socket', place, () => binding().socketStatistics(this.#handle, this.#counts))
    return this.#counts
  }

  statistics(): SocketStatistics {
    const counts = this.counts()
    const at = (counter: keyof typeof SocketCounter) => counts[SocketCounter[counter]] as number
    return {
      receivedFrames: at('RECEIVED_FRAMES'),
      receivedBytes: at('RECEIVED_BYTES'),
      sentFrames: at('SENT_FRAMES'),
      sentBytes: at('SENT_BYTES'),
      sendDropped: at('SEND_DROPPED'),
      receiveDropped: at('RX_DROPPED') + at('RX_RING_FULL') + at('CHAINS_REFUSED'),
      kicks: at('KICKS'),
      kickErrors: at('KICK_ERRORS'),
      rxDropped: at('RX_DROPPED'),
      rxRingFull: at('RX_RING_FULL'),
      fillRingEmpty: at('FILL_RING_EMPTY'),
      rxInvalidDescriptors: at('RX_INVALID'),
      txInvalidDescriptors: at('TX_INVALID'),
      txRingEmpty: at('TX_RING_EMPTY'),
      framesReceiving: at('FRAMES_RECEIVING'),
      framesSending: at('FRAMES_SENDING'),
      deviceGone: at('DEVICE_GONE') !== 0,
      chainsRefused: at('CHAINS_REFUSED'),
    }
  }

  /** For the process that goes on with it. */
  ledger(): SocketLedger {
    const values = new Float64Array(LEDGER_NUMBERS)
    binding().socketLedger(this.handle, values)
    const [tag = 0] = values
    return { tag, counters: [...values.subarray(1)] }
  }

  /** Counts on from what another process had counted. */
  setCounters(counters: readonly number[]): void {
    binding().setSocketCounters(this.handle, Float64Array.of(0, ...counters))
  }

  /**
   * Leaves its poller in good order (see `Poller.removeSocket`) and closes; a second call does
   * nothing.
   */
  close(): void {
    if (this.#closed) return
    this.#owner?.removeSocket(this)
    this.#closed = true
    binding().closeSocket(this.#handle)
    this.umem.addUser(-1)
  }

  #assertOpen(): void {
    if (!this.#closed) return
    throw new XdpError(XdpErrorCode.CLOSED, 'the socket is closed', {
      device: this.device,
      queue: this.queue,
    })
  }
}

function nativeOptions(options: XdpSocketOptions) {
  const size = (name: string, value = DEFAULT_RING_SIZE) => {
    checkPowerOfTwo(name, value, 2, RING_SIZE_MAX)
    return value
  }
  const fillRingSize = size('fillRingSize', options.fillRingSize)
  const fillTarget = options.fillTarget ?? Math.min(fillRingSize, DEFAULT_FILL_TARGET)
  const busyPollMicroseconds = options.busyPoll?.microseconds ?? 0
  const busyPollBudget = options.busyPoll?.budget ?? DEFAULT_BUSY_POLL_BUDGET
  checkInteger('queue', options.queue, 0, 65535)
  checkInteger('fillTarget', fillTarget, 1, fillRingSize)
  checkInteger('busyPoll.microseconds', busyPollMicroseconds, 0, 1_000_000)
  checkInteger('busyPoll.budget', busyPollBudget, 1, 65535)
  return {
    queue: options.queue,
    rxRingSize: size('rxRingSize', options.rxRingSize),
    txRingSize: size('txRingSize', options.txRingSize),
    fillRingSize,
    completionRingSize: size('completionRingSize', options.completionRingSize),
    fillTarget,
    tryZeroCopy: (options.zeroCopy ?? 'auto') === 'auto',
    tryMultiBuffer: options.multiBuffer === 'auto',
    busyPollMicroseconds,
    busyPollBudget,
  }
}
