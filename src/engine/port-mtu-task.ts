/**
 * Keeps the MTUs of attached devices in their endpoint rows, where the stages find them: what is larger
 * is told to its sender, and not lost in a veth. A task of the datapath's main thread: the worker
 * reads a device's when it attaches it, and an operator may change it later.
 */
import { deviceInfo } from 'xdp-socket-napi'
import { PORTS_MAX } from '../base/limits.js'
import type { EndpointTable } from '../endpoint/endpoint-table.js'
import { PortMode, PortStatus, type PortTable } from '../port/port-table.js'

const STEP_MILLISECONDS = 1000
/** Devices asked in one step; each takes some 50 µs. */
const DEVICES_PER_STEP = 64

export class PortMtuTask {
  readonly #endpoints: EndpointTable
  readonly #ports: PortTable
  readonly #timer: NodeJS.Timeout
  #next = 0

  constructor(endpoints: EndpointTable, ports: PortTable) {
    this.#endpoints = endpoints
    this.#ports = ports
    this.#timer = setInterval(() => this.#step(), STEP_MILLISECONDS)
  }

  close(): void {
    clearInterval(this.#timer)
  }

  #step(): void {
    let left = DEVICES_PER_STEP
    for (let i = 0; i < PORTS_MAX && left > 0; i++) {
      const port = this.#next
      this.#next = port + 1 < PORTS_MAX ? port + 1 : 0
      if (!this.#isAttached(port)) continue
      left--
      readMtu(this.#endpoints, port, this.#ports.device(port))
    }
  }

  #isAttached(port: number): boolean {
    if (this.#ports.mode(port) === PortMode.NONE) return false
    return this.#ports.report(port, process.pid).status === PortStatus.ATTACHED
  }
}

/** Of a device that has gone, nothing: it is the port manager's affair. */
export function readMtu(endpoints: EndpointTable, port: number, device: string): void {
  let mtuBytes: number
  try {
    ;({ mtuBytes } = deviceInfo(device))
  } catch {
    return
  }
  endpoints.setMtu(port, mtuBytes)
}
