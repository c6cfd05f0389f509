/** xdp-socket-napi: AF_XDP sockets for Node. README.md shows how the parts go together. */

export type { Audit, DeviceInfo, Teardown } from './binding.js'
export { type MonotonicTime, monotonicTime } from './clock.js'
export { sendDatagram } from './datagram.js'
export {
  deviceInfo,
  type Offload,
  sendFrame,
  setDeviceOffload,
  setDeviceQueues,
} from './device.js'
export { XdpError, XdpErrorCode, type XdpErrorDetails } from './errors.js'
export {
  ChannelListener,
  closeDescriptors,
  DescriptorChannel,
  preparePinDirectory,
  type ReceivedMessage,
  removePins,
} from './handover.js'
export { allocateMemory } from './memory.js'
export { NetlinkSocket, type NetlinkSocketOptions } from './netlink.js'
export {
  BURST_HEADER_WORDS,
  BurstWord,
  NO_PORT,
  Poller,
  type PollerOptions,
  wakePoller,
} from './poller.js'
export {
  NatRow,
  PROGRAM_QUEUES_MAX,
  type QueueCounters,
  type SteeringMode,
  XdpProgram,
  type XdpProgramOptions,
} from './program.js'
export { SharedMemory, type SharedMemoryOptions } from './shared-memory.js'
export {
  type AdoptedSocket,
  type BusyPollOptions,
  SocketCounter,
  type SocketLedger,
  type SocketStatistics,
  XdpSocket,
  type XdpSocketOptions,
} from './socket.js'
export { CORES_MAX, setThreadCores, threadCores } from './thread-cores.js'
export { DEFAULT_STRIDE_BYTES, KERNEL_HEADROOM_BYTES, Umem, type UmemOptions } from './umem.js'
