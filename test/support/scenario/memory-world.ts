/** Scenarios on a TestNode: the real maps, controller, pipeline and burst loop, and virtual time. */
import { EVENT_WORDS } from '../../../src/monitor/event.js'
import { assertConserved } from '../../../src/port/conservation.js'
import type { MemoryPort } from '../../../src/port/memory-port.js'
import { RouteKind } from '../../../src/routing/route-layout.js'
import { parseIpv4, parseMac } from '../../../src/wire/address.js'
import {
  GATEWAY_ADDRESS,
  GATEWAY_MAC,
  HOST_MAC,
  NODE_ADDRESS,
  NODE_MAC,
  OUTSIDE_ADDRESS,
  TestNode,
  UPLINK_ADDRESS,
  UPLINK_MAC,
} from '../test-node.js'
import { Names } from './names.js'
import { writeHostPorts, writeMapping } from './nat-state.js'
import { configure } from './setup.js'
import { writeConnection, writeFragment } from './state.js'
import type { NodeSpec, RouteRecord } from './types.js'
import type { SentFrame, World } from './world.js'

const CLOCK_START = 1000
const ROUTE_KINDS = {
  forward: RouteKind.FORWARD,
  stack: RouteKind.STACK,
  unreachable: RouteKind.UNREACHABLE,
} as const
const HOST_ENDPOINT_ID = 0xffff

export class MemoryWorld implements World {
  readonly node: TestNode
  readonly names = new Names()
  readonly isLive = false
  readonly countersBefore = []
  readonly #ports = new Map<string, MemoryPort>()
  readonly #ids = new Map<string, number>()
  readonly #event = new Int32Array(EVENT_WORDS)

  private constructor(node: TestNode) {
    this.node = node
  }

  static async create(spec: NodeSpec, seed = 1): Promise<MemoryWorld> {
    const connections = spec.settings?.connections
    const hasHost = spec.host !== false
    const node = new TestNode({
      seed,
      hasHost,
      hasUplink: spec.uplink === true,
      ...(connections === undefined ? {} : { connections }),
    })
    const world = new MemoryWorld(node)
    node.clock.advanceSeconds((spec.clock ?? CLOCK_START) - CLOCK_START)
    if (hasHost) {
      world.#ports.set('host', node.host)
      const link = { mac: HOST_MAC, nodeMac: NODE_MAC, address: NODE_ADDRESS }
      world.names.addPort({ name: 'host', ...link, identity: 1, endpointId: HOST_ENDPOINT_ID })
    }
    if (spec.uplink === true) {
      world.#ports.set('uplink', node.uplink)
      const link = { mac: GATEWAY_MAC, nodeMac: UPLINK_MAC, address: UPLINK_ADDRESS }
      world.names.addPort({ name: 'uplink', ...link, identity: 1, endpointId: HOST_ENDPOINT_ID })
      world.names.define('gateway', GATEWAY_ADDRESS)
      world.names.define('outside', OUTSIDE_ADDRESS)
    }
    await world.configure(spec)
    return world
  }

  get maps() {
    return this.node.maps
  }

  get controller() {
    return this.node.controller
  }

  get nowSeconds(): number {
    return this.node.clock.seconds()
  }

  async configure(spec: NodeSpec): Promise<void> {
    for (const pod of spec.pods ?? []) this.#addPod(typeof pod === 'string' ? pod : pod.name)
    configure(this.controller, this.names, spec, (pod) => this.#idOf(pod), this.nowSeconds)
    for (const route of spec.routes ?? []) this.#setRoute(route)
    for (const [address, mac] of Object.entries(spec.neighbours ?? {})) {
      const address4 = parseIpv4(this.names.address(address))
      const { routes, uplinkPort } = this.node
      if (mac === null) routes.deleteNeighbour(uplinkPort, address4)
      else routes.setNeighbour(uplinkPort, address4, parseMac(this.names.mac(mac)))
    }
    if (spec.hostPorts !== undefined) writeHostPorts(this.maps, spec.hostPorts)
    for (const mapping of spec.nat ?? []) {
      writeMapping(this.maps, this.names, mapping, this.nowSeconds)
    }
    for (const fragment of spec.fragments ?? []) {
      writeFragment(this.maps, this.names, fragment, this.nowSeconds)
    }
    for (const connection of spec.connections ?? []) {
      writeConnection(this.maps, this.names, connection, this.nowSeconds)
    }
  }

  async exchange(port: string, frame: Uint8Array): Promise<SentFrame[]> {
    return this.send(port, frame)
  }

  /** The same without waiting, for those that send many. */
  send(port: string, frame: Uint8Array): SentFrame[] {
    return this.sendAll([{ port, frame }])
  }

  /** Frames that arrive at the same time. */
  sendAll(frames: readonly { readonly port: string; readonly frame: Uint8Array }[]): SentFrame[] {
    for (const { port, frame } of frames) {
      const memory = this.#ports.get(this.names.port(port).name)
      if (memory === undefined) throw new Error(`'${port}' is no port of this node`)
      memory.inject(frame)
    }
    this.node.run()
    const { exchange, loop } = this.node
    assertConserved(exchange, loop.burst)
    const sent: SentFrame[] = []
    for (const [name, memoryPort] of this.#ports) {
      for (const bytes of memoryPort.take()) sent.push({ port: name, bytes })
    }
    return sent
  }

  async advance(seconds: number): Promise<void> {
    this.passTime(seconds)
  }

  passTime(seconds: number): void {
    this.node.clock.advanceSeconds(seconds)
    const { gc, natGc } = this.node
    gc.request()
    const [before, natBefore] = [gc.sweeps, natGc.sweeps]
    while (gc.sweeps === before) gc.step(this.nowSeconds)
    while (natGc.sweeps === natBefore) natGc.step(this.nowSeconds)
  }

  events(): Int32Array[] {
    const found: Int32Array[] = []
    while (this.maps.events.read(this.#event)) found.push(this.#event.slice())
    return found
  }

  get portNames(): string[] {
    return [...this.#ports.keys()]
  }

  close(): void {
    this.node.close()
  }

  #setRoute({ prefix, kind = 'forward', gateway, mtuBytes = 1500 }: RouteRecord): void {
    const { routes, uplinkPort } = this.node
    const [text = '', length = '32'] = prefix.split('/')
    const address4 = parseIpv4(text)
    if (kind === 'none') {
      routes.deleteRoute(address4, Number(length))
      return
    }
    const hop = {
      port: uplinkPort,
      gateway: gateway === undefined ? 0 : parseIpv4(this.names.address(gateway)),
      source: parseIpv4(UPLINK_ADDRESS),
      mtuBytes,
    }
    const hops = kind === 'forward' ? [hop] : []
    routes.setRoute(address4, Number(length), { kind: ROUTE_KINDS[kind], hops })
  }

  #addPod(name: string): void {
    const pod = this.node.pod()
    this.#ports.set(name, pod.port)
    this.#ids.set(name, pod.id)
    const { mac, address, identity, id: endpointId } = pod
    this.names.addPort({ name, mac, nodeMac: NODE_MAC, address, identity, endpointId })
  }

  #idOf(pod: string): number {
    const id = pod === 'host' ? HOST_ENDPOINT_ID : this.#ids.get(pod)
    if (id === undefined) throw new Error(`'${pod}' is no pod of this node`)
    return id
  }
}
