/**
 * The steering program on one device (bpf/xdp_redirect.c): which frames go to the sockets, and
 * which to the kernel. It is attached by a bpf_link that this process holds: it leaves the device
 * with `detach` or when the process ends, unless it is pinned.
 *
 * Addresses are 16 bytes in network order; IPv4 is ::ffff:a.b.c.d.
 */
import { binding, type ProgramHandle, programObjectPath } from './binding.js'
import { deviceInfo } from './device.js'
import { checkInteger, explained, XdpError, XdpErrorCode } from './errors.js'
import type { XdpSocket } from './socket.js'

/** Queues that the program's maps have room for. */
export const PROGRAM_QUEUES_MAX = 64
const VERDICTS = 3
const ADDRESS_BYTES = 16
const PORTS = 65536
const VLAN_ID_MAX = 4094
/** The key of `vlans` that is no id. */
const VLAN_FILTER_ON = 4096

/**
 * 'pod': every frame to the ring, dropped while there is no socket. 'uplink': only what is ours,
 * else to the kernel.
 */
export type SteeringMode = 'pod' | 'uplink'
const MODES = { pod: 0, uplink: 1 } as const
/** An uplink whose program stays while the datapath is replaced. */
const MODE_UPLINK_KEEP = 2

/** Rows of `natPorts`: a byte per port or ICMP echo identifier, 0 or 1. */
export const NatRow = { TCP: 0, UDP: PORTS, ICMP: 2 * PORTS, SCTP: 3 * PORTS } as const

export interface XdpProgramOptions {
  readonly device: string
  readonly mode: SteeringMode
  /** 'auto': native, else generic with the reason told. */
  readonly attachMode?: 'auto' | 'native' | 'generic'
  /**
   * A directory in a bpffs, for this device alone, in which the program is pinned: it stays when the
   * process ends, and the next one that attaches with this directory takes it over. While nobody has
   * sockets there, a pod's frames are dropped, and an uplink's frames that are ours. Where it cannot
   * be pinned, `pinReason` says why, and it goes with the process.
   */
  readonly pinDirectory?: string
}

/** Frames by what the program decided, of one receive queue. */
export interface QueueCounters {
  readonly queue: number
  readonly redirected: number
  readonly passed: number
  readonly dropped: number
}

/** Keeps each program on its device until it is detached, even when nobody holds the object. */
const attached = new Set<XdpProgram>()

export class XdpProgram {
  readonly device: string
  readonly mode: SteeringMode
  readonly attachMode: 'native' | 'generic'
  /** Empty in native mode; else why it is generic. */
  readonly attachReason: string
  /** It was on the device before: pinned, or another process's. See `sweep`. */
  readonly isTakenOver: boolean
  readonly isPinned: boolean
  /** Empty, or why it is not pinned although it was to be. */
  readonly pinReason: string
  /**
   * The program's own map: set `natPorts[NatRow.UDP + port] = 1` and the next packet to it is ours.
   * On an uplink only; in mode 'pod' it has no effect, and one row.
   */
  readonly natPorts: Uint8Array
  readonly #handle: ProgramHandle
  readonly #counts = new Float64Array(PROGRAM_QUEUES_MAX * VERDICTS)
  #detached = false

  private constructor(
    options: XdpProgramOptions,
    made: ReturnType<ReturnType<typeof binding>['attachProgram']>,
  ) {
    this.device = options.device
    this.mode = options.mode
    this.attachMode = made.native ? 'native' : 'generic'
    this.attachReason = made.attachReason
    this.isTakenOver = made.takenOver
    this.isPinned = made.pinned
    this.pinReason = made.pinReason
    this.natPorts = new Uint8Array(made.natPorts)
    this.#handle = made.handle
  }

  /**
   * @param adopted `descriptors` of another process's program, attached with the same options; they
   * are duplicated Throws EXDP_NO_DEVICE, EXDP_ATTACHED, EXDP_PERMISSION, EXDP_UNSUPPORTED,
   * EXDP_PROGRAM.
   */
  static attach(options: XdpProgramOptions, adopted: Int32Array | null = null): XdpProgram {
    const { device, mode, pinDirectory = '' } = options
    const { index } = deviceInfo(device)
    const keeps = mode === 'uplink' && pinDirectory !== ''
    const made = explained('attach', { device }, () =>
      binding().attachProgram(
        {
          objectPath: programObjectPath,
          interfaceIndex: index,
          mode: keeps ? MODE_UPLINK_KEEP : MODES[mode],
          attachMode: options.attachMode ?? 'auto',
          pinDirectory,
        },
        adopted,
      ),
    )
    const program = new XdpProgram(options, made)
    attached.add(program)
    return program
  }

  /**
   * Gives a queue's frames to `socket`; null takes it out. The socket must be on this device and
   * queue.
   */
  setSocket(queue: number, socket: XdpSocket | null): void {
    checkInteger('queue', queue, 0, PROGRAM_QUEUES_MAX - 1)
    if (socket !== null && (socket.device !== this.device || socket.queue !== queue)) {
      throw new XdpError(
        XdpErrorCode.ARGUMENT,
        `a queue's frames reach only its own sockets, not ${socket.device} queue ${socket.queue}`,
        { device: this.device, queue },
      )
    }
    const handle = socket === null ? null : socket.handle
    this.#run(() => binding().programSetSocket(this.#handle, queue, handle))
  }

  /** Per queue that has seen a frame. */
  counters(): readonly QueueCounters[] {
    this.#run(() => binding().programCounters(this.#handle, this.#counts))
    const found: QueueCounters[] = []
    for (let queue = 0; queue < PROGRAM_QUEUES_MAX; queue++) {
      const at = (verdict: number) => this.#counts[queue * VERDICTS + verdict] as number
      if (at(0) + at(1) + at(2) === 0) continue
      found.push({ queue, redirected: at(0), passed: at(1), dropped: at(2) })
    }
    return found
  }

  /**
   * Frames to this address, port and IP protocol are ours: an overlay's UDP port, a service, a
   * NodePort.
   * @param address null for any address
   */
  addFrontend(address: Uint8Array | null, port: number, protocol: number): void {
    this.#edit('frontends', frontendKey(address, port, protocol), true)
  }

  removeFrontend(address: Uint8Array | null, port: number, protocol: number): void {
    this.#edit('frontends', frontendKey(address, port, protocol), false)
  }

  /** @param prefixBits of the 128: 96 more than an IPv4 prefix */
  addPodCidr(address: Uint8Array, prefixBits: number): void {
    this.#edit('pod_cidrs', cidrKey(address, prefixBits), true)
  }

  removePodCidr(address: Uint8Array, prefixBits: number): void {
    this.#edit('pod_cidrs', cidrKey(address, prefixBits), false)
  }

  /** An address whose ports in `natPorts` are ours. */
  addNatAddress(address: Uint8Array): void {
    this.#edit('nat_addresses', addressKey(address), true)
  }

  removeNatAddress(address: Uint8Array): void {
    this.#edit('nat_addresses', addressKey(address), false)
  }

  /**
   * An IPv4 address of the node at which ours is what begins something: a SYN, an echo request, UDP
   * for which the kernel has no connected socket.
   */
  addGuarded(address: Uint8Array): void {
    this.#edit('guarded', addressKey(address), true)
  }

  removeGuarded(address: Uint8Array): void {
    this.#edit('guarded', addressKey(address), false)
  }

  /** An IPv4 address whose ARP traffic is ours. */
  addAnnounced(address: Uint8Array): void {
    this.#edit('announced', addressKey(address), true)
  }

  removeAnnounced(address: Uint8Array): void {
    this.#edit('announced', addressKey(address), false)
  }

  /** Frames from here are dropped, whomever they are for. @param prefixBits as of `addPodCidr` */
  addDenied(address: Uint8Array, prefixBits: number): void {
    this.#edit('denied', cidrKey(address, prefixBits), true)
  }

  removeDenied(address: Uint8Array, prefixBits: number): void {
    this.#edit('denied', cidrKey(address, prefixBits), false)
  }

  /** With the filter on, frames of VLANs that are not allowed are ours, else none that is tagged. */
  setVlanFilter(isOn: boolean): void {
    this.#edit('vlans', numberKey(VLAN_FILTER_ON), isOn)
  }

  /** @param id 1 to 4094 */
  addVlan(id: number): void {
    checkInteger('id', id, 1, VLAN_ID_MAX)
    this.#edit('vlans', numberKey(id), true)
  }

  removeVlan(id: number): void {
    checkInteger('id', id, 1, VLAN_ID_MAX)
    this.#edit('vlans', numberKey(id), false)
  }

  /** Link and maps, for another process: valid until `detach`. */
  get descriptors(): Int32Array {
    return this.#run(() => binding().programDescriptors(this.#handle))
  }

  /**
   * Forgets what a process before had added to a program that was taken over and this one has not
   * added again. To be called once all is added; does nothing the second time.
   */
  sweep(): void {
    this.#run(() => binding().programSweep(this.#handle))
  }

  /**
   * Lets go of it and leaves it on its device if it is pinned or another process has it; `natPorts`
   * becomes empty.
   */
  release(): void {
    this.#close(true)
  }

  /** Takes the program off the device, pins and all; `natPorts` becomes empty. A second call does nothing. */
  detach(): void {
    this.#close(false)
  }

  #close(keepsPinned: boolean): void {
    if (this.#detached) return
    this.#detached = true
    attached.delete(this)
    binding().detachProgram(this.#handle, this.natPorts.buffer as ArrayBuffer, keepsPinned)
  }

  #edit(map: string, key: Uint8Array, present: boolean): void {
    this.#run(() => binding().programEdit(this.#handle, map, key, present))
  }

  #run<T>(call: () => T): T {
    if (this.#detached) {
      throw new XdpError(XdpErrorCode.CLOSED, 'the program is detached', { device: this.device })
    }
    return explained('map', { device: this.device }, call)
  }
}

function addressKey(address: Uint8Array): Uint8Array {
  if (address.length === ADDRESS_BYTES) return address
  throw new XdpError(
    XdpErrorCode.ARGUMENT,
    `an address is 16 bytes, not ${address.length}; IPv4 is ::ffff:a.b.c.d`,
  )
}

/** struct frontend: address, port in network order, protocol, a zero. */
function frontendKey(address: Uint8Array | null, port: number, protocol: number): Uint8Array {
  checkInteger('port', port, 0, PORTS - 1)
  checkInteger('protocol', protocol, 0, 255)
  const key = new Uint8Array(ADDRESS_BYTES + 4)
  if (address !== null) key.set(addressKey(address))
  key[ADDRESS_BYTES] = port >>> 8
  key[ADDRESS_BYTES + 1] = port
  key[ADDRESS_BYTES + 2] = protocol
  return key
}

/** A number as the machine has it. */
const numberKey = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer)

/** struct cidr: prefix length as the machine's own 32-bit number, then the address. */
function cidrKey(address: Uint8Array, prefixBits: number): Uint8Array {
  checkInteger('prefixBits', prefixBits, 0, ADDRESS_BYTES * 8)
  const key = new Uint8Array(4 + ADDRESS_BYTES)
  new Uint32Array(key.buffer, 0, 1)[0] = prefixBits
  key.set(addressKey(address), 4)
  return key
}
