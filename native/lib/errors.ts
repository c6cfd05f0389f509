/**
 * Every error of this package: a stable code, what failed, and what to do. README.md explains each
 * code.
 */
import { getSystemErrorName } from 'node:util'

/** The one table of codes. */
export const XdpErrorCode = {
  /** The compiled add-on or the BPF object is missing. */
  ADDON: 'EXDP_ADDON',
  /** An argument is out of its range. */
  ARGUMENT: 'EXDP_ARGUMENT',
  /** Another XDP program is on the device. */
  ATTACHED: 'EXDP_ATTACHED',
  /** Another socket is bound to this device and queue. */
  BUSY: 'EXDP_BUSY',
  /** Used after close, or closed while still in use. */
  CLOSED: 'EXDP_CLOSED',
  /** A frame was lost, given twice, or lies outside the UMEM: the caller's program is wrong. */
  FRAME: 'EXDP_FRAME',
  /** The packet memory could not be locked. */
  MEMLOCK: 'EXDP_MEMLOCK',
  /** There is no such device in this network namespace. */
  NO_DEVICE: 'EXDP_NO_DEVICE',
  /** The kernel had to leave out messages; what they said must be asked for anew. */
  OVERRUN: 'EXDP_OVERRUN',
  /** Rights are missing. */
  PERMISSION: 'EXDP_PERMISSION',
  /** The kernel refused the BPF object. */
  PROGRAM: 'EXDP_PROGRAM',
  /** The device has no such queue. */
  QUEUE: 'EXDP_QUEUE',
  /** A file of shared memory could not be opened or mapped. */
  SHARED_MEMORY: 'EXDP_SHARED_MEMORY',
  /** Any other system call that failed. */
  SYSTEM: 'EXDP_SYSTEM',
  /** The kernel or the device cannot do what was asked. */
  UNSUPPORTED: 'EXDP_UNSUPPORTED',
} as const
export type XdpErrorCode = (typeof XdpErrorCode)[keyof typeof XdpErrorCode]

/** What an error concerns; all of it optional. */
export interface XdpErrorDetails {
  /** System call or library function that failed. */
  readonly syscall?: string
  /** Positive errno. */
  readonly errno?: number
  readonly device?: string
  readonly queue?: number
  readonly path?: string
  /** Of memory that was asked for. */
  readonly bytes?: number
  readonly cause?: unknown
}

export class XdpError extends Error {
  override readonly name = 'XdpError'
  readonly code: XdpErrorCode
  readonly syscall: string | undefined
  readonly errno: number | undefined
  readonly device: string | undefined
  readonly queue: number | undefined
  readonly path: string | undefined
  readonly bytes: number | undefined

  constructor(code: XdpErrorCode, message: string, details: XdpErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.code = code
    this.syscall = details.syscall
    this.errno = details.errno
    this.device = details.device
    this.queue = details.queue
    this.path = details.path
    this.bytes = details.bytes
  }
}

/** What the native code throws. */
interface NativeFailure extends Error {
  readonly syscall: string
  readonly errno: number
}

const isNativeFailure = (error: unknown): error is NativeFailure =>
  error instanceof Error &&
  !(error instanceof XdpError) &&
  'syscall' in error &&
  typeof (error as NativeFailure).errno === 'number'

/** Where a native call was made; decides what an errno means. */
export type Operation =
  | 'umem'
  | 'socket'
  | 'attach'
  | 'map'
  | 'poller'
  | 'device'
  | 'memory'
  | 'shared memory'
  | 'channel'
  | 'datagram'
  | 'netlink'
  | 'pins'
  | 'thread'

type Meaning = readonly [code: XdpErrorCode, advice: string]

const PERMISSION: Meaning = [
  XdpErrorCode.PERMISSION,
  'run as root, or with CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF and CAP_IPC_LOCK',
]
const NO_DEVICE: Meaning = [
  XdpErrorCode.NO_DEVICE,
  'no such device in this network namespace; `ip link` lists them',
]
const MEMLOCK: Meaning = [
  XdpErrorCode.MEMLOCK,
  'the memory cannot be locked: ask for fewer frames, raise `ulimit -l`, or give CAP_IPC_LOCK',
]
const NO_AF_XDP: Meaning = [
  XdpErrorCode.UNSUPPORTED,
  'this kernel has no AF_XDP sockets (CONFIG_XDP_SOCKETS)',
]

/** By operation, then by errno name as Node has it (EOPNOTSUPP is ENOTSUP); `any` holds for all operations. */
const MEANINGS: Readonly<Record<string, Readonly<Record<string, Meaning>>>> = {
  any: {
    EPERM: PERMISSION,
    EACCES: PERMISSION,
    ENODEV: NO_DEVICE,
    ENXIO: NO_DEVICE,
    EPROTO: [XdpErrorCode.UNSUPPORTED, 'another version of this package made it'],
  },
  umem: {
    ENOMEM: MEMLOCK,
    ENOBUFS: MEMLOCK,
    EAFNOSUPPORT: NO_AF_XDP,
    EINVAL: [XdpErrorCode.ARGUMENT, 'the kernel refuses this stride or headroom'],
  },
  socket: {
    EBUSY: [
      XdpErrorCode.BUSY,
      'another socket is bound to this queue; `ss --xdp` shows whose it is',
    ],
    EINVAL: [XdpErrorCode.QUEUE, 'the device has no such queue; `ethtool -l` tells how many'],
    ENOBUFS: MEMLOCK,
    ENOMEM: MEMLOCK,
    EAFNOSUPPORT: NO_AF_XDP,
    ENOTSUP: [XdpErrorCode.UNSUPPORTED, 'the device cannot do this'],
  },
  attach: {
    EBUSY: [
      XdpErrorCode.ATTACHED,
      'another XDP program is on the device; `ip link show` tells its id, `xdp off` removes it',
    ],
    EEXIST: [
      XdpErrorCode.ATTACHED,
      'another XDP program is on the device in the other mode; remove it first',
    ],
    ENOENT: [XdpErrorCode.ADDON, 'xdp_redirect.o is not built; run `npm rebuild xdp-socket-napi`'],
    ENOTSUP: [XdpErrorCode.UNSUPPORTED, "the driver has no native XDP; use attachMode 'generic'"],
    ERANGE: [XdpErrorCode.UNSUPPORTED, "the device's MTU is too large for XDP; lower it"],
    ENOSPC: [
      XdpErrorCode.UNSUPPORTED,
      "the device has fewer receive queues than its peer's transmit queues; give it as many",
    ],
  },
  map: {
    EINVAL: [XdpErrorCode.ARGUMENT, 'the map does not take this key'],
    E2BIG: [XdpErrorCode.QUEUE, 'queue above 63, or the map is full'],
    ENOSPC: [XdpErrorCode.ARGUMENT, 'the map is full'],
    EBADF: [XdpErrorCode.CLOSED, 'the socket is closed'],
    ENOTSUP: [XdpErrorCode.CLOSED, 'the socket is closed'],
  },
  poller: { EINVAL: [XdpErrorCode.ARGUMENT, 'the socket cannot be added'] },
  netlink: {
    ENOBUFS: [XdpErrorCode.OVERRUN, 'messages were lost: ask for everything anew'],
    EMSGSIZE: [XdpErrorCode.OVERRUN, 'a message was too long, and is lost'],
    EBADF: [XdpErrorCode.CLOSED, 'the socket is closed'],
    EPROTONOSUPPORT: [XdpErrorCode.UNSUPPORTED, 'this kernel has no such netlink protocol'],
  },
  thread: {
    ESRCH: [XdpErrorCode.SYSTEM, 'there is no such thread'],
    EINVAL: [XdpErrorCode.ARGUMENT, 'none of the cores is one that the thread may have'],
  },
  'shared memory': {
    ENOSPC: [
      XdpErrorCode.SHARED_MEMORY,
      'its file system has no room for them (`df` tells how much): make it larger, or ask for less',
    ],
  },
  device: {
    ENOTSUP: [XdpErrorCode.UNSUPPORTED, 'the driver cannot change this offload'],
  },
}

function meaningOf(operation: Operation, name: string, call: string): Meaning {
  if (call === 'bpf_object__load' && name !== 'EPERM') {
    return [XdpErrorCode.PROGRAM, 'the kernel refused the program; the log is in `cause`']
  }
  const own = MEANINGS[operation]?.[name]
  if (own !== undefined) return own
  if (operation === 'shared memory') {
    return [XdpErrorCode.SHARED_MEMORY, 'check the path, its rights and its size']
  }
  return MEANINGS.any?.[name] ?? [XdpErrorCode.SYSTEM, 'see the errno of this call']
}

/**
 * Turns what the native code threw into an XdpError that says what to do; anything else is returned
 * as it is.
 */
export function explain(
  error: unknown,
  operation: Operation,
  details: XdpErrorDetails = {},
): unknown {
  if (!isNativeFailure(error)) return error
  const name = error.errno > 0 ? getSystemErrorName(-error.errno) : 'UNKNOWN'
  const [code, advice] = meaningOf(operation, name, error.syscall)
  const subject = [
    details.device === undefined ? '' : ` on ${details.device}`,
    details.queue === undefined ? '' : ` queue ${details.queue}`,
    details.path === undefined ? '' : ` ${details.path}`,
    details.bytes === undefined ? '' : ` of ${details.bytes} bytes`,
  ].join('')
  const message = `${operation}${subject}: ${error.syscall} failed with ${name}: ${advice}`
  return new XdpError(code, message, {
    ...details,
    syscall: error.syscall,
    errno: error.errno,
    cause: error,
  })
}

/** Runs a native call and explains what it throws. */
export function explained<T>(operation: Operation, details: XdpErrorDetails, call: () => T): T {
  try {
    return call()
  } catch (error) {
    throw explain(error, operation, details)
  }
}

/** Throws EXDP_ARGUMENT unless `value` is a whole number within the bounds. */
export function checkInteger(name: string, value: number, minimum: number, maximum: number): void {
  if (Number.isInteger(value) && value >= minimum && value <= maximum) return
  throw new XdpError(
    XdpErrorCode.ARGUMENT,
    `${name} is ${value}; it must be a whole number from ${minimum} to ${maximum}`,
  )
}

/** Throws EXDP_ARGUMENT unless `value` is a power of two within the bounds, as ring sizes are. */
export function checkPowerOfTwo(
  name: string,
  value: number,
  minimum: number,
  maximum: number,
): void {
  checkInteger(name, value, minimum, maximum)
  if ((value & (value - 1)) === 0) return
  throw new XdpError(XdpErrorCode.ARGUMENT, `${name} is ${value}; it must be a power of two`)
}
