/** The node's own addresses on its uplinks: the tunnel's port there, and the ports of our NAT. */
import { PORTS_MAX } from '../../base/limits.js'
import { Endpoint, PortKind } from '../../endpoint/endpoint-table.js'
import { Revisions } from '../../maps/revision.js'
import type { DatapathMaps } from '../../pipeline/datapath-maps.js'
import { Protocol } from '../../wire/protocols.js'
import { AddressBytes, type SteeringPart, type SteeringProgram } from './steering-program.js'

export class OwnAddressSteering implements SteeringPart {
  readonly #maps: DatapathMaps
  readonly #program: SteeringProgram
  readonly #revisions: Revisions
  readonly #bytes = new AddressBytes()
  #seen: number | undefined
  #addresses = new Set<number>()
  #tunnelPort = 0

  constructor(maps: DatapathMaps, program: SteeringProgram) {
    this.#maps = maps
    this.#program = program
    this.#revisions = new Revisions([maps.endpoints, maps.node])
  }

  step(): boolean {
    const revision = this.#revisions.sum
    if (revision === this.#seen) return true
    this.#seen = revision
    const wanted = this.#wanted()
    const tunnelPort = this.#maps.node.tunnelPort
    for (const address of this.#addresses) {
      if (!wanted.has(address)) this.#program.removeNatAddress(this.#bytes.of(address))
      if (!wanted.has(address) || tunnelPort !== this.#tunnelPort) this.#setTunnel(address, false)
    }
    const isNewTunnel = tunnelPort !== this.#tunnelPort
    this.#tunnelPort = tunnelPort
    for (const address of wanted) {
      const isNew = !this.#addresses.has(address)
      if (isNew) this.#program.addNatAddress(this.#bytes.of(address))
      if (isNew || isNewTunnel) this.#setTunnel(address, true)
    }
    this.#addresses = wanted
    return true
  }

  #setTunnel(address4: number, isOurs: boolean): void {
    if (this.#tunnelPort === 0) return
    const bytes = this.#bytes.of(address4)
    if (isOurs) this.#program.addFrontend(bytes, this.#tunnelPort, Protocol.UDP)
    else this.#program.removeFrontend(bytes, this.#tunnelPort, Protocol.UDP)
  }

  #wanted(): Set<number> {
    const { endpoints, node } = this.#maps
    const wanted = new Set<number>()
    if (node.nodeAddress !== 0) wanted.add(node.nodeAddress)
    for (let port = 0; port < PORTS_MAX; port++) {
      if (endpoints.kind(port) !== PortKind.UPLINK) continue
      wanted.add(endpoints.words[endpoints.rowStart(port) + Endpoint.ADDRESS + 3] as number)
    }
    return wanted
  }
}
