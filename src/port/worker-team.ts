/**
 * The workers of one datapath, as the exchange of each sees them: which queues are its own, and the
 * frames that it sends for others or they for it. The memory is the threads' own and starts as zeros.
 */
import { type Burst, NO_PORT } from '../packet/burst.js'
import { type FramePool, NO_FRAME } from '../packet/frame-pool.js'
import { FrameHandover } from './frame-handover.js'
import { NOBODY, SharedPorts } from './shared-ports.js'
import { WorkerPeers, type WorkerPlace } from './worker-peers.js'
import type { AttachmentShare } from './xsk-attachment.js'

/** What the threads of a datapath share beside the maps. */
export interface TeamMemory {
  readonly peers: SharedArrayBuffer
  readonly ports: SharedArrayBuffer
  readonly frames: SharedArrayBuffer
}

/** @param workers at least 2 */
export function teamMemory(workers: number): TeamMemory {
  return {
    peers: new SharedArrayBuffer(WorkerPeers.bytesFor(workers)),
    ports: new SharedArrayBuffer(SharedPorts.bytesFor()),
    frames: new SharedArrayBuffer(FrameHandover.bytesFor(workers)),
  }
}

export class WorkerTeam {
  readonly place: WorkerPlace
  readonly peers: WorkerPeers
  readonly ports: SharedPorts
  readonly #frames: FrameHandover
  /** By worker: it has been given frames since it was woken last. */
  readonly #isOwed: Uint8Array
  /** Frames given to others, and taken from them, since the start. */
  given = 0
  taken = 0

  constructor(memory: TeamMemory, place: WorkerPlace) {
    this.place = place
    this.peers = new WorkerPeers(memory.peers, place)
    this.ports = new SharedPorts(memory.ports, this.peers)
    this.#frames = new FrameHandover(memory.frames, this.peers)
    this.#isOwed = new Uint8Array(place.of)
  }

  /** Packet memory of this worker; before the first `pass`. */
  useMemory(umem: ArrayBufferLike, strideBytes: number): void {
    this.#frames.useMemory(umem, strideBytes)
  }

  /** What this worker has of a device. @param program that another attached; null: this one does */
  share(program: Int32Array | null): AttachmentShare {
    const queuesOf = (port: number, queueCount: number): number[] => {
      const all = Array.from({ length: queueCount }, (_, queue) => queue)
      return all.filter((queue) => this.ports.isOurs(port, queue))
    }
    return { queuesOf, queuesWanted: this.place.of, program }
  }

  get isFirst(): boolean {
    return this.place.index === 0
  }

  /** Something waits for this worker. */
  get isWaiting(): boolean {
    return this.#frames.isWaiting
  }

  /**
   * Hands frames for ports that this worker has no queue of to the worker that has one, and adds those
   * of others to the burst.
   *
   * @param queueCounts of this worker, by port
   */
  pass(burst: Burst, queueCounts: Int32Array, pool: FramePool): void {
    this.#give(burst, queueCounts)
    if (this.#frames.isWaiting) this.#take(burst, pool)
  }

  #give(burst: Burst, queueCounts: Int32Array): void {
    const { starts, lengths, ports } = burst
    const count = Math.min(burst.count, burst.capacity)
    let hasGiven = false
    for (let i = 0; i < count; i++) {
      const port = ports[i] as number
      if (port < 0 || port >= queueCounts.length || queueCounts[port] !== 0) continue
      const worker = this.ports.workerFor(port)
      if (worker === NOBODY) continue
      if (!this.#frames.give(worker, port, starts[i] as number, lengths[i] as number)) continue
      ports[i] = NO_PORT
      this.#isOwed[worker] = 1
      hasGiven = true
      this.given++
    }
    if (hasGiven) this.#wake()
  }

  #wake(): void {
    for (let worker = 0; worker < this.#isOwed.length; worker++) {
      if (this.#isOwed[worker] === 0) continue
      this.#isOwed[worker] = 0
      this.peers.wake(worker)
    }
  }

  #take(burst: Burst, pool: FramePool): void {
    const frames = this.#frames
    while (burst.count < burst.capacity && frames.isWaiting) {
      const frame = pool.take()
      if (frame === NO_FRAME) return
      const index = burst.count
      burst.starts[index] = frames.take(frame)
      burst.lengths[index] = frames.length
      burst.ports[index] = frames.port
      burst.count = index + 1
      this.taken++
    }
  }
}
