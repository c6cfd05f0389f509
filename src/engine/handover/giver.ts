/**
 * The side of a hand-over that has the sockets: a housekeeping task of the worker that listens for a
 * successor, describes what it has, and at a burst boundary lets go of it. Ports are not attached or
 * detached while a successor gets ready (`isOffering`).
 */
import { ChannelListener, type DescriptorChannel } from 'xdp-socket-napi'
import { assert } from '../../base/assert.js'
import type { Burst } from '../../packet/burst.js'
import type { XskExchange } from '../../port/xsk-exchange.js'
import type { Housekeeping } from '../burst-loop.js'
import {
  ANSWER_MILLISECONDS,
  type FromGiver,
  type FromTaker,
  HANDOVER_VERSION,
  type Hello,
  handoverPath,
} from './messages.js'

/** Between two looks for what a successor says; each is a system call. */
const LOOK_MILLISECONDS = 10
/** Between two looks whether there is one, which take as long as a hundred packets. */
const LISTEN_MILLISECONDS = 400
/** Of one step: a port has a dozen descriptors. */
const OFFERS_PER_STEP = 4
const PORTS_PER_MESSAGE = 64
/** For a successor that is slow to take the last messages: packets wait meanwhile. */
const LAST_TRIES = 20
const LAST_PAUSE_MILLISECONDS = 1

export interface GiverOptions {
  readonly stateDirectory: string
  readonly worker: number
  /** Of this datapath: with several, none hands over alone. */
  readonly workers: number
  readonly exchange: XskExchange
  /** That of every exchange; between two steps of housekeeping its frames are decided on. */
  readonly burst: Burst
  /** Brings the shared maps up to date, before others go on with them. */
  readonly settle: () => void
  readonly log: (line: string) => void
}

export class HandoverGiver implements Housekeeping {
  readonly #options: GiverOptions
  readonly #listener: ChannelListener
  #channel: DescriptorChannel | undefined
  /** Ports that the successor has yet to be told of. */
  #unsaid: number[] = []
  #nextLook = 0
  #deadline = 0
  #successor = 0
  #isOver = false
  /** True while there is something to say: the worker then does not sleep. */
  hasMore = false

  constructor(options: GiverOptions) {
    this.#options = options
    this.#listener = new ChannelListener(handoverPath(options.stateDirectory, options.worker))
  }

  /** Nothing may be attached or detached: it has been, or is being, described. */
  get isOffering(): boolean {
    return this.#channel !== undefined
  }

  /** Another process has the ports; this one must not touch anything any more. */
  get isOver(): boolean {
    return this.#isOver
  }

  /** The process that has them. */
  get successor(): number {
    return this.#successor
  }

  step(): void {
    const now = performance.now()
    if (!this.hasMore && now < this.#nextLook) return
    this.#nextLook = now + (this.#channel === undefined ? LISTEN_MILLISECONDS : LOOK_MILLISECONDS)
    if (this.#channel === undefined) {
      this.#channel = this.#listener.accept()
      this.#deadline = now + ANSWER_MILLISECONDS
      return
    }
    try {
      this.#converse(this.#channel, now)
    } catch (error) {
      assert(!this.#isOver, 'a hand-over failed after its end')
      this.#giveUp(error instanceof Error ? error.message : String(error))
    }
  }

  close(): void {
    this.#channel?.close()
    this.#listener.close()
  }

  #converse(channel: DescriptorChannel, now: number): void {
    if (this.#unsaid.length > 0) this.#describePorts(channel)
    const message = channel.receive(0)
    if (message === undefined) {
      if (now > this.#deadline) throw new Error('the successor has said nothing for too long')
      return
    }
    this.#deadline = now + ANSWER_MILLISECONDS
    const said = JSON.parse(message.text) as FromTaker
    if (said.type === 'hello') this.#describe(channel, said)
    else if (said.type === 'ready' && this.#unsaid.length === 0) this.#pass(channel)
  }

  #describe(channel: DescriptorChannel, hello: Hello): void {
    const { exchange } = this.#options
    const reason = this.#refusal(hello)
    if (reason !== undefined) {
      say(channel, { type: 'refused', reason })
      throw new Error(reason)
    }
    this.#successor = hello.pid
    this.#unsaid = exchange.attachedPorts
    const { memory } = exchange
    const portCount = this.#unsaid.length
    say(channel, { type: 'memory', ...memory, portCount }, Int32Array.of(exchange.memoryDescriptor))
    this.hasMore = portCount > 0
    // A rehearsal: code that has never run is slow, and at the end packets wait for it.
    this.#options.settle()
    exchange.audit()
  }

  #refusal(hello: Hello): string | undefined {
    const { frameCount } = this.#options.exchange.memory
    if (this.#options.workers > 1) return 'it has several workers, whose ports are attached anew'
    if (hello.version !== HANDOVER_VERSION) {
      return `it speaks version ${hello.version} of the hand-over, and this one ${HANDOVER_VERSION}`
    }
    if (hello.frameCount === frameCount) return undefined
    return `it is to have ${hello.frameCount} frames, and there are ${frameCount}`
  }

  #describePorts(channel: DescriptorChannel): void {
    for (let said = 0; said < OFFERS_PER_STEP && this.#unsaid.length > 0; said++) {
      const port = this.#unsaid.at(-1) as number
      const [description, descriptors] = this.#options.exchange.describe(port)
      if (!channel.send(JSON.stringify({ type: 'port', ...description }), descriptors)) break
      this.#unsaid.pop()
    }
    this.hasMore = this.#unsaid.length > 0
  }

  /** The word. Until it is sent nothing has been given up; afterwards nothing is touched. */
  #pass(channel: DescriptorChannel): void {
    const { exchange, burst, settle } = this.#options
    exchange.exchange(burst, 0)
    const stoppedNanoseconds = `${process.hrtime.bigint()}`
    settle()
    const { free, onRings, inBurst, socketsWrong } = exchange.audit()
    const isSound =
      inBurst === 0 && socketsWrong === 0 && free + onRings === exchange.memory.frameCount
    assert(isSound, `frames before a hand-over: ${free} free, ${onRings} on rings`)
    const ports = exchange.attachedPorts
    for (let i = 0; i < ports.length; i += PORTS_PER_MESSAGE) {
      const some = ports.slice(i, i + PORTS_PER_MESSAGE).map((port) => exchange.counters(port))
      say(channel, { type: 'counters', ports: some })
    }
    say(channel, { type: 'yours', free, onRings, stoppedNanoseconds })
    this.#isOver = true
    this.hasMore = true
    exchange.handOver()
    this.close()
  }

  #giveUp(reason: string): void {
    this.#options.log(`not handed over: ${reason}`)
    this.#channel?.close()
    this.#channel = undefined
    this.#unsaid = []
    this.hasMore = false
  }
}

/** Throws when it does not get through. */
function say(channel: DescriptorChannel, message: FromGiver, descriptors?: Int32Array): void {
  const text = JSON.stringify(message)
  const pause = new Int32Array(new SharedArrayBuffer(4))
  for (let tries = 0; tries < LAST_TRIES; tries++) {
    if (channel.send(text, descriptors)) return
    Atomics.wait(pause, 0, 0, LAST_PAUSE_MILLISECONDS)
  }
  throw new Error('the successor does not listen')
}
