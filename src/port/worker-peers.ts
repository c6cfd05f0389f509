/**
 * The worker threads of one datapath, as each knows the others: who sleeps, and how he is woken.
 *
 * A worker that is to be woken has been given something first, and one that goes to sleep says so
 * before it looks for the last time: one of the two sees the other (both accesses are atomic, so
 * neither is moved before the store in front of it).
 */
import { wakePoller } from 'xdp-socket-napi'

/** Words of a worker, on a cache line of its own. */
const WORKER_WORDS = 16
const WAKE_FD = 0
const IS_ASLEEP = 1

/** This worker's place among those of its datapath. */
export interface WorkerPlace {
  /** From 0; the first one owns what there is once. */
  readonly index: number
  readonly of: number
}

export class WorkerPeers {
  readonly place: WorkerPlace
  readonly #words: Int32Array

  constructor(buffer: SharedArrayBuffer, place: WorkerPlace) {
    this.#words = new Int32Array(buffer, 0, place.of * WORKER_WORDS)
    this.place = place
  }

  static bytesFor(workers: number): number {
    return workers * WORKER_WORDS * Int32Array.BYTES_PER_ELEMENT
  }

  /** Its poller's, before it is first asleep; 0 when the poller is gone. */
  setWakeFd(fd: number): void {
    Atomics.store(this.#words, this.place.index * WORKER_WORDS + WAKE_FD, fd)
  }

  fallAsleep(): void {
    Atomics.store(this.#words, this.place.index * WORKER_WORDS + IS_ASLEEP, 1)
  }

  awake(): void {
    Atomics.store(this.#words, this.place.index * WORKER_WORDS + IS_ASLEEP, 0)
  }

  /** Ends the sleep of a worker that is asleep, or about to be. */
  wake(worker: number): void {
    const at = worker * WORKER_WORDS
    if (Atomics.load(this.#words, at + IS_ASLEEP) === 0) return
    const fd = Atomics.load(this.#words, at + WAKE_FD)
    if (fd !== 0) wakePoller(fd)
  }

  wakeOthers(): void {
    const { index, of } = this.place
    for (let worker = 0; worker < of; worker++) if (worker !== index) this.wake(worker)
  }
}
