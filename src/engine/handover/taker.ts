/**
 * The side of a hand-over that gets the sockets: asks the present datapath's worker, maps and opens
 * everything while that one goes on, and takes its place with one word. Whatever goes wrong before
 * that word leaves the other one as it was.
 */
import {
  closeDescriptors,
  DescriptorChannel,
  type ReceivedMessage,
  XdpError,
  XdpErrorCode,
} from 'xdp-socket-napi'
import { assert } from '../../base/assert.js'
import type { Burst } from '../../packet/burst.js'
import type {
  MemoryDescription,
  PortCounters,
  PortDescription,
  XskPort,
} from '../../port/xsk-attachment.js'
import type { XskExchange } from '../../port/xsk-exchange.js'
import {
  ANSWER_MILLISECONDS,
  type FromGiver,
  type FromTaker,
  HANDOVER_VERSION,
  handoverPath,
  type MemoryOffer,
} from './messages.js'

const NO_LIMIT = -1
/** From `adopt`: what the device has is of another version. */
const EPROTO = 71

export interface TakerOptions {
  readonly stateDirectory: string
  readonly worker: number
  /** Without ports; it gets the memory of the other process. */
  readonly exchange: XskExchange
}

export interface TakenPort {
  readonly description: PortDescription
  readonly made: XskPort
}

/** The present datapath cannot hand over, and says so; it goes on. */
export class HandoverRefused extends Error {}

/** Everything is open and mapped here, and still the other process's. */
export class HandoverTaker {
  readonly exchange: XskExchange
  readonly ports: readonly TakenPort[]
  readonly #channel: DescriptorChannel
  readonly #counters: PortCounters[] = []

  private constructor(
    channel: DescriptorChannel,
    exchange: XskExchange,
    ports: readonly TakenPort[],
  ) {
    this.#channel = channel
    this.exchange = exchange
    this.ports = ports
  }

  /**
   * Blocks the thread for as long as it takes.
   *
   * @throws HandoverRefused when the other side refuses; any other error leaves it as it was, too
   */
  static prepare(options: TakerOptions): HandoverTaker {
    const { stateDirectory, worker, exchange } = options
    const { frameCount } = exchange.memory
    const channel = DescriptorChannel.connect(handoverPath(stateDirectory, worker))
    try {
      say(channel, { type: 'hello', version: HANDOVER_VERSION, pid: process.pid, frameCount })
      const portCount = openMemory(exchange, hear(channel))
      const ports: TakenPort[] = []
      while (ports.length < portCount) ports.push(openPort(exchange, hear(channel)))
      return new HandoverTaker(channel, exchange, ports)
    } catch (error) {
      channel.close()
      throw error
    }
  }

  /**
   * Says that all is ready, and waits for the word. The ports are ours when it returns, with every
   * frame accounted for. Throws when the other side goes away instead; it may be dead.
   *
   * @returns CLOCK_MONOTONIC, in nanoseconds, when the other process had sent its last burst
   */
  take(burst: Burst): bigint {
    try {
      this.exchange.prepare(burst)
      say(this.#channel, { type: 'ready' })
      for (;;) {
        // Without a limit: to go away now could cross with the word. If the other one ends, so does
        // the channel.
        const said = JSON.parse(hear(this.#channel, NO_LIMIT).text) as FromGiver
        if (said.type === 'counters') this.#counters.push(...said.ports)
        else if (said.type === 'yours') {
          this.#begin(said.free, said.onRings)
          return BigInt(said.stoppedNanoseconds)
        }
      }
    } finally {
      this.#channel.close()
    }
  }

  /** Hears and says no more. */
  close(): void {
    this.#channel.close()
  }

  #begin(free: number, onRings: number): void {
    const audit = this.exchange.resume()
    const isSame = audit.free === free && audit.onRings === onRings && audit.inBurst === 0
    assert(
      isSame && audit.socketsWrong === 0,
      `frames after a hand-over: ${audit.free} free, ${audit.onRings} on rings, ` +
        `${audit.inBurst} nobody’s; before it ${free} and ${onRings}`,
    )
    for (const counters of this.#counters) this.exchange.countOn(counters)
  }
}

/** @returns how many ports follow */
function openMemory(exchange: XskExchange, message: ReceivedMessage): number {
  try {
    const said = JSON.parse(message.text) as FromGiver
    if (said.type === 'refused') throw new HandoverRefused(said.reason)
    const offer = said as MemoryOffer
    if (!isCutAlike(offer, exchange.memory)) {
      throw new HandoverRefused('the packet memory is cut otherwise')
    }
    const [descriptor = -1] = message.descriptors
    exchange.adoptMemory(descriptor)
    return offer.portCount
  } finally {
    closeDescriptors(message.descriptors)
  }
}

const isCutAlike = (a: MemoryDescription, b: MemoryDescription): boolean =>
  a.frameCount === b.frameCount &&
  a.strideBytes === b.strideBytes &&
  a.headroomBytes === b.headroomBytes

function openPort(exchange: XskExchange, message: ReceivedMessage): TakenPort {
  const description = JSON.parse(message.text) as PortDescription
  try {
    return { description, made: exchange.adopt(description, message.descriptors) }
  } catch (error) {
    const why = whyNotAdopted(error)
    if (why === undefined) throw error
    throw new HandoverRefused(`${description.device} ${why}`)
  } finally {
    closeDescriptors(message.descriptors)
  }
}

/** Why a port cannot be adopted that can be attached anew; undefined if the error says nothing of that. */
function whyNotAdopted(error: unknown): string | undefined {
  const cause = error instanceof Error ? error.cause : undefined
  const isAdoption = cause instanceof XdpError && cause.syscall === 'adopt'
  if (!isAdoption || cause.code !== XdpErrorCode.UNSUPPORTED) return undefined
  return cause.errno === EPROTO
    ? 'has another version of the steering program'
    : 'has sockets that this kernel cannot hand over (Linux 6.4 and later can)'
}

function say(channel: DescriptorChannel, message: FromTaker): void {
  if (!channel.send(JSON.stringify(message))) throw new Error('the other datapath does not listen')
}

function hear(channel: DescriptorChannel, milliseconds = ANSWER_MILLISECONDS): ReceivedMessage {
  const message = channel.receive(milliseconds)
  if (message !== undefined) return message
  throw new Error(`the other datapath says nothing for ${ANSWER_MILLISECONDS / 1000} s`)
}
