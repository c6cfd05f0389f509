/** The UPLINK ports that this process has attached, by device name, as the port table says. */
import { PORTS_MAX } from '../base/limits.js'
import { PortMode, PortStatus, type PortTable } from '../port/port-table.js'
import type { UplinkDirectory } from '../routing/route-mirror.js'

export class AttachedUplinks implements UplinkDirectory {
  readonly #table: PortTable
  readonly #owner: number
  #ports: ReadonlyMap<string, number> = new Map()

  /** @param owner process id of the datapath */
  constructor(table: PortTable, owner: number) {
    this.#table = table
    this.#owner = owner
  }

  refresh(): boolean {
    const before = this.#ports
    this.#ports = this.#attached()
    const isSame =
      before.size === this.#ports.size &&
      [...this.#ports].every(([device, port]) => before.get(device) === port)
    return !isSame
  }

  ports(): ReadonlyMap<string, number> {
    return this.#ports
  }

  #attached(): Map<string, number> {
    const found = new Map<string, number>()
    for (let port = 0; port < PORTS_MAX; port++) {
      if (this.#table.mode(port) !== PortMode.UPLINK) continue
      if (this.#table.report(port, this.#owner).status !== PortStatus.ATTACHED) continue
      found.set(this.#table.device(port), port)
    }
    return found
  }
}
