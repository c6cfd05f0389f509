/**
 * Ports as control plane and datapath agree on them, in shared memory: the control plane writes
 * which device belongs to which number, the datapath attaches it and writes what came of it. The
 * datapath needs no other configuration.
 */
import { PORTS_MAX } from '../base/limits.js'
import type { ArrayMap } from '../maps/array-map.js'
import type { MapSpec } from '../maps/map.js'

/** How a device's frames are steered: `pod`, all of them; `uplink`, only what is ours. */
export const PortMode = { NONE: 0, POD: 1, UPLINK: 2 } as const
export type PortMode = (typeof PortMode)[keyof typeof PortMode]

export const PortStatus = { DETACHED: 0, ATTACHED: 1, FAILED: 2 } as const
export type PortStatus = (typeof PortStatus)[keyof typeof PortStatus]

const MODE = 0
const NAME = 1
const NAME_WORDS = 4
const STATUS = 5
/** Process that set the status; a status of a datapath that is gone means nothing. */
const OWNER = 6
/** 1 native XDP, 2 generic. */
const ATTACH_MODE = 7
/** 1 copy, 2 zero copy. */
const COPY_MODE = 8
/** errno of a failed attachment, 0 when there is none. */
const ERRNO = 9
const ROW_WORDS = 16

/** Longest device name, in bytes (IFNAMSIZ less its end). */
export const DEVICE_NAME_BYTES_MAX = 15

export const PORTS_SPEC: MapSpec = {
  name: 'ports',
  type: 'array',
  keyWords: 0,
  valueWords: ROW_WORDS,
  // One more: its first word counts changes, so that the datapath need not compare all rows to see
  // that there are none.
  maxEntries: PORTS_MAX + 1,
}

/** What the datapath says of a port. */
export interface PortReport {
  readonly status: PortStatus
  readonly isNative: boolean
  readonly isZeroCopy: boolean
  readonly errno: number
}

export class PortTable {
  readonly #map: ArrayMap

  constructor(map: ArrayMap) {
    this.#map = map
  }

  /**
   * Control plane: asks for the device; the mode is stored last, so that no half-written row is
   * seen.
   */
  request(port: number, device: string, mode: PortMode): void {
    const start = this.#map.valueStart(port)
    const words = this.#map.words
    Atomics.store(words, start + MODE, PortMode.NONE)
    words[start + STATUS] = PortStatus.DETACHED
    words.fill(0, start + NAME, start + NAME + NAME_WORDS)
    const bytes = Buffer.from(device, 'latin1')
    for (let i = 0; i < bytes.length && i < DEVICE_NAME_BYTES_MAX; i++) {
      const word = start + NAME + (i >> 2)
      words[word] = (words[word] as number) | ((bytes[i] as number) << ((i & 3) * 8))
    }
    Atomics.store(words, start + MODE, mode)
    this.#changed()
  }

  release(port: number): void {
    Atomics.store(this.#map.words, this.#map.valueStart(port) + MODE, PortMode.NONE)
    this.#changed()
  }

  /** Differs after every request and release. */
  get changes(): number {
    return this.#map.words[this.#map.valueStart(PORTS_MAX)] as number
  }

  #changed(): void {
    Atomics.add(this.#map.words, this.#map.valueStart(PORTS_MAX), 1)
  }

  mode(port: number): PortMode {
    return Atomics.load(this.#map.words, this.#map.valueStart(port) + MODE) as PortMode
  }

  device(port: number): string {
    const start = this.#map.valueStart(port) + NAME
    let name = ''
    for (let i = 0; i < NAME_WORDS * 4; i++) {
      const byte = ((this.#map.words[start + (i >> 2)] as number) >>> ((i & 3) * 8)) & 0xff
      if (byte === 0) break
      name += String.fromCharCode(byte)
    }
    return name
  }

  /** Datapath: what became of a request. */
  setReport(port: number, owner: number, report: PortReport): void {
    const start = this.#map.valueStart(port)
    const words = this.#map.words
    words[start + OWNER] = owner
    words[start + ATTACH_MODE] = report.isNative ? 1 : 2
    words[start + COPY_MODE] = report.isZeroCopy ? 2 : 1
    words[start + ERRNO] = report.errno
    Atomics.store(words, start + STATUS, report.status)
  }

  /** The errno for which the port, whoever tried last, could not be attached; 0 without failure. */
  failure(port: number): number {
    const start = this.#map.valueStart(port)
    const words = this.#map.words
    return words[start + STATUS] === PortStatus.FAILED ? (words[start + ERRNO] as number) : 0
  }

  /**
   * Control plane: what the datapath process `owner` says; a status left by another one is
   * DETACHED.
   */
  report(port: number, owner: number): PortReport {
    const start = this.#map.valueStart(port)
    const words = this.#map.words
    const isOfOwner = words[start + OWNER] === owner
    return {
      status: isOfOwner ? (words[start + STATUS] as PortStatus) : PortStatus.DETACHED,
      isNative: words[start + ATTACH_MODE] === 1,
      isZeroCopy: words[start + COPY_MODE] === 2,
      errno: words[start + ERRNO] as number,
    }
  }
}
