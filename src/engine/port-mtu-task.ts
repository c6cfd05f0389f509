/**
 * Keeps the MTUs of attached devices in their endpoint rows, where the stages find them: what is larger
 * is told to its sender, and not lost in a veth. A housekeeping task of the first worker: read when a
 * device is attached, and looked at again now and then, for an operator may change it.
 */
import { PORTS_MAX } from '../base/limits.js'
import type { EndpointTable } from '../endpoint/endpoint-table.js'
import type { Housekeeping } from './burst-loop.js'

/** Devices asked in one second: 16 system calls are some 20 µs. */
const PORTS_PER_LOOK = 16

export class PortMtuTask implements Housekeeping {
  readonly #endpoints: EndpointTable
  readonly #mtuOf: (device: string) => number
  readonly #devices = new Map<number, string>()
  #next = 0
  #lastSeconds = 0

  /** @param mtuOf in bytes; it may throw for a device that has gone */
  constructor(endpoints: EndpointTable, mtuOf: (device: string) => number) {
    this.#endpoints = endpoints
    this.#mtuOf = mtuOf
  }

  attached(port: number, device: string): void {
    this.#devices.set(port, device)
    this.#look(port, device)
  }

  detached(port: number): void {
    this.#devices.delete(port)
  }

  step(nowSeconds: number): void {
    if (nowSeconds === this.#lastSeconds || this.#devices.size === 0) return
    this.#lastSeconds = nowSeconds
    let left = PORTS_PER_LOOK
    for (let i = 0; i < PORTS_MAX && left > 0; i++) {
      this.#next = this.#next + 1 < PORTS_MAX ? this.#next + 1 : 0
      const device = this.#devices.get(this.#next)
      if (device === undefined) continue
      left--
      this.#look(this.#next, device)
    }
  }

  /** A device that has gone is the port manager's affair. */
  #look(port: number, device: string): void {
    try {
      this.#endpoints.setMtu(port, this.#mtuOf(device))
    } catch {
      this.#devices.delete(port)
    }
  }
}
