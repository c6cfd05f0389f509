/**
 * The ports of a worker that is not the first: it has sockets on its own queues of each port that the
 * first worker offers (src/port/shared-ports.ts), in the first worker's program. A housekeeping task.
 *
 * What it does not do: attach programs, write reports, or try again. Where it cannot join, the first
 * worker is told, lets the port go and begins anew.
 */
import { PORTS_MAX } from '../base/limits.js'
import { PortMode, type PortTable } from '../port/port-table.js'
import { NO_OFFER, type SharedPorts } from '../port/shared-ports.js'
import type { Housekeeping } from './burst-loop.js'
import { errnoOf, type PortListener } from './port-manager.js'

/** What the follower needs of an exchange over devices; XskExchange is one. */
export interface JoiningPorts {
  join(port: number, device: string, mode: 'pod' | 'uplink', descriptors: Int32Array): void
  detach(port: number): void
}

export class PortFollower implements Housekeeping {
  readonly #ports: PortTable
  readonly #devices: JoiningPorts
  readonly #shared: SharedPorts
  readonly #log: (line: string) => void
  readonly #listener: PortListener
  readonly #joined = new Set<number>()
  #changesSeen = -1

  /** @param listener is told of the ports that this worker has joined */
  constructor(
    ports: PortTable,
    devices: JoiningPorts,
    shared: SharedPorts,
    log: (line: string) => void,
    listener: PortListener,
  ) {
    this.#ports = ports
    this.#devices = devices
    this.#shared = shared
    this.#log = log
    this.#listener = listener
  }

  step(): void {
    const { changes } = this.#shared
    if (changes === this.#changesSeen) return
    this.#changesSeen = changes
    for (let port = 0; port < PORTS_MAX; port++) this.#follow(port)
  }

  #follow(port: number): void {
    const offer = this.#shared.offered(port)
    if (this.#shared.isAnswered(port, offer)) return
    if (this.#joined.has(port)) this.#leave(port)
    if (offer !== NO_OFFER) this.#join(port, offer)
  }

  #join(port: number, offer: number): void {
    const device = this.#ports.device(port)
    const mode = this.#ports.mode(port) === PortMode.UPLINK ? 'uplink' : 'pod'
    try {
      this.#devices.join(port, device, mode, this.#shared.descriptors(port))
    } catch (error) {
      this.#log(`port ${port}: ${device} not joined: ${String(error)}`)
      this.#shared.refuse(port, offer, errnoOf(error))
      return
    }
    this.#joined.add(port)
    this.#listener.attached(port, mode)
    this.#shared.hold(port, offer)
  }

  #leave(port: number): void {
    this.#listener.detaching(port)
    this.#joined.delete(port)
    this.#devices.detach(port)
    this.#shared.hold(port, NO_OFFER)
  }
}
