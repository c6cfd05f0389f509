/**
 * Moves bursts of frames between JavaScript and the rings of many sockets, in one native call per
 * burst.
 *
 * The burst is one Int32Array: 16 header words, then three columns of equal length. On return from
 * `exchange`, for each frame i below words[COUNT]: starts[i] is the packet's first byte in the
 * UMEM, lengths[i] its bytes, ports[i] the port it came in by. The caller writes where each now
 * starts, its length, and the port it leaves by, or NO_PORT to free it; the next `exchange` carries
 * that out. Frames taken from the pool may be appended.
 */
import { type Audit, binding, type PollerHandle, type Teardown } from './binding.js'
import { checkInteger, explained, XdpError, XdpErrorCode } from './errors.js'
import type { XdpSocket } from './socket.js'
import type { Umem } from './umem.js'

/** Not a port: the frame goes back to the pool. */
export const NO_PORT = -1

/** Words before the columns. native/src/poller.h has the same numbers. */
export const BURST_HEADER_WORDS = 16
export const BurstWord = {
  /** Frames in the burst. */
  COUNT: 0,
  /** CLOCK_MONOTONIC when the burst was taken. */
  NOW_SECONDS: 1,
  NOW_NANOSECONDS: 2,
  /** Frames that this exchange could not place on a transmit ring; they are in the pool. */
  DROPPED: 3,
  /** Frames on transmit rings that the kernel has not taken yet. */
  UNSENT: 4,
  /** 1 when more frames may be waiting: do not sleep. */
  MORE_WAITING: 5,
  /** Sockets whose device is gone. */
  SOCKETS_DOWN: 6,
  /** 1 when the last `wait` was ended by `wakePoller`, not by frames or by the time. */
  WOKEN: 7,
} as const
const ErrorWord = { INDEX: 8, START: 9, LENGTH: 10, PORT: 11 } as const

const RECEIVE_MAX_DEFAULT = 64
const PORT_MAX = 65535
const BURST_FRAMES_MAX = 65535

/** What a negative answer of the native exchange means. */
const BROKEN: Readonly<Record<number, string>> = {
  [-1]: 'the burst holds more frames than it has room for',
  [-2]: 'a frame was sent to a port that never was',
  [-3]: 'a packet does not lie within one frame',
  [-4]: 'a frame was given that a ring owns already: it was sent or freed twice',
  [-5]: 'the frame pool is damaged: a frame was freed twice, or a word that is no frame is in it',
  [-6]: 'the kernel returned a frame that it was not given',
  [-8]: 'the buffers of a packet are linked wrongly',
}
const CLOSED = -7

export interface PollerOptions {
  readonly umem: Umem
  /** By port index: the sockets of each port. Several queues of a device may be one port. */
  readonly ports?: readonly (readonly XdpSocket[])[]
  /** The burst: 16 words and three columns of equal length. Kept until `close`. */
  readonly burstWords: Int32Array
}

export class Poller {
  readonly umem: Umem
  /** Write to it (see `wakePoller`) from any thread to end a `wait`. Valid until `close`. */
  readonly wakeFd: number
  /** Frames that a burst can hold. */
  readonly capacity: number
  readonly #words: Int32Array
  readonly #handle: PollerHandle
  readonly #exchange: (receiveMax: number) => number
  readonly #wait: (timeoutMilliseconds: number) => boolean
  readonly #sockets = new Set<XdpSocket>()
  #closed = false

  /** Throws EXDP_ARGUMENT. */
  constructor(options: PollerOptions) {
    const words = options.burstWords
    const capacity = (words.length - BURST_HEADER_WORDS) / 3
    checkInteger('frames of the burst', capacity, 1, BURST_FRAMES_MAX)
    const made = explained('poller', {}, () => binding().createPoller(options.umem.handle, words))
    this.umem = options.umem
    this.wakeFd = made.wakeFd
    this.capacity = capacity
    this.#words = words
    this.#handle = made.handle
    this.#exchange = made.exchange
    this.#wait = made.wait
    this.umem.addUser(1)
    for (const [port, sockets] of (options.ports ?? []).entries()) {
      for (const socket of sockets) this.addSocket(socket, port)
    }
  }

  /** Frames may be received by, and sent to, this socket as `port` from now on. */
  addSocket(socket: XdpSocket, port: number): void {
    checkInteger('port', port, 0, PORT_MAX)
    const place = { device: socket.device, queue: socket.queue }
    explained('poller', place, () => binding().pollerAdd(this.#handle, socket.handle, port))
    this.#sockets.add(socket)
    socket.owner = this
  }

  /**
   * A socket of a process that still uses it: its rings are left alone until `resume`, and nothing
   * is exchanged before.
   */
  addAdopted(socket: XdpSocket, port: number): void {
    checkInteger('port', port, 0, PORT_MAX)
    const place = { device: socket.device, queue: socket.queue }
    explained('poller', place, () => binding().pollerAddAdopted(this.#handle, socket.handle, port))
    this.#sockets.add(socket)
    socket.owner = this
  }

  /** The process before has stopped: the rings of adopted sockets are this poller's from now on. */
  resume(): void {
    binding().pollerResume(this.#handle)
  }

  /**
   * Another process has the memory, the sockets and their frames: closes all of it here, and gives
   * no frame back. The burst has to be empty.
   */
  handOver(): void {
    if (this.#closed) return
    this.#closed = true
    binding().pollerHandOver(this.#handle)
    for (const socket of this.#sockets) {
      socket.owner = undefined
      socket.close()
    }
    this.#sockets.clear()
    this.umem.addUser(-1)
  }

  /** Goes through all frames and asks whose each is; some microseconds for each thousand. */
  audit(): Audit {
    return binding().pollerAudit(this.#handle)
  }

  /**
   * Stops receiving, waits at most 100 ms for frames being sent, closes the socket, and puts every
   * frame it held into the pool. The port index stays valid: frames sent to it are dropped and
   * counted.
   */
  removeSocket(socket: XdpSocket): Teardown {
    if (!this.#sockets.delete(socket)) return { framesReturned: 0, sendsAbandoned: 0 }
    const done = binding().pollerRemove(this.#handle, socket.handle)
    socket.owner = undefined
    socket.close()
    return done
  }

  /**
   * Carries out the previous burst and takes the next. Returns its number of frames, 0 when nothing
   * waits. Throws EXDP_FRAME when a frame was lost or given twice; the poller then works no more,
   * and is to be closed.
   */
  exchange(receiveMax = RECEIVE_MAX_DEFAULT): number {
    const count = this.#exchange(receiveMax)
    if (count < 0) this.#fail(count)
    return count
  }

  /**
   * Sleeps until frames or a wake-up may be there, or for `timeoutMilliseconds` (-1: no limit).
   * Returns false when neither came. It blocks the thread; a signal ends it.
   */
  wait(timeoutMilliseconds: number): boolean {
    return this.#wait(timeoutMilliseconds)
  }

  /** Ends a `wait` of this poller; see `wakePoller` for other threads. */
  wake(): void {
    wakePoller(this.wakeFd)
  }

  /** Frames on the four rings of all sockets and between them, counted from the ring indices. */
  get framesOnRings(): number {
    return binding().framesOnRings(this.#handle)
  }

  /** Frames sent to a port that has no socket any more. */
  get unroutedDrops(): number {
    return binding().unroutedDrops(this.#handle)
  }

  /**
   * Frees the burst's frames, removes every socket, and checks that every frame is in the pool:
   * EXDP_FRAME if one is missing, after all is closed. Frames that the caller took from the pool
   * must be back before.
   */
  close(): Teardown {
    if (this.#closed) return { framesReturned: 0, sendsAbandoned: 0 }
    this.#closed = true
    const done = binding().pollerClose(this.#handle)
    for (const socket of this.#sockets) {
      socket.owner = undefined
      socket.close()
    }
    this.#sockets.clear()
    this.umem.addUser(-1)
    const free = this.umem.poolWords[0] as number
    if (free !== this.umem.frameCount) {
      throw new XdpError(
        XdpErrorCode.FRAME,
        `${this.umem.frameCount - free} of ${this.umem.frameCount} frames did not come back`,
      )
    }
    return done
  }

  #fail(error: number): never {
    if (error === CLOSED) throw new XdpError(XdpErrorCode.CLOSED, 'the poller is closed')
    const at = (word: keyof typeof ErrorWord) => this.#words[ErrorWord[word]] as number
    throw new XdpError(
      XdpErrorCode.FRAME,
      `${BROKEN[error] ?? `unknown error ${error}`} (index ${at('INDEX')}, start ${at('START')}, ` +
        `length ${at('LENGTH')}, port ${at('PORT')})`,
    )
  }
}

/** Ends the `wait` of the poller whose `wakeFd` this is, from any thread of the process. */
export function wakePoller(wakeFd: number): void {
  explained('poller', {}, () => binding().wakePoller(wakeFd))
}
