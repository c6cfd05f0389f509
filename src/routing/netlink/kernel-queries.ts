/**
 * Questions to the kernel over a netlink socket of their own, apart from the one that hears of
 * changes: so that an answer is never mixed with news.
 *
 * A dump is made while it is read: the kernel has the next part ready whenever we ask, and reading
 * never waits.
 */
import { type Message, messagesIn, u32 } from './message.js'
import { MessageFlag, MessageType } from './numbers.js'
import { dumpRequest, useNeighbourRequest } from './requests.js'

/** A NetlinkSocket, or a test's. */
export interface NetlinkEnd {
  send(message: Uint8Array): void
  /** Null when there is nothing; the bytes are good until the next call. */
  receive(): Uint8Array | null
  close(): void
}

/** A dump is made anew when the tables changed meanwhile, so often at most. */
const ATTEMPTS_MAX = 8

const Outcome = { MORE: 0, DONE: 1, FAILED: 2 } as const
type Outcome = (typeof Outcome)[keyof typeof Outcome]

export class KernelQueries {
  readonly #socket: NetlinkEnd
  #sequence = 1
  #wasInterrupted = false

  constructor(socket: NetlinkEnd) {
    this.#socket = socket
  }

  /**
   * All objects of one kind, in the kernel's order; null when it refused.
   *
   * @param type a GET_ of MessageType
   * @param read answers null for what is not wanted
   */
  dump<T>(type: number, read: (body: DataView) => T | null): readonly T[] | null {
    for (let attempt = 1; ; attempt++) {
      const objects: T[] = []
      if (!this.#dumpOnce(type, read, objects)) return null
      // The last one is taken as it is: what changed meanwhile is in the news.
      if (!this.#wasInterrupted || attempt === ATTEMPTS_MAX) return objects
    }
  }

  /** As if a packet had been sent to the neighbour: the kernel resolves or confirms it. */
  useNeighbour(linkIndex: number, address: number): void {
    this.#drain()
    this.#socket.send(useNeighbourRequest(linkIndex, address, this.#sequence++))
  }

  close(): void {
    this.#socket.close()
  }

  #dumpOnce<T>(type: number, read: (body: DataView) => T | null, objects: T[]): boolean {
    this.#drain()
    this.#wasInterrupted = false
    const sequence = this.#sequence++
    this.#socket.send(dumpRequest(type, sequence))
    for (;;) {
      const datagram = this.#socket.receive()
      if (datagram === null) return false
      for (const message of messagesIn(datagram)) {
        if (message.sequence !== sequence) continue
        const outcome = this.#take(message, read, objects)
        if (outcome !== Outcome.MORE) return outcome === Outcome.DONE
      }
    }
  }

  #take<T>(message: Message, read: (body: DataView) => T | null, objects: T[]): Outcome {
    if ((message.flags & MessageFlag.DUMP_INTERRUPTED) !== 0) this.#wasInterrupted = true
    if (message.type === MessageType.ERROR) return Outcome.FAILED
    if (message.type === MessageType.DONE) {
      return u32(message.body, 0) === 0 ? Outcome.DONE : Outcome.FAILED
    }
    const object = read(message.body)
    if (object !== null) objects.push(object)
    return Outcome.MORE
  }

  /** What is left of earlier questions: errors about neighbours that could not be asked for. */
  #drain(): void {
    while (this.#socket.receive() !== null);
  }
}
