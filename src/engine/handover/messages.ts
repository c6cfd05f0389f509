/**
 * What two datapaths say to each other when one hands its running sockets to the other, worker by
 * worker: lines of JSON over a unix socket in the state directory, with descriptors beside them
 * (docs/adr/0014-running-sockets-are-handed-over.md).
 *
 *     taker                           giver
 *     hello (how I am made)      →
 *                                ←    refused (why), or memory, then each port
 *     ready                      →
 *                                ←    counters of some ports, …, then yours
 *
 * Before `yours` either may go away, and the giver goes on as if nothing had been. With it the
 * giver's part is over.
 */
import { join } from 'node:path'
import type { MemoryDescription, PortCounters, PortDescription } from '../../port/xsk-attachment.js'

/** Of everything that two processes have to agree on, beside the maps' own versions. */
export const HANDOVER_VERSION = 2

/** So long one side waits for the other's next word. */
export const ANSWER_MILLISECONDS = 5_000

export interface Hello {
  readonly type: 'hello'
  readonly version: number
  readonly pid: number
  /** Frames that the taker was told to use. */
  readonly frameCount: number
}

export interface Refused {
  readonly type: 'refused'
  readonly reason: string
}

/** The descriptor of the memory is with it. */
export interface MemoryOffer extends MemoryDescription {
  readonly type: 'memory'
  readonly portCount: number
}

/** Descriptors of a link, the maps and the sockets are with it. */
export interface PortOffer extends PortDescription {
  readonly type: 'port'
}

export interface Ready {
  readonly type: 'ready'
}

export interface Counters {
  readonly type: 'counters'
  readonly ports: readonly PortCounters[]
}

export interface Yours {
  readonly type: 'yours'
  /** Frames in the pool; the others are on rings. */
  readonly free: number
  readonly onRings: number
  /** CLOCK_MONOTONIC when the last burst had been sent. */
  readonly stoppedNanoseconds: string
}

export type FromTaker = Hello | Ready
export type FromGiver = Refused | MemoryOffer | PortOffer | Counters | Yours

export const handoverPath = (stateDirectory: string, worker: number): string =>
  join(stateDirectory, `handover-${worker}.sock`)
