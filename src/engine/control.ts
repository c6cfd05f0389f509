/** The few words that a datapath's main thread and its workers share. */

export const Control = {
  /** Not zero: stop after the present burst. */
  STOP: 0,
  /** Descriptor whose writing ends a worker's sleep; 0 until the worker is ready. */
  WAKE_FD: 1,
  /** Counted up at every housekeeping step: a worker whose number stands still is stuck. */
  HEARTBEAT: 2,
  /** Not zero: take the ports. A worker that stands by waits for it, with everything else ready. */
  GO: 3,
} as const

export const CONTROL_WORDS = 16

/** What a worker is started with. */
export interface WorkerInput {
  readonly control: SharedArrayBuffer
  readonly stateDirectory: string
  readonly worker: number
  /** Waits for `Control.GO` before it touches a port. */
  readonly isStandby: boolean
  readonly idle: import('./idle-strategy.js').IdleOptions
  readonly frameCount: number
  /**
   * Microseconds that the kernel may poll a device itself before it sleeps (SO_BUSY_POLL); 0:
   * never.
   */
  readonly busyPollMicroseconds: number
}

/** What a worker tells its main thread. */
export type WorkerMessage =
  | { readonly type: 'ready' }
  | { readonly type: 'standby' }
  | { readonly type: 'log'; readonly line: string }
  | { readonly type: 'stopped'; readonly frames: number }
