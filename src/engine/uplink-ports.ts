/**
 * The UPLINK ports of this process, by device name: those that it has attached, as the port table says,
 * and while it starts those that it is about to. A route by a device that is no port is left to the
 * node's stack: without the latter the first packets, and at a takeover those of connections that go
 * on, would go there until somebody looked again.
 */
import { PORTS_MAX } from '../base/limits.js'
import { PortMode, PortStatus, type PortTable } from '../port/port-table.js'
import type { UplinkDirectory } from '../routing/route-mirror.js'

export class UplinkPorts implements UplinkDirectory {
  readonly #table: PortTable
  readonly #owner: number
  #isStarting = true
  #ports: ReadonlyMap<string, number> = new Map()

  /** @param owner process id of the datapath */
  constructor(table: PortTable, owner: number) {
    this.#table = table
    this.#owner = owner
  }

  /** The worker has attached what it could. */
  started(): void {
    this.#isStarting = false
  }

  refresh(): boolean {
    const before = this.#ports
    this.#ports = this.#find()
    const isSame =
      before.size === this.#ports.size &&
      [...this.#ports].every(([device, port]) => before.get(device) === port)
    return !isSame
  }

  ports(): ReadonlyMap<string, number> {
    return this.#ports
  }

  #find(): Map<string, number> {
    const found = new Map<string, number>()
    for (let port = 0; port < PORTS_MAX; port++) {
      if (this.#table.mode(port) !== PortMode.UPLINK) continue
      if (this.#isOurs(port)) found.set(this.#table.device(port), port)
    }
    return found
  }

  #isOurs(port: number): boolean {
    const { status } = this.#table.report(port, this.#owner)
    return status === PortStatus.ATTACHED || (this.#isStarting && status === PortStatus.DETACHED)
  }
}
