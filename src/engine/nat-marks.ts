/**
 * The marks of ports in use (src/nat/port-use.ts) on the uplinks of a worker that is not the first: a
 * mapping that it makes is marked before the first answer comes. All else of steering is the first
 * worker's (uplink-steering.ts).
 */
import type { SteeringMode } from 'xdp-socket-napi'
import type { PortUse } from '../nat/port-use.js'
import type { PortListener } from './port-manager.js'

export class NatMarks implements PortListener {
  readonly #portUse: PortUse
  readonly #marksOf: (port: number) => Uint8Array | undefined
  readonly #marks = new Map<number, Uint8Array>()

  /** @param marksOf `natPorts` of the program on a port */
  constructor(portUse: PortUse, marksOf: (port: number) => Uint8Array | undefined) {
    this.#portUse = portUse
    this.#marksOf = marksOf
  }

  attached(port: number, mode: SteeringMode): void {
    const marks = mode === 'uplink' ? this.#marksOf(port) : undefined
    if (marks === undefined) return
    this.#portUse.attach(marks)
    this.#marks.set(port, marks)
  }

  detaching(port: number): void {
    const marks = this.#marks.get(port)
    if (marks === undefined) return
    this.#portUse.detach(marks)
    this.#marks.delete(port)
  }
}
