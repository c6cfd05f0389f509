/**
 * What the engine knows of the outside: ports that share one UMEM, and one exchange for all of
 * them.
 *
 * A port is a number to the stages. `FrameExchange` is implemented over AF_XDP sockets (one native
 * call) and over software ports (memory, pcap); the fault exchange wraps either.
 */
import type { Burst } from '../packet/burst.js'
import type { FrameChains } from '../packet/frame-chains.js'
import type { FramePool } from '../packet/frame-pool.js'

/**
 * Counters of one port since it was attached; frames and bytes are what crossed the port, drops
 * what did not. Without its device it keeps them, and drops what is sent to it.
 */
export interface PortStatistics {
  receivedFrames: number
  receivedBytes: number
  sentFrames: number
  sentBytes: number
  /** Frames the stages sent here that had no device, or that it or the transmit ring had no room for. */
  sendDropped: number
  /** Frames that arrived and found no free frame or no room in the receive ring. */
  receiveDropped: number
}

export const NOTHING_COUNTED: Readonly<PortStatistics> = {
  receivedFrames: 0,
  receivedBytes: 0,
  sentFrames: 0,
  sentBytes: 0,
  sendDropped: 0,
  receiveDropped: 0,
}

/** Frames that are on rings now, and what the kernel was asked. */
export interface RingState {
  /** On fill and receive rings, and between them. */
  framesReceiving: number
  /** On transmit and completion rings, and between them. */
  framesSending: number
  /** Calls that asked the kernel to send, and those of them after which it had taken nothing. */
  kicks: number
  kickErrors: number
  /** Times that the fill ring was empty. */
  fillRingEmpty: number
}

export interface FrameExchange {
  /** All frames of all ports lie in it. At most 2 GiB, so that each start is a small integer. */
  readonly umem: ArrayBufferLike
  /** Bytes from one frame to the next. */
  readonly stride: number
  readonly pool: FramePool
  /** What lies behind the first buffers of packets of several. */
  readonly chains: FrameChains
  /** Names by port index, as the stages use it. */
  readonly portNames: readonly string[]
  /**
   * Gives back the previous burst's frames (sends those with a port, frees those with NO_PORT) and
   * takes the next ones, stamped with the time. Returns their number; 0 when nothing waits.
   * @param maxReceive at most that many are taken, by default as many as the burst holds; 0 only
   * gives back, for a clean stop
   */
  exchange(burst: Burst, maxReceive?: number): number
  /**
   * Sleeps until a frame may be waiting, `timeoutMilliseconds` passed, or another thread woke it: true
   * if that may be why, for then there may be something to read besides frames.
   */
  wait(timeoutMilliseconds: number): boolean
  statistics(portIndex: number): PortStatistics
  /** Of a port that is not attached (any more): something is known of it all the same. */
  hasCounted?(portIndex: number): boolean
  /** State of a port's rings, where there are rings. */
  rings?(portIndex: number): RingState | undefined
  /**
   * Frames that are neither free nor in the caller's burst: on rings and in queues. For the
   * conservation check.
   */
  readonly framesOnRings: number
  /**
   * Stops receiving, takes back the frames of the last burst unsent, waits (bounded) for frames
   * being sent, and releases every resource. A second call does nothing.
   */
  close(): void
}
