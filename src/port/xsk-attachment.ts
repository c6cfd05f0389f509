/**
 * One device of an XskExchange: its steering program and a socket on each receive queue; opened,
 * described for another process, adopted from one, and let go.
 */
import { join } from 'node:path'
import {
  type BusyPollOptions,
  deviceInfo,
  type Poller,
  PROGRAM_QUEUES_MAX,
  SocketCounter,
  type SteeringMode,
  setDeviceQueues,
  type Umem,
  XdpProgram,
  XdpSocket,
} from 'xdp-socket-napi'
import { ErrorCode, RingpathError } from '../base/errors.js'
import type { PortStatistics, RingState } from './port.js'

/**
 * Frames kept ready on each queue's fill ring: some 10 ms of a TCP sender at full MTU, as long as a
 * worker may be kept off its core. With the socket's own default of 512, iperf3 on two cores lost 2
 * % of its segments; with this none.
 */
const FILL_TARGET = 2048
const RING_SIZE = 2048

export interface AttachmentOptions {
  /** 'auto': native XDP, else generic. */
  readonly attachMode?: 'auto' | 'native' | 'generic'
  /** 'auto': zero copy where the driver can. */
  readonly zeroCopy?: 'auto' | 'never'
  readonly busyPoll?: BusyPollOptions
  /**
   * Directory in a bpffs under which each device's program is pinned, and stays when the exchange
   * closes; absent: programs go with the process.
   */
  readonly pinDirectory?: string
}

/** What became of an attachment. */
export interface XskPort {
  readonly device: string
  readonly mode: SteeringMode
  readonly queueCount: number
  readonly isNative: boolean
  readonly isZeroCopy: boolean
  /**
   * Why it is generic XDP, copy mode, or not pinned, in the words of the native package; empty when
   * it is none of these.
   */
  readonly reason: string
  /** The program was on the device before: pinned by an earlier process, or handed over by it. */
  readonly isTakenOver: boolean
  /** Frames that the program has dropped since it came to the device. */
  readonly programDropped: number
}

export interface Attachment extends XskPort {
  readonly program: XdpProgram
  readonly sockets: readonly XdpSocket[]
}

/** An attachment in words, for the process that goes on with it; its descriptors go beside it. */
export interface AttachmentDescription {
  readonly device: string
  readonly mode: SteeringMode
  readonly pinDirectory: string
  readonly ringSize: number
  /** Of each socket: its queue, and its owner tag in the ledger of the UMEM. */
  readonly queues: readonly number[]
  readonly tags: readonly number[]
}

/** The packet memory of another process: its descriptor, and how it is cut. */
export interface MemoryDescription {
  readonly frameCount: number
  readonly strideBytes: number
  readonly headroomBytes: number
}

/** A port of another process. */
export interface PortDescription extends AttachmentDescription {
  readonly port: number
}

/** What the process before knows of a port at the end. */
export interface PortCounters {
  readonly port: number
  readonly undelivered: number
  /** Of each socket. */
  readonly sockets: readonly (readonly number[])[]
}

/** What one of several workers has of a device. */
export interface AttachmentShare {
  /** Its queues, of so many. */
  queuesOf(port: number, queueCount: number): readonly number[]
  /** Queues that a device should have of each direction. */
  readonly queuesWanted: number
  /** The program that another worker attached; null: this one attaches it. */
  readonly program: Int32Array | null
}

/** The only worker has all of it. */
const WHOLE: AttachmentShare = {
  queuesOf: (_port, queueCount) => Array.from({ length: queueCount }, (_, queue) => queue),
  queuesWanted: 1,
  program: null,
}

/** Throws what the native package throws, with nothing left attached. */
export function openAttachment(
  umem: Umem,
  poller: Poller | null,
  port: number,
  device: string,
  mode: SteeringMode,
  options: AttachmentOptions,
  share = WHOLE,
): Attachment {
  if (share.program === null) provideQueues(device, share.queuesWanted)
  const queues = share.queuesOf(port, queueCountOf(device))
  const { attachMode = 'auto', pinDirectory } = options
  const pin = pinDirectory === undefined ? {} : { pinDirectory: pinOf(pinDirectory, device) }
  const program = XdpProgram.attach({ device, mode, attachMode, ...pin }, share.program)
  const sockets: XdpSocket[] = []
  try {
    for (const queue of queues) {
      const socket = new XdpSocket({ umem, device, queue, ...socketOptions(options, RING_SIZE) })
      sockets.push(socket)
      // Into the poller first: its fill ring has frames before the program sends it any.
      poller?.addSocket(socket, port)
      program.setSocket(queue, socket)
    }
  } catch (error) {
    releaseAttachment(program, sockets, program.isTakenOver)
    throw error
  }
  return attachment(device, mode, program, sockets)
}

/** The link and maps of its program, then its sockets. */
export function descriptorsOf({ program, sockets }: Attachment): Int32Array {
  return Int32Array.of(...program.descriptors, ...sockets.map(({ fd }) => fd))
}

export function describeAttachment(
  { device, mode, program, sockets }: Attachment,
  { pinDirectory }: AttachmentOptions,
): AttachmentDescription {
  const isPinned = pinDirectory !== undefined && program.isPinned
  return {
    device,
    mode,
    pinDirectory: isPinned ? pinOf(pinDirectory, device) : '',
    ringSize: RING_SIZE,
    queues: sockets.map(({ queue }) => queue),
    tags: sockets.map((socket) => socket.ledger().tag),
  }
}

/** Throws, with nothing left open; the other process keeps what is its own. */
export function adoptAttachment(
  umem: Umem,
  description: AttachmentDescription,
  descriptors: Int32Array,
  options: AttachmentOptions,
): Attachment {
  const { device, mode, pinDirectory, ringSize, queues, tags } = description
  const attachMode = options.attachMode ?? 'auto'
  const programDescriptors = descriptors.subarray(0, descriptors.length - tags.length)
  const program = XdpProgram.attach({ device, mode, attachMode, pinDirectory }, programDescriptors)
  const sockets: XdpSocket[] = []
  try {
    for (const [index, tag] of tags.entries()) {
      const descriptor = descriptors[programDescriptors.length + index] as number
      const queue = queues[index] as number
      const given = { umem, device, queue, ...socketOptions(options, ringSize) }
      sockets.push(new XdpSocket(given, { descriptor, tag }))
    }
  } catch (error) {
    program.release()
    for (const socket of sockets) socket.close()
    throw error
  }
  return attachment(device, mode, program, sockets)
}

/**
 * The sockets first: until the program goes, a pod's frames are dropped, not handed to the kernel.
 * A socket that is still in its poller leaves it in good order.
 *
 * @param keepsPinned a program that is pinned stays on its device
 */
export function releaseAttachment(
  program: XdpProgram,
  sockets: readonly XdpSocket[],
  keepsPinned: boolean,
): void {
  const steps: (() => void)[] = []
  for (const socket of sockets) steps.push(() => socket.close())
  steps.push(() => (keepsPinned && program.isPinned ? program.release() : program.detach()))
  runAll(steps)
}

/** Runs every step, whatever happens to those before it, and then throws the first error. */
export function runAll(steps: readonly (() => void)[]): void {
  const errors: unknown[] = []
  for (const step of steps) {
    try {
      step()
    } catch (error) {
      errors.push(error)
    }
  }
  if (errors.length > 0) throw errors[0]
}

export const isDeviceGone = ({ sockets }: Attachment): boolean =>
  sockets.some((socket) => socket.counts()[SocketCounter.DEVICE_GONE] !== 0)

/** State of the rings of a port's sockets together; of none where it has none. */
export function ringsOf(sockets: readonly XdpSocket[] | undefined): RingState | undefined {
  if (sockets === undefined) return undefined
  const total = {
    framesReceiving: 0,
    framesSending: 0,
    kicks: 0,
    kickErrors: 0,
    fillRingEmpty: 0,
  }
  for (const socket of sockets) {
    const counts = socket.counts()
    total.framesReceiving += counts[SocketCounter.FRAMES_RECEIVING] as number
    total.framesSending += counts[SocketCounter.FRAMES_SENDING] as number
    total.kicks += counts[SocketCounter.KICKS] as number
    total.kickErrors += counts[SocketCounter.KICK_ERRORS] as number
    total.fillRingEmpty += counts[SocketCounter.FILL_RING_EMPTY] as number
  }
  return total
}

/** Adds what a socket has counted. */
export function addCounters(total: PortStatistics, socket: XdpSocket): void {
  const counts = socket.counts()
  total.receivedFrames += counts[SocketCounter.RECEIVED_FRAMES] as number
  total.receivedBytes += counts[SocketCounter.RECEIVED_BYTES] as number
  total.sentFrames += counts[SocketCounter.SENT_FRAMES] as number
  total.sentBytes += counts[SocketCounter.SENT_BYTES] as number
  total.sendDropped += counts[SocketCounter.SEND_DROPPED] as number
  // Without FILL_RING_EMPTY: in copy mode such a frame is among RX_DROPPED, too (net/xdp/xsk.c,
  // __xsk_rcv).
  total.receiveDropped += counts[SocketCounter.RX_DROPPED] as number
  total.receiveDropped += counts[SocketCounter.RX_RING_FULL] as number
  total.receiveDropped += counts[SocketCounter.CHAINS_REFUSED] as number
}

/** Of a device, within a pin directory: a bpffs takes no dots in names. */
export const pinName = (device: string): string => device.replaceAll('.', '%')

const pinOf = (directory: string, device: string): string => join(directory, pinName(device))

function attachment(
  device: string,
  mode: SteeringMode,
  program: XdpProgram,
  sockets: readonly XdpSocket[],
): Attachment {
  const reasons = [program.attachReason, sockets[0]?.modeReason ?? '', program.pinReason]
  return {
    device,
    mode,
    queueCount: sockets.length,
    isNative: program.attachMode === 'native',
    isZeroCopy: sockets.length > 0 && sockets.every((socket) => socket.mode === 'zero-copy'),
    reason: reasons.filter(Boolean).join('; '),
    isTakenOver: program.isTakenOver,
    programDropped: program.counters().reduce((sum, { dropped }) => sum + dropped, 0),
    program,
    sockets,
  }
}

function socketOptions({ zeroCopy = 'auto', busyPoll }: AttachmentOptions, ringSize: number) {
  return {
    rxRingSize: ringSize,
    txRingSize: ringSize,
    fillRingSize: ringSize,
    completionRingSize: ringSize,
    fillTarget: Math.min(FILL_TARGET, ringSize),
    zeroCopy,
    multiBuffer: 'auto' as const,
    ...(busyPoll === undefined ? {} : { busyPoll }),
  }
}

/**
 * As many queues as there are workers, for a veth: without one of its own a worker can send there only
 * by another. The other end, which chooses among them by flow, is its owner's affair; so are the queues
 * of a network card. Where it cannot have them it stays as it is.
 */
function provideQueues(device: string, wanted: number): void {
  if (wanted === 1) return
  const { driver, ...info } = deviceInfo(device)
  if (driver !== 'veth') return
  const { receiveQueues, transmitQueues, receiveQueuesMax, transmitQueuesMax } = info
  const most = Math.min(receiveQueuesMax, transmitQueuesMax)
  const queues = Math.min(most, Math.max(wanted, receiveQueues, transmitQueues))
  if (queues <= receiveQueues && queues <= transmitQueues) return
  setDeviceQueues(device, queues)
}

function queueCountOf(device: string): number {
  // Drivers that do not tell how many queues they have, have one.
  const queueCount = deviceInfo(device).receiveQueues || 1
  if (queueCount <= PROGRAM_QUEUES_MAX) return queueCount
  throw new RingpathError(
    ErrorCode.PORT_ATTACH,
    `${device} has ${queueCount} receive queues, more than ${PROGRAM_QUEUES_MAX}; ` +
      `take some away: ethtool -L ${device} combined ${PROGRAM_QUEUES_MAX}`,
  )
}

/** Runs `open`; throws EPORT_ATTACH with the subject, and what failed as its cause. */
export function attaching<T>(subject: string, open: () => T): T {
  try {
    return open()
  } catch (error) {
    if (error instanceof RingpathError) throw error
    const reason = error instanceof Error ? error.message : String(error)
    throw new RingpathError(ErrorCode.PORT_ATTACH, `${subject}: ${reason}`, error)
  }
}
