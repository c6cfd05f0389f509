/**
 * The frame exchange over AF_XDP: devices as ports, all queues of each, on one UMEM, one native
 * call a burst (kernel: Documentation/networking/af_xdp.rst; the rings are in xdp-socket-napi).
 *
 * Ports are attached and detached at run time, by the thread that calls `exchange`. A port that is not attached takes no frames:
 * those sent to it are counted drops. What the uplink program steers here is set through `program`.
 */
import {
  type Audit,
  BurstWord,
  Poller,
  type SteeringMode,
  Umem,
  type XdpProgram,
} from 'xdp-socket-napi'
import { assert } from '../base/assert.js'
import { ErrorCode, RingpathError } from '../base/errors.js'
import { PORTS_MAX } from '../base/limits.js'
import { Burst } from '../packet/burst.js'
import { FrameChains } from '../packet/frame-chains.js'
import { FramePool } from '../packet/frame-pool.js'
import { DetachedCounts } from './detached-counts.js'
import { type FrameExchange, NOTHING_COUNTED, type PortStatistics, type RingState } from './port.js'
import { dropUndeliverable } from './undeliverable.js'
import type { WorkerTeam } from './worker-team.js'
import {
  type Attachment,
  type AttachmentOptions,
  addCounters,
  adoptAttachment,
  attaching,
  describeAttachment,
  descriptorsOf,
  isDeviceGone,
  type MemoryDescription,
  openAttachment,
  type PortCounters,
  type PortDescription,
  releaseAttachment,
  ringsOf,
  runAll,
  type XskPort,
} from './xsk-attachment.js'

const DEFAULT_FRAME_COUNT = 4096

export interface XskExchangeOptions extends AttachmentOptions {
  /** 1 to 1,048,576, 2 GiB in all; half may wait on receive rings. 4096 unless told. */
  readonly frameCount?: number
  /** From one frame to the next: 2048 to 4096, 2112 unless told; the kernel may force 2048. */
  readonly strideBytes?: number
  /** Kept free before a frame beyond the kernel's 256 bytes; 0 unless told. */
  readonly headroomBytes?: number
  /** Of one of several workers; absent: it is the only one. */
  readonly team?: WorkerTeam
}

export class XskExchange implements FrameExchange {
  readonly umem: ArrayBufferLike
  readonly stride: number
  readonly chains: FrameChains
  readonly portNames: string[] = []
  readonly #options: XskExchangeOptions
  readonly #umem: Umem
  readonly #team: WorkerTeam | undefined
  readonly #attachments: (Attachment | null)[] = []
  /** Sockets by port: 0 is a port that takes no frames. */
  readonly #queueCounts = new Int32Array(PORTS_MAX)
  readonly #detached = new DetachedCounts()
  #pool: FramePool
  #poller: Poller | null = null
  #burst: Burst | null = null
  #isClosed = false
  #isAdopting = false

  /**
   * Throws EPORT_ATTACH when the packet memory cannot be had (rights, locked memory, no AF_XDP);
   * `cause` tells.
   */
  constructor(options: XskExchangeOptions = {}) {
    this.#options = options
    this.#team = options.team
    const { strideBytes, headroomBytes } = options
    this.#umem = attaching('the packet memory', () => {
      const given = {
        frameCount: options.frameCount ?? DEFAULT_FRAME_COUNT,
        ...(strideBytes === undefined ? {} : { strideBytes }),
        ...(headroomBytes === undefined ? {} : { headroomBytes }),
      }
      return new Umem(given)
    })
    this.umem = this.#umem.buffer
    this.stride = this.#umem.strideBytes
    this.#pool = new FramePool(this.#umem.poolWords)
    this.chains = new FrameChains(this.#umem.chainWords, this.stride)
    this.#team?.useMemory(this.umem, this.stride)
  }

  /** After `close` a copy, whose count can still be asked for; the memory itself is gone then. */
  get pool(): FramePool {
    return this.#pool
  }

  get framesOnRings(): number {
    return this.#isClosed || this.#poller === null ? 0 : this.#poller.framesOnRings
  }

  /** For `wakePoller` in other threads, which ends a `wait`; from the first exchange to `close`. */
  get wakeFd(): number {
    assert(this.#poller !== null && !this.#isClosed, 'wakeFd outside first exchange to close')
    return this.#poller.wakeFd
  }

  /** Of a port, to tell an uplink what is ours; null when it is not attached. */
  program(port: number): XdpProgram | null {
    return this.#attachments[port]?.program ?? null
  }

  /** Ports whose device vanished (a deleted pod takes its veth along): to be detached, for their frames. */
  lostPorts(): number[] {
    const burst = this.#burst
    if (burst === null || burst.words[BurstWord.SOCKETS_DOWN] === 0) return []
    const lost: number[] = []
    for (const [port, attachment] of this.#attachments.entries()) {
      if (attachment !== null && isDeviceGone(attachment)) lost.push(port)
    }
    return lost
  }

  /**
   * Takes a device of the current network namespace into the next exchange, with all its receive
   * queues. Throws EPORT_ATTACH, with nothing left attached, and the native error as its cause;
   * EPORT_LIMIT when there is no such port number.
   */
  attach(port: number, device: string, mode: SteeringMode): XskPort {
    const made = this.#open(port, device, mode, null)
    this.#team?.ports.offer(port, this.#attachmentOf(port).program.descriptors)
    return made
  }

  /**
   * The same for this worker's queues of a device that the first one has attached.
   *
   * @param program its descriptors
   */
  join(port: number, device: string, mode: SteeringMode, program: Int32Array): void {
    this.#open(port, device, mode, program)
  }

  #open(port: number, device: string, mode: SteeringMode, program: Int32Array | null): XskPort {
    assert(!this.#isClosed, 'attach after close')
    if (!Number.isInteger(port) || port < 0 || port >= PORTS_MAX) {
      throw new RingpathError(ErrorCode.PORT_LIMIT, `port ${port} is not 0 to ${PORTS_MAX - 1}`)
    }
    const current = this.#attachments[port] ?? null
    const subject = `port ${port} (${device}, ${mode})`
    if (current !== null) {
      const message = `${subject}: the port is ${current.device} already; detach it first`
      throw new RingpathError(ErrorCode.PORT_ATTACH, message)
    }
    const share = this.#team?.share(program)
    const attachment = attaching(subject, () =>
      openAttachment(this.#umem, this.#poller, port, device, mode, this.#options, share),
    )
    return this.#keep(port, attachment)
  }

  /** How the memory is cut, for another process; `memoryDescriptor` goes with it. */
  get memory(): MemoryDescription {
    const { frameCount, strideBytes, headroomBytes } = this.#umem
    return { frameCount, strideBytes, headroomBytes }
  }

  get memoryDescriptor(): number {
    return this.#umem.descriptor
  }

  /** The memory, and ports if there are any, are another process's, until `resume`. */
  get isAdopting(): boolean {
    return this.#isAdopting
  }

  /** Numbers of the ports that are attached. */
  get attachedPorts(): number[] {
    return [...this.#attachments.keys()].filter((port) => this.#attachments[port] !== null)
  }

  /** A port for another process to `adopt`, with the descriptors that go with it. */
  describe(port: number): [PortDescription, Int32Array] {
    const attachment = this.#attachmentOf(port)
    return [{ port, ...describeAttachment(attachment, this.#options) }, descriptorsOf(attachment)]
  }

  counters(port: number): PortCounters {
    const { sockets } = this.#attachmentOf(port)
    const counters = sockets.map((socket) => socket.ledger().counters)
    return { port, undelivered: this.#detached.undelivered[port] ?? 0, sockets: counters }
  }

  /**
   * Maps the memory of another process, which has to be cut alike, over its own, at the same addresses:
   * buffers and compiled code over it stay right. There must be no ports yet. Throws EPORT_ATTACH.
   *
   * @param descriptor is duplicated
   */
  adoptMemory(descriptor: number): void {
    assert(this.attachedPorts.length === 0, 'adopted memory for ports that it has')
    this.#poller?.close()
    this.#poller = null
    this.#isAdopting = true
    attaching('the packet memory', () => this.#umem.adopt(descriptor))
  }

  /** A port that another process uses until the first exchange. Throws as `attach`. */
  adopt(description: PortDescription, descriptors: Int32Array): XskPort {
    assert(this.#isAdopting && this.#poller === null, 'adopted after the first exchange')
    const { port, device, mode } = description
    const attachment = attaching(`port ${port} (${device}, ${mode})`, () =>
      adoptAttachment(this.#umem, description, descriptors, this.#options),
    )
    return this.#keep(port, attachment)
  }

  /** Counts on from what the process before had counted, now that it has stopped. */
  countOn({ port, undelivered, sockets }: PortCounters): void {
    this.#detached.undelivered[port] = undelivered
    for (const [queue, counters] of sockets.entries()) {
      this.#attachmentOf(port).sockets[queue]?.setCounters(counters)
    }
  }

  /** Makes adopted ports ready for `resume`. The burst is that of all exchanges. */
  prepare(burst: Burst): void {
    assert(this.#isAdopting, 'prepared what was not adopted')
    this.#poller = this.#start(burst)
  }

  /** The process before has stopped: its ports are ours from now on. */
  resume(): Audit {
    assert(this.#isAdopting && this.#poller !== null, 'resumed what was not prepared')
    this.#isAdopting = false
    this.#poller.resume()
    return this.#poller.audit()
  }

  /** Whose each frame is, by the ledger; for a hand-over, before and after. */
  audit(): Audit {
    assert(this.#poller !== null, 'audit before the first exchange')
    return this.#poller.audit()
  }

  /**
   * Another process has memory, sockets and programs now, or never gave them away: lets go of them
   * here, and changes nothing. The burst has to be empty.
   */
  handOver(): void {
    const attached = this.#attachments.filter((attachment) => attachment !== null)
    // A successor that gave up before `prepare` has no poller yet, and needs one to let go of its sockets.
    const poller = this.#poller ?? this.#start(new Burst(1))
    this.#isClosed = true
    this.#team?.peers.setWakeFd(0)
    runAll([
      () => poller.handOver(),
      ...attached.map(
        ({ program }) =>
          () =>
            program.release(),
      ),
      () => this.#umem.close(),
    ])
  }

  /**
   * Stops receiving, waits (bounded) for frames being sent, takes every frame back and the program
   * off the device.
   */
  detach(port: number): void {
    const attachment = this.#attachments[port] ?? null
    assert(attachment !== null, `port ${port} is not attached`)
    const isJoined = this.#team !== undefined && !this.#team.isFirst
    if (!isJoined) this.#team?.ports.withdraw(port)
    this.#forget(port)
    releaseAttachment(attachment.program, attachment.sockets, isJoined)
  }

  /**
   * Chooses the burst of all exchanges, which the first exchange does otherwise: V8 compiles `exchange`
   * without what only the first one does, and would have to compile it again.
   */
  begin(burst: Burst): void {
    this.#poller ??= this.#start(burst)
  }

  exchange(burst: Burst, maxReceive = burst.capacity): number {
    const poller = this.#poller ?? this.#start(burst)
    assert(!this.#isAdopting, 'exchanged frames that another process has')
    assert(burst === this.#burst, 'an XskExchange works on one burst, that of its first exchange')
    this.#team?.pass(burst, this.#queueCounts, this.#pool)
    // A stage may have chosen a port that has gone since, or that could not be attached.
    dropUndeliverable(burst, this.#queueCounts, this.#detached.undelivered)
    return poller.exchange(maxReceive)
  }

  wait(timeoutMilliseconds: number): boolean {
    const team = this.#team
    team?.peers.fallAsleep()
    const isReady = team?.isWaiting !== true && this.#poller?.wait(timeoutMilliseconds) === true
    team?.peers.awake()
    return isReady && this.#burst?.words[BurstWord.WOKEN] === 1
  }

  /** Ends this `wait`, or the next one at once. */
  wake(): void {
    this.#poller?.wake()
  }

  statistics(portIndex: number): PortStatistics {
    const sockets = this.#attachments[portIndex]?.sockets
    if (sockets === undefined) return this.#detached.statistics(portIndex)
    const total = { ...NOTHING_COUNTED }
    for (const socket of sockets) addCounters(total, socket)
    total.sendDropped += this.#detached.undelivered[portIndex] ?? 0
    return total
  }

  hasCounted(portIndex: number): boolean {
    return this.#detached.has(portIndex)
  }

  rings(portIndex: number): RingState | undefined {
    return ringsOf(this.#attachments[portIndex]?.sockets)
  }

  /**
   * Pinned programs stay on their devices. Throws, after all is released, when a frame did not come
   * back or a program could not be detached.
   */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#team?.peers.setWakeFd(0)
    const attached = this.#attachments.filter((attachment) => attachment !== null)
    for (const port of this.#attachments.keys()) this.#forget(port)
    runAll([
      () => this.#poller?.close(),
      ...attached.map(
        ({ program, sockets }) =>
          () =>
            releaseAttachment(program, sockets, true),
      ),
      () => {
        this.#pool = new FramePool(this.#umem.poolWords.slice())
        this.#umem.close()
      },
    ])
  }

  #attachmentOf(port: number): Attachment {
    const attachment = this.#attachments[port] ?? null
    assert(attachment !== null, `port ${port} is not attached`)
    return attachment
  }

  #keep(port: number, attachment: Attachment): XskPort {
    while (this.portNames.length <= port) {
      this.portNames.push('')
      this.#attachments.push(null)
    }
    this.#attachments[port] = attachment
    this.#queueCounts[port] = attachment.sockets.length
    this.#detached.begin(port)
    this.portNames[port] = attachment.device
    const { program: _program, sockets: _sockets, ...made } = attachment
    return made
  }

  /** Before its sockets close: what a port has counted can still be asked for afterwards. */
  #forget(port: number): void {
    this.#detached.end(port, this.statistics(port))
    this.#attachments[port] = null
    this.#queueCounts[port] = 0
    this.portNames[port] = ''
  }

  #start(burst: Burst): Poller {
    assert(!this.#isClosed, 'exchange after close')
    this.#burst = burst
    const poller = new Poller({ umem: this.#umem, burstWords: burst.words })
    for (const [port, attachment] of this.#attachments.entries()) {
      for (const socket of attachment?.sockets ?? []) {
        if (this.#isAdopting) poller.addAdopted(socket, port)
        else poller.addSocket(socket, port)
      }
    }
    this.#poller = poller
    this.#team?.peers.setWakeFd(poller.wakeFd)
    return poller
  }
}
