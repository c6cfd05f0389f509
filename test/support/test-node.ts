/**
 * A whole node in memory: the real maps, controller, pipeline and burst loop, with memory ports for
 * pods and virtual time.
 */

import { VirtualClock } from '../../src/base/clock.js'
import { BURST_CAPACITY } from '../../src/base/limits.js'
import { ConntrackGc } from '../../src/conntrack/ct-gc.js'
import { type EndpointSpec, NodeController } from '../../src/daemon/node-controller.js'
import { BurstLoop } from '../../src/engine/burst-loop.js'
import { IDLE_DEFAULTS, IdleStrategy } from '../../src/engine/idle-strategy.js'
import { EVENT_WORDS, EventType, EventWord } from '../../src/monitor/event.js'
import { readMetrics } from '../../src/monitor/metrics.js'
import { NatGc } from '../../src/nat/nat-gc.js'
import type { SourceNat } from '../../src/nat/source-nat.js'
import { PacketBuffer } from '../../src/packet/packet-buffer.js'
import { DatapathMaps } from '../../src/pipeline/datapath-maps.js'
import type { FlowNews } from '../../src/pipeline/flow-news.js'
import { Pipeline } from '../../src/pipeline/pipeline.js'
import type { EndpointPolicy } from '../../src/policy/policy-rule.js'
import { MemoryPort, type MemoryPortOptions } from '../../src/port/memory-port.js'
import { SoftwareExchange } from '../../src/port/software-exchange.js'
import { RouteKind } from '../../src/routing/route-layout.js'
import { RouteWriter } from '../../src/routing/route-writer.js'
import { parseIpv4, parseMac } from '../../src/wire/address.js'

/** MAC of the node's side of every pair, and of the node's own end of the host pair. */
export const NODE_MAC = '02:00:00:00:ff:01'
export const HOST_MAC = '02:00:00:00:ff:02'
export const NODE_ADDRESS = '10.0.0.1'

/** The uplink of a TestNode, its gateway, and somebody outside behind that. */
export const UPLINK_ADDRESS = '192.0.2.2'
export const UPLINK_MAC = '02:00:00:00:fe:01'
export const GATEWAY_ADDRESS = '192.0.2.1'
export const GATEWAY_MAC = '02:00:00:00:fe:02'
export const OUTSIDE_ADDRESS = '198.51.100.1'

export interface TestPod {
  readonly id: number
  readonly port: MemoryPort
  readonly address: string
  readonly identity: number
  readonly mac: string
}

export interface TestNodeOptions {
  /** The longest frame that its ports carry; 2048 unless given. */
  readonly frameBytesMax?: number
  /** In front of each received frame; as the kernel leaves it unless given. */
  readonly headroomBytes?: number
  readonly connections?: number
  readonly hasHost?: boolean
  /** With an uplink: 192.0.2.2/24 and a default route by 192.0.2.1, whose MAC is known. */
  readonly hasUplink?: boolean
  /**
   * Tells nodes of one test apart, 1 unless given: it is in the pods' addresses, the host's, and the
   * uplink's, whose last byte is one more.
   */
  readonly number?: number
  /** Of the pipeline's random choices, and of the maps' hashes. */
  readonly seed?: number
  /** As PipelineOptions has it. */
  readonly repeatsFlows?: boolean
  readonly news?: FlowNews
  /** Entries of the ipcache, 1024 unless given, and of the policy map, 4096. */
  readonly prefixes?: number
  readonly policies?: number
}

const SERVICES = {
  services: 256,
  backends: 256,
  slots: 1024,
  maglevWords: 8192,
  affinities: 256,
  sourceRanges: 256,
}
/** More would cost more memory than all maps. */
const SMALL = {
  connections: 4096,
  identities: 1024,
  policies: 4096,
  events: 1024,
  fragments: 1024,
  services: SERVICES,
  routing: { routes: 256, neighbours: 256 },
  nat: { snat: 4096, destinations: 256 },
  netdev: { denied: 256 },
  egressPolicies: 256,
}

export class TestNode {
  readonly clock = new VirtualClock(1000)
  readonly maps: DatapathMaps
  readonly controller: NodeController
  readonly exchange: SoftwareExchange
  readonly gc: ConntrackGc
  readonly natGc: NatGc
  readonly nat: SourceNat
  readonly packet: PacketBuffer
  readonly pipeline: Pipeline
  readonly loop: BurstLoop
  readonly host: MemoryPort
  readonly uplink: MemoryPort
  /** Port number of the uplink; -1 without one. */
  uplinkPort = -1
  /** Routes and neighbours, written by hand in place of the mirror of the kernel's. */
  readonly routes: RouteWriter
  /** Of the host pair, and of the uplink. */
  readonly address: string
  readonly uplinkAddress: string
  readonly uplinkMac: string
  readonly #number: number
  readonly #queues: MemoryPortOptions
  #pods = 0

  constructor(options: TestNodeOptions = {}) {
    const number = options.number ?? 1
    this.#number = number
    const { frameBytesMax = 2048 } = options
    this.#queues = { queueFramesMax: 1024, frameBytesMax }
    this.address = numbered(NODE_ADDRESS, number)
    this.uplinkAddress = numbered(UPLINK_ADDRESS, number)
    this.uplinkMac = numbered(UPLINK_MAC, number * 16 - 15, ':')
    const { connections = SMALL.connections, prefixes = SMALL.identities } = options
    const { policies = SMALL.policies } = options
    const seed = options.seed ?? 1
    const sizes = { ...SMALL, connections, identities: prefixes, policies }
    this.maps = DatapathMaps.inMemory(sizes, { seed })
    this.controller = new NodeController(this.maps, { maglevTableSize: 251 })
    this.exchange = new SoftwareExchange([], {
      clock: this.clock,
      frameCount: 512,
      ...(options.headroomBytes !== undefined && { headroomBytes: options.headroomBytes }),
    })
    this.host = new MemoryPort('host', this.#queues)
    if (options.hasHost !== false) {
      const port = this.controller.addHost({
        device: 'host',
        addresses: [this.address],
        mac: HOST_MAC,
        nodeMac: NODE_MAC,
      })
      this.#place(this.host, port)
    }
    this.uplink = new MemoryPort('uplink', this.#queues)
    this.routes = new RouteWriter(this.maps.routing)
    if (options.hasUplink === true) this.#addUplink()
    const packet = new PacketBuffer(this.exchange.umem, this.exchange.stride, this.exchange.chains)
    const state = this.maps.stateFor(0, seed)
    this.packet = packet
    this.pipeline = new Pipeline(state, packet, BURST_CAPACITY, {
      repeatsFlows: options.repeatsFlows ?? true,
      news: options.news,
    })
    this.nat = state.nat
    this.gc = new ConntrackGc(this.maps.conntrackTable)
    this.natGc = new NatGc(state.nat, this.maps.conntrackTable, this.gc)
    const housekeeping = [this.gc, this.natGc, this.pipeline]
    this.loop = new BurstLoop(
      this.exchange,
      this.pipeline,
      new IdleStrategy(IDLE_DEFAULTS),
      housekeeping,
    )
  }

  /**
   * Adds a pod: the first of node 1 is 10.0.1.1 with MAC 02:00:00:00:00:01 and identity 301, and so
   * on; of node 2 10.0.2.1 with 02:00:00:00:02:01 and 601.
   */
  pod(policy?: EndpointPolicy, options: Partial<EndpointSpec> = {}): TestPod {
    const id = ++this.#pods
    const address = `10.0.${this.#number}.${id}`
    const group = this.#number === 1 ? '00' : hexByte(this.#number)
    const mac = `02:00:00:00:${group}:${hexByte(id)}`
    const identity = 300 * this.#number + id
    const port = new MemoryPort(`pod${id}`, this.#queues)
    const device = `pod${id}`
    const spec = { id, identity, device, address, mac, nodeMac: NODE_MAC, ...options }
    this.#place(port, this.controller.addEndpoint(spec, policy))
    return { id, port, address, identity, mac }
  }

  /** Lets a frame in by a port and runs the datapath until it has nothing more to do. */
  send(port: MemoryPort, frame: Uint8Array): void {
    port.inject(frame)
    this.run()
  }

  run(): void {
    while (this.loop.turn() > 0);
    // One more exchange carries the last burst out.
    this.loop.turn()
  }

  /** Time for housekeeping, a tenth of a second: it comes about once a millisecond. */
  idle(): void {
    for (let turn = 0; turn < 100; turn++) {
      this.clock.advanceSeconds(0.001_1)
      this.loop.turn()
    }
  }

  /** The positive codes of all drops so far, in order of their events. */
  drops(): number[] {
    return this.events(EventType.DROP).map((event) => event[EventWord.CODE] as number)
  }

  /** Takes the events of one type; those of other types are lost. */
  events(type: number): Int32Array[] {
    const found: Int32Array[] = []
    const event = new Int32Array(EVENT_WORDS)
    while (this.maps.events.read(event)) {
      if (event[EventWord.TYPE] === type) found.push(event.slice())
    }
    return found
  }

  /** Frames counted for a reason and direction. */
  counted(reason: number, direction: number): number {
    const lines = readMetrics(this.maps.metrics)
    return lines.find((l) => l.reason === reason && l.direction === direction)?.frames ?? 0
  }

  close(): void {
    this.exchange.close()
  }

  #addUplink(): void {
    const [address, mac] = [this.uplinkAddress, this.uplinkMac]
    this.uplinkPort = this.controller.addUplink({ device: 'uplink', address, mac })
    this.#place(this.uplink, this.uplinkPort)
    this.route('192.0.2.0/24')
    this.route('0.0.0.0/0', GATEWAY_ADDRESS)
    this.neighbour(GATEWAY_ADDRESS, GATEWAY_MAC)
  }

  /** A route by the uplink. @param gateway none: on the link */
  route(cidr: string, gateway?: string, mtuBytes = 1500): void {
    const [address = '', length = ''] = cidr.split('/')
    const hop = {
      port: this.uplinkPort,
      gateway: gateway === undefined ? 0 : parseIpv4(gateway),
      source: parseIpv4(this.uplinkAddress),
      mtuBytes,
    }
    const spec = { kind: RouteKind.FORWARD, hops: [hop] }
    this.routes.setRoute(parseIpv4(address), Number(length), spec)
  }

  /** A neighbour on the uplink. */
  neighbour(address: string, mac: string): void {
    this.routes.setNeighbour(this.uplinkPort, parseIpv4(address), parseMac(mac))
  }

  #place(port: MemoryPort, index: number): void {
    const placed = this.exchange.addPort(port)
    if (placed !== index) throw new Error(`memory port ${port.name} is ${placed}, not ${index}`)
  }
}

const hexByte = (value: number): string => value.toString(16).padStart(2, '0')

/** The text with its last part raised: node 1 has what the constants say. */
function numbered(text: string, number: number, separator = '.'): string {
  const parts = text.split(separator)
  const last = parts.pop() ?? ''
  if (separator === ':')
    return [...parts, hexByte(Number.parseInt(last, 16) + number - 1)].join(':')
  return [...parts, Number(last) + number - 1].join('.')
}
