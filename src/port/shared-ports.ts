/**
 * The ports of a datapath with several workers, in memory that its threads share. The first worker
 * attaches a device and its program, and offers it; the others open sockets on queues of their own,
 * put them into that program, and answer. Each attachment has a number of its own, so that no answer
 * is taken for one to another.
 *
 * Queue q of port p is worker (p + q) mod n's: with as many queues as workers each has one of every
 * port, and pods that send by one queue are spread over the workers.
 *
 * Also here: whom to hand a frame that this worker has no queue for.
 */
import { PORTS_MAX, WORKERS_MAX } from '../base/limits.js'
import type { WorkerPeers } from './worker-peers.js'

const DESCRIPTORS_MAX = 16
/** Words of a port. */
const OFFER = 0
const DESCRIPTOR_COUNT = 1
const DESCRIPTORS = 2
/** By worker: the attachment that it has sockets for, 0 for none. */
const HELD = DESCRIPTORS + DESCRIPTORS_MAX
/** By worker: the attachment that it could not join, and why. */
const REFUSED = HELD + WORKERS_MAX
const ERRNO = REFUSED + WORKERS_MAX
const PORT_WORDS = ERRNO + WORKERS_MAX
/** Before the ports: how often something was offered or withdrawn, and the number given last. */
const CHANGES = 0
const NUMBER = 1
const HEADER_WORDS = 16

/** Nothing is offered. */
export const NO_OFFER = 0
/** From `workerFor`: nobody has the port. */
export const NOBODY = -1

/** How far the other workers are with an offered port. */
export const Joining = { PENDING: 0, DONE: 1, REFUSED: 2 } as const
export type Joining = (typeof Joining)[keyof typeof Joining]

export class SharedPorts {
  readonly #words: Int32Array
  readonly #peers: WorkerPeers
  readonly #index: number
  readonly #workers: number
  /** Of the last `joining` that was REFUSED. */
  refusal = 0

  constructor(buffer: SharedArrayBuffer, peers: WorkerPeers) {
    this.#words = new Int32Array(buffer)
    this.#peers = peers
    this.#index = peers.place.index
    this.#workers = peers.place.of
  }

  static bytesFor(): number {
    return (HEADER_WORDS + PORTS_MAX * PORT_WORDS) * Int32Array.BYTES_PER_ELEMENT
  }

  /** Is this queue of the port this worker's? */
  isOurs(port: number, queue: number): boolean {
    return (port + queue) % this.#workers === this.#index
  }

  /** The worker that sends what others have for the port, NOBODY while it is not attached. */
  workerFor(port: number): number {
    const isOffered = this.#words[rowOf(port) + OFFER] !== NO_OFFER
    const worker = port % this.#workers
    return isOffered && worker !== this.#index ? worker : NOBODY
  }

  /** Another number after each offer and withdrawal. */
  get changes(): number {
    return Atomics.load(this.#words, CHANGES)
  }

  /** First worker: the others may join. @param descriptors of the program, valid until `withdraw` */
  offer(port: number, descriptors: Int32Array): void {
    const words = this.#words
    const row = rowOf(port)
    words[row + DESCRIPTOR_COUNT] = descriptors.length
    words.set(descriptors, row + DESCRIPTORS)
    const number = ((words[NUMBER] as number) + 1) & 0x7fff_ffff || 1
    words[NUMBER] = number
    words[row + HELD + this.#index] = number
    Atomics.store(words, row + OFFER, number)
    this.#changed()
  }

  /** First worker: the port goes; the others leave it when they see that. */
  withdraw(port: number): void {
    const row = rowOf(port)
    this.#words[row + HELD + this.#index] = NO_OFFER
    Atomics.store(this.#words, row + OFFER, NO_OFFER)
    this.#changed()
  }

  /** First worker: how far the others are with what it offered. */
  joining(port: number): Joining {
    const words = this.#words
    const row = rowOf(port)
    const offer = words[row + OFFER]
    let joining: Joining = Joining.DONE
    for (let worker = 0; worker < this.#workers; worker++) {
      if (Atomics.load(words, row + REFUSED + worker) === offer) {
        this.refusal = words[row + ERRNO + worker] as number
        return Joining.REFUSED
      }
      if (Atomics.load(words, row + HELD + worker) !== offer) joining = Joining.PENDING
    }
    return joining
  }

  /** First worker: nobody has sockets on what was there before. */
  isFree(port: number): boolean {
    const row = rowOf(port)
    for (let worker = 0; worker < this.#workers; worker++) {
      if (Atomics.load(this.#words, row + HELD + worker) !== NO_OFFER) return false
    }
    return true
  }

  /** Others: the number of what is offered, NO_OFFER for nothing. */
  offered(port: number): number {
    return Atomics.load(this.#words, rowOf(port) + OFFER)
  }

  /** Others: what they have answered is asked again with each change, and needs no second answer. */
  isAnswered(port: number, offer: number): boolean {
    const row = rowOf(port)
    const words = this.#words
    return (
      words[row + HELD + this.#index] === offer ||
      (offer !== NO_OFFER && words[row + REFUSED + this.#index] === offer)
    )
  }

  descriptors(port: number): Int32Array {
    const start = rowOf(port) + DESCRIPTORS
    const count = this.#words[rowOf(port) + DESCRIPTOR_COUNT] as number
    return this.#words.slice(start, start + count)
  }

  /** Others: has sockets for the attachment of this number; NO_OFFER: for none. */
  hold(port: number, number: number): void {
    Atomics.store(this.#words, rowOf(port) + HELD + this.#index, number)
    this.#peers.wake(0)
  }

  /** Others: could not join. @param errno positive */
  refuse(port: number, number: number, errno: number): void {
    this.#words[rowOf(port) + ERRNO + this.#index] = errno
    Atomics.store(this.#words, rowOf(port) + REFUSED + this.#index, number)
    this.#peers.wake(0)
  }

  #changed(): void {
    Atomics.add(this.#words, CHANGES, 1)
    this.#peers.wakeOthers()
  }
}

const rowOf = (port: number): number => HEADER_WORDS + port * PORT_WORDS
