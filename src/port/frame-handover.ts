/**
 * Frames for a port that this worker has no queue of: a device with fewer queues than there are
 * workers. They are copied to the worker that has one, by a ring for each pair of workers, and sent
 * from its own packet memory. It costs two copies and wakes a sleeping worker; a device with a queue
 * for each worker never comes here (docs/adr/0015).
 *
 * A full ring is a counted drop of the giver's. Not here: waiting, and order between two givers.
 */
import type { WorkerPeers } from './worker-peers.js'

const STRIDE_BYTES_MAX = 4096
/** Frames that one worker may be ahead of another. */
const SLOTS = 64
/** Cursors of giver and taker, each on a line of its own; they only grow, and wrap. */
const GIVEN = 0
const TAKEN = 16
const FRAMES = 32
/** A frame: port, length in bytes, where in its first word it begins, and its words. */
const PORT = 0
const LENGTH = 1
const OFFSET = 2
const DATA = 3

/** From `take`: none waits. */
const NONE_WAITS = -1

/** Words for a frame as large as it can be: the largest stride, from an odd place on. */
const FRAME_WORDS = DATA + STRIDE_BYTES_MAX / 4 + 1
const RING_WORDS = FRAMES + SLOTS * FRAME_WORDS

export class FrameHandover {
  readonly #words: Int32Array
  readonly #peers: WorkerPeers
  #memory: Int32Array = new Int32Array()
  #strideBytes = 0
  /** Givers of frames to this worker take turns. */
  #next = 0
  /** Of the last frame taken. */
  port = 0
  length = 0

  /** @param buffer `bytesFor` bytes, the same for all workers */
  constructor(buffer: SharedArrayBuffer, peers: WorkerPeers) {
    this.#words = new Int32Array(buffer)
    this.#peers = peers
  }

  static bytesFor(workers: number): number {
    return workers * workers * RING_WORDS * Int32Array.BYTES_PER_ELEMENT
  }

  /** @param umem packet memory of this worker, frames of `strideBytes` in it */
  useMemory(umem: ArrayBufferLike, strideBytes: number): void {
    this.#memory = new Int32Array(umem)
    this.#strideBytes = strideBytes
  }

  /**
   * Copies a frame for the port to another worker; false when its ring is full, or the packet has
   * several buffers.
   */
  give(worker: number, port: number, start: number, length: number): boolean {
    if ((start % this.#strideBytes) + length > this.#strideBytes) return false
    const words = this.#words
    const ring = this.#ring(this.#peers.place.index, worker)
    const given = words[ring + GIVEN] as number
    if (((given - Atomics.load(words, ring + TAKEN)) | 0) >= SLOTS) return false
    const slot = this.#slot(ring, given)
    const offset = start & 3
    words[slot + PORT] = port
    words[slot + LENGTH] = length
    words[slot + OFFSET] = offset
    copyWords(this.#memory, start >> 2, words, slot + DATA, wordsOf(offset, length))
    Atomics.store(words, ring + GIVEN, (given + 1) | 0)
    return true
  }

  /** A frame waits for this worker. */
  get isWaiting(): boolean {
    const { index, of } = this.#peers.place
    for (let giver = 0; giver < of; giver++) if (this.#waits(giver, index)) return true
    return false
  }

  /**
   * Copies a frame that waits into one of this worker's own and sets `port` and `length`.
   *
   * @param frameStart first byte of a free frame
   * @returns where in it the packet begins, or NONE_WAITS
   */
  take(frameStart: number): number {
    const { index, of } = this.#peers.place
    for (let i = 0; i < of; i++) {
      const giver = this.#next
      this.#next = giver + 1 < of ? giver + 1 : 0
      if (this.#waits(giver, index)) return this.#takeFrom(this.#ring(giver, index), frameStart)
    }
    return NONE_WAITS
  }

  #takeFrom(ring: number, frameStart: number): number {
    const words = this.#words
    const taken = words[ring + TAKEN] as number
    const slot = this.#slot(ring, taken)
    const offset = words[slot + OFFSET] as number
    const length = words[slot + LENGTH] as number
    this.port = words[slot + PORT] as number
    this.length = length
    const count = wordsOf(offset, length)
    // At the frame's end, for nobody adds anything behind the packet.
    const base = frameStart + this.#strideBytes - 4 * count
    copyWords(words, slot + DATA, this.#memory, base >> 2, count)
    Atomics.store(words, ring + TAKEN, (taken + 1) | 0)
    return base + offset
  }

  #waits(giver: number, taker: number): boolean {
    if (giver === taker) return false
    const ring = this.#ring(giver, taker)
    const words = this.#words
    return words[ring + TAKEN] !== Atomics.load(words, ring + GIVEN)
  }

  #ring(giver: number, taker: number): number {
    return (giver * this.#peers.place.of + taker) * RING_WORDS
  }

  #slot(ring: number, cursor: number): number {
    return ring + FRAMES + (cursor & (SLOTS - 1)) * FRAME_WORDS
  }
}

const wordsOf = (offset: number, length: number): number => (offset + length + 3) >> 2

function copyWords(
  from: Int32Array,
  fromStart: number,
  to: Int32Array,
  toStart: number,
  count: number,
): void {
  for (let i = 0; i < count; i++) to[toStart + i] = from[fromStart + i] as number
}
