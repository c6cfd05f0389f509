/** The few words that a datapath's main thread and its workers share. */
import { wakePoller } from 'xdp-socket-napi'

export const Control = {
  /** Not zero: stop after the present burst. */
  STOP: 0,
  /** Descriptor whose writing ends a worker's sleep; 0 until the worker is ready. */
  WAKE_FD: 1,
  /** Counted up at every housekeeping step: a worker whose number stands still is stuck. */
  HEARTBEAT: 2,
  /** An Order. A worker that stands by waits for it, with everything ready but the ports. */
  GO: 3,
} as const

/** What a worker that stands by is told. */
export const Order = {
  WAIT: 0,
  /** The datapath before is gone: attach the devices. */
  ATTACH: 1,
  /** Get the running sockets from the datapath before; back to WAIT when that cannot be. */
  TAKE_OVER: 2,
} as const

export const CONTROL_WORDS = 16

/** Ends a worker after its present burst, or its waiting for the first one. */
export function stopWorker(control: Int32Array): void {
  Atomics.store(control, Control.STOP, 1)
  Atomics.notify(control, Control.GO)
  const wakeFd = Atomics.load(control, Control.WAKE_FD)
  if (wakeFd === 0) return
  try {
    wakePoller(wakeFd)
  } catch {
    // It has ended by itself meanwhile, and closed it.
  }
}

/** What a worker beside the first one is started with. It waits for `Control.GO`. */
export interface FollowerInput {
  readonly control: SharedArrayBuffer
  readonly team: import('../port/worker-team.js').TeamMemory
  /** Memory of FlowNews. */
  readonly news: SharedArrayBuffer
  readonly place: import('../port/worker-peers.js').WorkerPlace
  readonly stateDirectory: string
  readonly worker: number
  /** Runs synthetic frames first, so that its code is compiled when a port is attached. */
  readonly isTrained: boolean
  readonly idle: import('./idle-strategy.js').IdleOptions
  readonly frameCount: number
  readonly busyPollMicroseconds: number
  readonly pinDirectory: string | undefined
  /** The core that it runs on; undefined: the kernel chooses. */
  readonly core: number | undefined
}

/** What the first worker is started with. */
export interface WorkerInput {
  readonly control: SharedArrayBuffer
  readonly stateDirectory: string
  readonly worker: number
  /** Of a datapath with several workers. */
  readonly workers: number
  readonly team: import('../port/worker-team.js').TeamMemory | undefined
  /** Memory of FlowNews, which is the pipelines' as the team is the ports'; both or none. */
  readonly news: SharedArrayBuffer | undefined
  /** Runs synthetic frames first, so that its code is compiled when a port is attached. */
  readonly isTrained: boolean
  /** Waits for `Control.GO` before it touches a port. */
  readonly isStandby: boolean
  readonly idle: import('./idle-strategy.js').IdleOptions
  readonly frameCount: number
  /**
   * Microseconds that the kernel may poll a device itself before it sleeps (SO_BUSY_POLL); 0:
   * never.
   */
  readonly busyPollMicroseconds: number
  /** The core that it runs on from when it takes ports; undefined: the kernel chooses. */
  readonly core: number | undefined
  /** In a bpffs, for programs that stay on their devices; absent: they go with the process. */
  readonly pinDirectory: string | undefined
}

/** What a worker tells its main thread. */
export type WorkerMessage =
  | { readonly type: 'ready' }
  | { readonly type: 'standby' }
  /** The first one: what an earlier datapath left is taken over, and the others may begin. */
  | { readonly type: 'prepared' }
  | { readonly type: 'log'; readonly line: string }
  | { readonly type: 'stopped'; readonly frames: number }
  /** Instead of `stopped`: that process has the ports. */
  | { readonly type: 'handed over'; readonly frames: number; readonly successor: number }
  | { readonly type: 'taken over'; readonly ports: number; readonly silentMilliseconds: number }
  /** The datapath before goes on. @param isRefused it cannot hand over to this one at all */
  | { readonly type: 'not taken over'; readonly reason: string; readonly isRefused: boolean }
