/**
 * Keeps the attached devices equal to what the port table asks for; a housekeeping task of the
 * worker.
 *
 * A device that cannot be attached (not there yet, say) is reported with its errno and tried again
 * once a second. A device that vanished (its pod is gone) is detached with all of its frames back.
 *
 * A port may be given up and asked for again before anybody looks. With the same device in the same
 * mode its sockets stay; but the request has wiped its report, which is written once more.
 */
import { PORTS_MAX } from '../base/limits.js'
import { PortMode, PortStatus, type PortTable } from '../port/port-table.js'
import { Joining } from '../port/shared-ports.js'
import type { Housekeeping } from './burst-loop.js'

/** What the manager needs of an exchange over devices; XskExchange is one. */
export interface DevicePorts {
  attach(port: number, device: string, mode: 'pod' | 'uplink'): AttachedPort
  detach(port: number): void
  /** Ports whose device vanished. */
  lostPorts(): readonly number[]
}

/** The other workers, which join in what this one attaches; SharedPorts is them. */
export interface JoiningWorkers {
  /** Whether they have all joined in an attached port. */
  joining(port: number): Joining
  /** An errno, after `joining` was REFUSED. */
  readonly refusal: number
  /** Whether they have left what was attached before. */
  isFree(port: number): boolean
}

const ALONE: JoiningWorkers = { joining: () => Joining.DONE, refusal: 0, isFree: () => true }

export interface AttachedPort {
  readonly isNative: boolean
  readonly isZeroCopy: boolean
  /** Its program was on the device before, and has dropped so many frames. */
  readonly isTakenOver?: boolean
  readonly programDropped?: number
}

/** What a port has been attached with, and what came of it. */
interface Attached {
  readonly device: string
  readonly mode: PortMode
  readonly made: AttachedPort
}

/** Who has to know which devices are attached. */
export interface PortListener {
  attached(port: number, mode: 'pod' | 'uplink'): void
  /** Before the device is let go. */
  detaching(port: number): void
}

const NOBODY: PortListener = { attached: () => {}, detaching: () => {} }

const RETRY_SECONDS = 1
const NEVER = -1

export class PortManager implements Housekeeping {
  readonly #ports: PortTable
  readonly #devices: DevicePorts
  readonly #attached = new Map<number, Attached>()
  readonly #retryAt = new Int32Array(PORTS_MAX).fill(NEVER)
  readonly #log: (line: string) => void
  readonly #listener: PortListener
  readonly #others: JoiningWorkers
  /** Ports whose device is held by somebody who may be about to end. */
  readonly #busy = new Set<number>()
  /** Attached by this worker, and not by all others yet. */
  readonly #joining = new Map<number, AttachedPort>()
  /** Detached by this worker, and not left by all others when they were asked last. */
  readonly #left = new Set<number>()
  /** A port waits for other workers to leave what was there. */
  #isLeaving = false
  /** A device could not be attached, and is to be tried again. */
  #isTryingAgain = false
  #changesSeen = -1
  #nextLookSeconds = 0

  constructor(
    ports: PortTable,
    devices: DevicePorts,
    log: (line: string) => void,
    listener: PortListener = NOBODY,
    others = ALONE,
  ) {
    this.#ports = ports
    this.#devices = devices
    this.#log = log
    this.#listener = listener
    this.#others = others
  }

  /** Other workers are still at work on what was attached, or is to be. */
  get isPending(): boolean {
    return this.#joining.size > 0 || this.#isLeaving
  }

  step(nowSeconds: number): void {
    if (this.#joining.size > 0) this.#settle(nowSeconds)
    const changes = this.#ports.changes
    const isDue = nowSeconds >= this.#nextLookSeconds
    const isToDo = changes !== this.#changesSeen || this.#isLeaving
    if (!isDue && !isToDo) return
    this.#changesSeen = changes
    this.#nextLookSeconds = nowSeconds + RETRY_SECONDS
    this.#isLeaving = false
    // The whole table takes some 50 µs, in which frames wait.
    if (isToDo || this.#isTryingAgain || this.#devices.lostPorts().length > 0)
      this.#look(nowSeconds)
  }

  /** Compares the whole table with what is attached, and acts on the difference. */
  #look(nowSeconds: number): void {
    this.#isTryingAgain = false
    for (const port of this.#devices.lostPorts()) this.#detach(port)
    // Before anything is attached: another port may be to have the device now.
    for (const [port, attached] of this.#attached) {
      if (!this.#isAskedFor(port, attached)) this.#detach(port)
    }
    for (let port = 0; port < PORTS_MAX; port++) {
      const mode = this.#ports.mode(port)
      if (mode !== PortMode.NONE) this.#want(port, mode, nowSeconds)
    }
  }

  #isAskedFor(port: number, { device, mode }: Attached): boolean {
    return this.#ports.mode(port) === mode && this.#ports.device(port) === device
  }

  /**
   * A port that came attached from another process. `report` follows, once that one has
   * stopped.
   */
  adopt(port: number, device: string, steering: 'pod' | 'uplink', made: AttachedPort): void {
    const mode = steering === 'uplink' ? PortMode.UPLINK : PortMode.POD
    this.#attached.set(port, { device, mode, made })
    this.#listener.attached(port, steering)
  }

  /** Says in the table that the port is this process's. */
  report(port: number, { isNative, isZeroCopy }: AttachedPort): void {
    const report = { status: PortStatus.ATTACHED, errno: 0, isNative, isZeroCopy }
    this.#ports.setReport(port, process.pid, report)
  }

  /** Tries devices again that somebody else had; false when there is none. */
  retryBusy(nowSeconds: number): boolean {
    for (const port of [...this.#busy]) {
      this.#busy.delete(port)
      const mode = this.#ports.mode(port)
      if (mode !== PortMode.NONE && !this.#attached.has(port)) {
        this.#attach(port, mode, nowSeconds)
      }
    }
    return this.#busy.size > 0
  }

  #want(port: number, mode: PortMode, nowSeconds: number): void {
    const attached = this.#attached.get(port)
    if (attached !== undefined) {
      this.#confirm(port, attached)
      return
    }
    const retryAt = this.#retryAt[port] as number
    if (retryAt !== NEVER && nowSeconds < retryAt) {
      this.#isTryingAgain = true
      return
    }
    if (this.#haveAllLeft()) this.#attach(port, mode, nowSeconds)
    else this.#isLeaving = true
  }

  /** A request leaves no report; that of a port which all workers have is still true. */
  #confirm(port: number, { made }: Attached): void {
    if (this.#joining.has(port)) return
    if (this.#ports.report(port, process.pid).status === PortStatus.ATTACHED) return
    this.report(port, made)
  }

  /** Nobody has queues of a device that was detached: it may be the one that is wanted, on any port. */
  #haveAllLeft(): boolean {
    for (const port of this.#left) {
      if (this.#others.isFree(port)) this.#left.delete(port)
    }
    return this.#left.size === 0
  }

  #attach(port: number, mode: PortMode, nowSeconds: number): void {
    const device = this.#ports.device(port)
    try {
      const steering = mode === PortMode.UPLINK ? 'uplink' : 'pod'
      const made = this.#devices.attach(port, device, steering)
      this.#attached.set(port, { device, mode, made })
      this.#listener.attached(port, steering)
      this.#joining.set(port, made)
      this.#settlePort(port, made, nowSeconds)
    } catch (error) {
      const errno = errnoOf(error)
      if (errno === EBUSY || errno === EEXIST) this.#busy.add(port)
      this.#failed(port, device, errno, String(error), nowSeconds)
    }
  }

  #failed(port: number, device: string, errno: number, reason: string, nowSeconds: number): void {
    const isFirst = this.#retryAt[port] === NEVER
    this.#retryAt[port] = nowSeconds + RETRY_SECONDS
    this.#isTryingAgain = true
    const report = { status: PortStatus.FAILED, errno, isNative: false, isZeroCopy: false }
    this.#ports.setReport(port, process.pid, report)
    if (isFirst) this.#log(`port ${port}: ${device} not attached, trying again: ${reason}`)
  }

  /** Tells of the ports that all workers have, or that one could not get. */
  #settle(nowSeconds: number): void {
    for (const [port, made] of this.#joining) this.#settlePort(port, made, nowSeconds)
  }

  #settlePort(port: number, made: AttachedPort, nowSeconds: number): void {
    const joining = this.#others.joining(port)
    if (joining === Joining.PENDING) return
    this.#joining.delete(port)
    const device = this.#attached.get(port)?.device ?? ''
    if (joining === Joining.REFUSED) {
      const { refusal } = this.#others
      this.#detach(port)
      this.#failed(port, device, refusal, `errno ${refusal} in another worker`, nowSeconds)
      return
    }
    this.#retryAt[port] = NEVER
    this.report(port, made)
    this.#log(`port ${port}: ${device} attached (${detailsOf(made)})`)
  }

  #detach(port: number): void {
    this.#joining.delete(port)
    this.#left.add(port)
    this.#listener.detaching(port)
    this.#devices.detach(port)
    this.#log(`port ${port}: ${this.#attached.get(port)?.device} detached`)
    this.#attached.delete(port)
    const report = { status: PortStatus.DETACHED, errno: 0, isNative: false, isZeroCopy: false }
    this.#ports.setReport(port, process.pid, report)
  }
}

function detailsOf({ isNative, isTakenOver, programDropped }: AttachedPort): string {
  const kind = `${isNative ? 'native' : 'generic'} XDP`
  if (isTakenOver !== true) return kind
  return `${kind}, by the program that was there; it has dropped ${programDropped} frames so far`
}

/** Another socket has the queue; another program the device. */
const EBUSY = 16
const EEXIST = 17
/** EIO stands for an error that no system call gave. */
const EIO = 5

/** The errno of a failed attachment, EIO where no system call gave one. */
export function errnoOf(error: unknown): number {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
  if (typeof cause === 'object' && cause !== null && 'errno' in cause) {
    return Math.abs(Number(cause.errno)) || EIO
  }
  return EIO
}
