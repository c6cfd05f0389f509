/**
 * The node's own devices in the maps: its host pair and its uplinks, added, changed and removed while
 * the traffic of others goes on. Each change is validated whole before its first word is stored.
 *
 * A device that is changed keeps its port: the datapath lets the old device go and takes the new one
 * with its next look at the table.
 */
import { PORTS_MAX } from '../base/limits.js'
import { Endpoint, PortKind } from '../endpoint/endpoint-table.js'
import { Identity } from '../identity/identity.js'
import type { ServiceWriter } from '../lb/service-writer.js'
import { ANNOUNCEMENT_KEY_WORDS } from '../netdev/netdev-maps.js'
import { NO_PORT } from '../packet/burst.js'
import type { DatapathMaps } from '../pipeline/datapath-maps.js'
import { NO_POLICY } from '../policy/policy-map.js'
import type { PolicyWriter } from '../policy/policy-writer.js'
import { PortMode } from '../port/port-table.js'
import { ipv4Words, parseAddress, parseIpv4, parseMac } from '../wire/address.js'
import type { NodeAddresses } from './node-addresses.js'
import {
  checkDevice,
  HOST_ENDPOINT_ID,
  HOST_PREFIX_LENGTH,
  invalid,
  ipcacheFull,
  OPEN,
} from './node-checks.js'
import type { HostSpec, UplinkSpec } from './node-spec.js'

const NO_MAC = { high: 0, low: 0 } as const

/** Routes name an uplink's port until the datapath has looked again: nobody else gets it before. */
const REST_MILLISECONDS = 2_000

/** What the controller shares with its parts. */
export interface DeviceContext {
  readonly maps: DatapathMaps
  readonly policies: PolicyWriter
  readonly services: ServiceWriter
  readonly addresses: NodeAddresses
  readonly portOfEndpoint: Map<number, number>
  /** @throws RingpathError PORT_LIMIT */
  freePort(): number
}

export class NodeDevices {
  readonly #context: DeviceContext
  readonly #maps: DatapathMaps
  /** Of the host pair, by their text. */
  #hostAddresses = new Map<string, Int32Array>()
  readonly #restsUntil = new Map<number, number>()

  constructor(context: DeviceContext) {
    this.#context = context
    this.#maps = context.maps
  }

  /** Adds the node's own way out. There is one; returns its port. */
  addHost(spec: HostSpec): number {
    const host = checkedHost(spec)
    const { portOfEndpoint, policies } = this.#context
    if (portOfEndpoint.has(HOST_ENDPOINT_ID)) {
      throw invalid('host.device', spec.device, 'a node without a host pair')
    }
    const port = this.#context.freePort()
    this.#addAddresses(host.addresses.values(), port)
    this.#setHostRow(port, policies.add(OPEN), host)
    portOfEndpoint.set(HOST_ENDPOINT_ID, port)
    this.#maps.ports.request(port, spec.device, PortMode.POD)
    this.#maps.node.hostPort = port
    this.#addAddresses(this.#uplinkAddresses(), port)
    this.#context.services.renewAddresses()
    return port
  }

  /** Makes the host pair that is there so; its policy stays. Adds one where there is none. */
  setHost(spec: HostSpec): number {
    const port = this.#context.portOfEndpoint.get(HOST_ENDPOINT_ID)
    if (port === undefined) return this.addHost(spec)
    const host = checkedHost(spec)
    const gone = [...this.#hostAddresses].filter(([text]) => !host.addresses.has(text))
    this.#addAddresses(host.addresses.values(), port)
    this.#setHostRow(port, this.#word(port, Endpoint.POLICY), host)
    this.#requestOther(port, spec.device, PortMode.POD)
    this.#deleteAddresses(gone.map(([, address]) => address))
    this.#context.services.renewAddresses()
    return port
  }

  get hasHost(): boolean {
    return this.#context.portOfEndpoint.has(HOST_ENDPOINT_ID)
  }

  /** What an earlier controller of these maps was told. */
  adoptHost(spec: HostSpec): void {
    this.#hostAddresses = new Map(checkedHost(spec).addresses)
  }

  /** From then on nothing reaches the node's own stack by us. */
  removeHost(): void {
    const { portOfEndpoint, policies, services } = this.#context
    const port = portOfEndpoint.get(HOST_ENDPOINT_ID)
    if (port === undefined) return
    const { endpoints, ports, node } = this.#maps
    node.hostPort = NO_PORT
    ports.release(port)
    const gone = [...this.#hostAddresses.values()]
    this.#hostAddresses = new Map()
    this.#deleteAddresses(gone)
    this.#addAddresses(this.#uplinkAddresses(), NO_PORT)
    endpoints.clear(port)
    policies.delete(endpoints.swapPolicy(port, NO_POLICY))
    portOfEndpoint.delete(HOST_ENDPOINT_ID)
    services.renewAddresses()
  }

  /**
   * Adds a way to the outside; returns its port. The first one's address is the node's own
   * (`NodeSettings.nodeAddress`).
   */
  addUplink(spec: UplinkSpec): number {
    const uplink = checkedUplink(spec)
    if (this.#portOfUplink(uplink.device) !== NO_PORT) {
      throw invalid('uplink.device', uplink.device, 'a device that is no uplink yet')
    }
    const port = this.#context.freePort()
    this.#addAddresses([uplink.address], this.#maps.node.hostPort)
    this.#setUplinkRow(port, uplink)
    this.#maps.ports.request(port, uplink.device, PortMode.UPLINK)
    this.#chooseNodeAddress()
    this.#context.services.renewAddresses()
    return port
  }

  /** Makes the uplink on that device so; adds it where there is none. */
  setUplink(spec: UplinkSpec): number {
    const uplink = checkedUplink(spec)
    const port = this.#portOfUplink(uplink.device)
    if (port === NO_PORT) return this.addUplink(spec)
    const before = this.#addressOf(port)
    this.#addAddresses([uplink.address], this.#maps.node.hostPort)
    this.#setUplinkRow(port, uplink)
    this.#deleteAddresses([before])
    this.#chooseNodeAddress()
    this.#context.services.renewAddresses()
    return port
  }

  /** The kernel has the device to itself again. */
  removeUplink(device: string): void {
    const port = this.#portOfUplink(device)
    if (port === NO_PORT) return
    const { endpoints, ports } = this.#maps
    const address = this.#addressOf(port)
    this.#withdrawFrom(port)
    ports.release(port)
    endpoints.clear(port)
    this.#restsUntil.set(port, performance.now() + REST_MILLISECONDS)
    this.#deleteAddresses([address])
    this.#chooseNodeAddress()
    this.#context.services.renewAddresses()
  }

  /** The port was an uplink's a moment ago. */
  isResting(port: number): boolean {
    return performance.now() < (this.#restsUntil.get(port) ?? 0)
  }

  uplinkDevices(): string[] {
    return this.#uplinkPorts().map((port) => this.#maps.ports.device(port))
  }

  #setHostRow(port: number, policy: number, host: CheckedHost): void {
    const { first: address, mac, nodeMac } = host
    const identity = Identity.HOST
    const row = { kind: PortKind.HOST, id: HOST_ENDPOINT_ID, identity, policy, address }
    this.#maps.endpoints.set(port, { ...row, mac, nodeMac })
    this.#hostAddresses = new Map(host.addresses)
    this.#context.addresses.add([...host.addresses.values()])
  }

  #setUplinkRow(port: number, { address, mac }: CheckedUplink): void {
    const identity = Identity.HOST
    const row = { kind: PortKind.UPLINK, id: HOST_ENDPOINT_ID, identity, policy: NO_POLICY }
    this.#maps.endpoints.set(port, { ...row, address, mac: NO_MAC, nodeMac: mac })
    this.#context.addresses.add([address])
  }

  /** The first uplink's address is the node's: it stays while that uplink is there. */
  #chooseNodeAddress(): void {
    const { node } = this.#maps
    const ports = this.#uplinkPorts()
    const port = ports.includes(node.uplinkPort) ? node.uplinkPort : (ports[0] ?? NO_PORT)
    const address4 = port === NO_PORT ? 0 : (this.#addressOf(port)[3] as number)
    if (node.uplinkPort !== port) node.uplinkPort = port
    if (node.nodeAddress !== address4) node.nodeAddress = address4
  }

  /** Another device on the port; nothing, if it is that one already. */
  #requestOther(port: number, device: string, mode: PortMode): void {
    if (this.#maps.ports.device(port) !== device) this.#maps.ports.request(port, device, mode)
  }

  #addAddresses(addresses: Iterable<Int32Array>, port: number): void {
    for (const address of addresses) {
      const { ipcache } = this.#maps
      if (!ipcache.set(address, HOST_PREFIX_LENGTH, Identity.HOST, port)) throw ipcacheFull()
    }
  }

  /** Those of them that the node has not got by another of its devices. */
  #deleteAddresses(addresses: readonly Int32Array[]): void {
    const kept = [...this.#hostAddresses.values(), ...this.#uplinkAddresses()]
    const gone = addresses.filter((address) => !kept.some((other) => isSame(address, other)))
    for (const address of gone) this.#maps.ipcache.delete(address, HOST_PREFIX_LENGTH)
    this.#context.addresses.remove(gone)
  }

  #withdrawFrom(port: number): void {
    const { announced } = this.#maps.netdev
    const key = new Int32Array(ANNOUNCEMENT_KEY_WORDS)
    const value = new Int32Array(announced.spec.valueWords)
    for (const slot of [...announced.slots()]) {
      if (announced.read(slot, key, value) && key[1] === port) announced.delete(key)
    }
  }

  #portOfUplink(device: string): number {
    const { ports } = this.#maps
    return this.#uplinkPorts().find((port) => ports.device(port) === device) ?? NO_PORT
  }

  #uplinkPorts(): number[] {
    const found: number[] = []
    for (let port = 0; port < PORTS_MAX; port++) {
      if (this.#maps.endpoints.kind(port) === PortKind.UPLINK) found.push(port)
    }
    return found
  }

  #uplinkAddresses(): Int32Array[] {
    return this.#uplinkPorts().map((port) => this.#addressOf(port))
  }

  #addressOf(port: number): Int32Array {
    const start = this.#maps.endpoints.rowStart(port) + Endpoint.ADDRESS
    return this.#maps.endpoints.words.slice(start, start + 4)
  }

  #word(port: number, index: number): number {
    return this.#maps.endpoints.words[this.#maps.endpoints.rowStart(port) + index] as number
  }
}

type CheckedHost = ReturnType<typeof checkedHost>
type CheckedUplink = ReturnType<typeof checkedUplink>

function checkedHost(spec: HostSpec) {
  checkDevice('host.device', spec.device)
  const addresses = new Map(spec.addresses.map((text) => [text, parseAddress(text)]))
  const [first] = addresses.values()
  if (first === undefined) throw invalid('host.addresses', '[]', 'at least one address')
  return { addresses, first, mac: parseMac(spec.mac), nodeMac: parseMac(spec.nodeMac) }
}

function checkedUplink(spec: UplinkSpec) {
  const device = checkDevice('uplink.device', spec.device)
  return { device, address: ipv4Words(parseIpv4(spec.address)), mac: parseMac(spec.mac) }
}

const isSame = (a: Int32Array, b: Int32Array): boolean => a.every((word, i) => word === b[i])
