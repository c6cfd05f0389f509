/**
 * The node's own addresses on its uplinks: the tunnel's port there, and, where the host firewall is to
 * judge it, what begins something; the ports of our NAT there and at the addresses that egress
 * policies let pods leave from.
 */
import { PORTS_MAX } from '../../base/limits.js'
import { Endpoint, PortKind } from '../../endpoint/endpoint-table.js'
import { Revisions } from '../../maps/revision.js'
import { EGRESS_KEY_WORDS, EGRESS_VALUE_WORDS, EgressWord } from '../../nat/egress-gateway.js'
import type { DatapathMaps } from '../../pipeline/datapath-maps.js'
import { Protocol } from '../../wire/protocols.js'
import { AddressBytes, type SteeringPart, type SteeringProgram } from './steering-program.js'

const NOTHING: ReadonlySet<number> = new Set()

export class OwnAddressSteering implements SteeringPart {
  readonly #maps: DatapathMaps
  readonly #program: SteeringProgram
  readonly #revisions: Revisions
  readonly #bytes = new AddressBytes()
  #seen: number | undefined
  #natAddresses: ReadonlySet<number> = new Set()
  #tunnelAddresses: ReadonlySet<number> = new Set()
  #guarded: ReadonlySet<number> = NOTHING
  #tunnelPort = 0

  constructor(maps: DatapathMaps, program: SteeringProgram) {
    this.#maps = maps
    this.#program = program
    this.#revisions = new Revisions([maps.endpoints, maps.node, maps.egressPolicies])
  }

  step(): boolean {
    const revision = this.#revisions.sum
    if (revision === this.#seen) return true
    this.#seen = revision
    const own = this.#own()
    this.#setTunnel(own, this.#maps.node.tunnelPort)
    this.#setGuarded(this.#maps.node.guardsUplinks ? own : NOTHING)
    this.#setNat(new Set([...own, ...this.#ofEgressPolicies()]))
    return true
  }

  #setGuarded(addresses: ReadonlySet<number>): void {
    for (const address of this.#guarded) {
      if (!addresses.has(address)) this.#program.removeGuarded(this.#bytes.of(address))
    }
    for (const address of addresses) {
      if (!this.#guarded.has(address)) this.#program.addGuarded(this.#bytes.of(address))
    }
    this.#guarded = addresses
  }

  #setTunnel(addresses: ReadonlySet<number>, port: number): void {
    const program = this.#program
    const before = this.#tunnelPort
    const isSamePort = port === before
    for (const address of before === 0 ? [] : this.#tunnelAddresses) {
      if (isSamePort && addresses.has(address)) continue
      program.removeFrontend(this.#bytes.of(address), before, Protocol.UDP)
    }
    for (const address of port === 0 ? [] : addresses) {
      if (isSamePort && this.#tunnelAddresses.has(address)) continue
      program.addFrontend(this.#bytes.of(address), port, Protocol.UDP)
    }
    this.#tunnelAddresses = addresses
    this.#tunnelPort = port
  }

  #setNat(addresses: ReadonlySet<number>): void {
    for (const address of this.#natAddresses) {
      if (!addresses.has(address)) this.#program.removeNatAddress(this.#bytes.of(address))
    }
    for (const address of addresses) {
      if (!this.#natAddresses.has(address)) this.#program.addNatAddress(this.#bytes.of(address))
    }
    this.#natAddresses = addresses
  }

  #own(): Set<number> {
    const { endpoints, node } = this.#maps
    const own = new Set<number>()
    if (node.nodeAddress !== 0) own.add(node.nodeAddress)
    for (let port = 0; port < PORTS_MAX; port++) {
      if (endpoints.kind(port) !== PortKind.UPLINK) continue
      own.add(endpoints.words[endpoints.rowStart(port) + Endpoint.ADDRESS + 3] as number)
    }
    return own
  }

  /** Of the policies that make this node a gateway. */
  #ofEgressPolicies(): Set<number> {
    const { egressPolicies, node } = this.#maps
    const found = new Set<number>()
    const prefix = new Int32Array(EGRESS_KEY_WORDS + 1)
    const value = new Int32Array(EGRESS_VALUE_WORDS)
    for (const slot of egressPolicies.slots()) {
      if (!egressPolicies.read(slot, prefix, value)) continue
      const address = value[EgressWord.EGRESS_ADDRESS] as number
      if (address !== 0 && value[EgressWord.GATEWAY] === node.nodeAddress) found.add(address)
    }
    return found
  }
}
