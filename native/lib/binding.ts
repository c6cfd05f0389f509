/**
 * The compiled add-on as TypeScript sees it, and where it lies. Only this file loads it; nothing
 * else here is native.
 */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { XdpError, XdpErrorCode } from './errors.js'

/** Opaque: holds a native object alive. The brand keeps one kind from being passed for another. */
export interface Handle<Kind extends string> {
  readonly kind: Kind
}
export type UmemHandle = Handle<'umem'>
export type SocketHandle = Handle<'socket'>
export type PollerHandle = Handle<'poller'>
export type ProgramHandle = Handle<'program'>
export type MappingHandle = Handle<'mapping'>
export type NetlinkHandle = Handle<'netlink'>

export interface NativeSocketOptions {
  readonly interfaceIndex: number
  readonly queue: number
  readonly rxRingSize: number
  readonly txRingSize: number
  readonly fillRingSize: number
  readonly completionRingSize: number
  readonly fillTarget: number
  readonly tryZeroCopy: boolean
  readonly tryMultiBuffer: boolean
  readonly busyPollMicroseconds: number
  readonly busyPollBudget: number
}

export interface DeviceInfo {
  readonly index: number
  readonly mtuBytes: number
  /** 0 when the driver does not tell. */
  readonly receiveQueues: number
  /** 0 when the driver does not tell. */
  readonly transmitQueues: number
  /** As many queues as it could be given; 0 when the driver does not tell. */
  readonly receiveQueuesMax: number
  readonly transmitQueuesMax: number
  /** Such as 'veth'; empty when the driver does not tell. */
  readonly driver: string
}

/** What closing gave back. */
export interface Teardown {
  readonly framesReturned: number
  /** Of those, frames that the kernel had not finished sending after 100 ms. */
  readonly sendsAbandoned: number
}

/** Where all frames are: every frame has one owner. */
export interface Audit {
  readonly free: number
  readonly onRings: number
  /** Taken from the pool and on no ring: in a burst, or in the caller's hands. */
  readonly inBurst: number
  /** Sockets that own more or fewer frames than their rings say; 0, or the ledger is broken. */
  readonly socketsWrong: number
}

/** One function per native entry; arguments are checked before they come here. */
export interface Binding {
  createUmem(options: {
    readonly frameCount: number
    readonly strideBytes: number
    readonly headroomBytes: number
    readonly tryHugePages: boolean
  }): {
    readonly handle: UmemHandle
    readonly buffer: ArrayBuffer
    readonly pool: ArrayBuffer
    readonly chains: ArrayBuffer
    readonly hugePages: boolean
    readonly hugePagesReason: string
  }
  closeUmem(umem: UmemHandle, buffer: ArrayBuffer, pool: ArrayBuffer, chains: ArrayBuffer): void
  openSocket(
    umem: UmemHandle,
    options: NativeSocketOptions,
    adopted: number | null,
    tag: number,
  ): {
    readonly handle: SocketHandle
    readonly fd: number
    readonly zeroCopy: boolean
    readonly modeReason: string
    readonly multiBuffer: boolean
    readonly multiBufferReason: string
  }
  closeSocket(socket: SocketHandle): void
  socketStatistics(socket: SocketHandle, counts: Float64Array): void
  createPoller(
    umem: UmemHandle,
    words: Int32Array,
  ): {
    readonly handle: PollerHandle
    readonly exchange: (receiveMax: number) => number
    readonly wait: (timeoutMilliseconds: number) => boolean
    readonly wakeFd: number
  }
  pollerAdd(poller: PollerHandle, socket: SocketHandle, port: number): void
  pollerRemove(poller: PollerHandle, socket: SocketHandle): Teardown
  pollerClose(poller: PollerHandle): Teardown
  framesOnRings(poller: PollerHandle): number
  unroutedDrops(poller: PollerHandle): number
  wakePoller(fd: number): void
  sendDatagram(path: string, text: string): void
  threadCores(thread: number): number[]
  setThreadCores(cores: Int32Array, thread: number): void
  attachProgram(
    options: {
      readonly objectPath: string
      readonly interfaceIndex: number
      readonly mode: number
      readonly attachMode: string
      readonly pinDirectory: string
    },
    adopted: Int32Array | null,
  ): {
    readonly handle: ProgramHandle
    readonly native: boolean
    readonly attachReason: string
    readonly takenOver: boolean
    readonly pinned: boolean
    readonly pinReason: string
    readonly natPorts: ArrayBuffer
  }
  programSetSocket(program: ProgramHandle, queue: number, socket: SocketHandle | null): void
  programEdit(program: ProgramHandle, map: string, key: Uint8Array, present: boolean): void
  programCounters(program: ProgramHandle, counts: Float64Array): void
  detachProgram(program: ProgramHandle, natPorts: ArrayBuffer, keepsPinned: boolean): void
  adoptMemory(umem: UmemHandle, descriptor: number): void
  umemDescriptor(umem: UmemHandle): number
  socketLedger(socket: SocketHandle, values: Float64Array): void
  setSocketCounters(socket: SocketHandle, values: Float64Array): void
  pollerAddAdopted(poller: PollerHandle, socket: SocketHandle, port: number): void
  pollerResume(poller: PollerHandle): void
  pollerHandOver(poller: PollerHandle): void
  pollerAudit(poller: PollerHandle): Audit
  programDescriptors(program: ProgramHandle): Int32Array
  programSweep(program: ProgramHandle): void
  preparePinDirectory(directory: string): void
  removePins(directory: string): void
  listenForChannels(path: string): number
  acceptChannel(listener: number): number
  connectChannel(path: string): number
  sendMessage(channel: number, text: string, descriptors: Int32Array): 'done' | 'nothing' | 'closed'
  receiveMessage(
    channel: number,
    timeoutMilliseconds: number,
  ): { readonly text: string; readonly descriptors: Int32Array } | 'nothing' | 'closed'
  closeDescriptor(descriptor: number): void
  deviceInfo(device: string): DeviceInfo
  setDeviceQueues(device: string, queues: number): void
  setDeviceOffload(device: string, offload: number, on: boolean): void
  sendFrame(device: string, frame: Uint8Array): void
  allocateMemory(bytes: number): ArrayBuffer
  mapSharedFile(
    path: string,
    bytes: number,
    create: boolean,
  ): { readonly handle: MappingHandle; readonly buffer: ArrayBuffer }
  unmapSharedFile(mapping: MappingHandle, buffer: ArrayBuffer): void
  openNetlink(protocol: number, groups: Uint32Array, receiveBufferBytes: number): NetlinkHandle
  sendNetlink(netlink: NetlinkHandle, message: Uint8Array): void
  receiveNetlink(netlink: NetlinkHandle, buffer: Uint8Array): number
  watchNetlink(netlink: NetlinkHandle, onReadable: () => void): void
  closeNetlink(netlink: NetlinkHandle): void
}

/** The add-on, from XDP_SOCKET_ADDON or the package's own build. */
const addonPath =
  process.env.XDP_SOCKET_ADDON ??
  fileURLToPath(new URL('../build/Release/xdp_socket.node', import.meta.url))

/** The steering program is built beside the add-on. */
export const programObjectPath = join(dirname(addonPath), 'xdp_redirect.o')

function load(): Binding {
  if (!existsSync(addonPath)) {
    throw new XdpError(
      XdpErrorCode.ADDON,
      'the add-on is not built: run `npm rebuild xdp-socket-napi` (needs g++, clang, libbpf-dev)',
      { path: addonPath },
    )
  }
  return createRequire(import.meta.url)(addonPath) as Binding
}

let loaded: Binding | undefined

/**
 * Loads on first use, so that a program can be read, and say what it lacks, where nothing is built.
 */
export function binding(): Binding {
  loaded ??= load()
  return loaded
}
