/**
 * New connections through the chain, without any port: each frame is the SYN of a flow that nobody
 * has seen. What a flow needs depends on the way: `pods` has a connection entry on either side,
 * `full` one for the service, one for the flow, and both halves of a NAT mapping.
 *
 * After a pass over all flows the clock moves on, the collectors find them expired, and the next pass
 * makes them again in tables that are in use, as on a node that has been up for a while.
 */
import { BURST_CAPACITY, BURST_RECEIVE_MAX } from '../../src/base/limits.js'
import { ConntrackGc } from '../../src/conntrack/ct-gc.js'
import { NodeController } from '../../src/daemon/node-controller.js'
import { NatGc } from '../../src/nat/nat-gc.js'
import { Burst } from '../../src/packet/burst.js'
import { PacketBuffer } from '../../src/packet/packet-buffer.js'
import { Direction } from '../../src/packet/verdict.js'
import { DatapathMaps, MAP_SIZES } from '../../src/pipeline/datapath-maps.js'
import { Pipeline } from '../../src/pipeline/pipeline.js'
import type { EndpointPolicy } from '../../src/policy/policy-rule.js'
import { RouteKind } from '../../src/routing/route-layout.js'
import { RouteWriter } from '../../src/routing/route-writer.js'
import { parseIpv4, parseMac } from '../../src/wire/address.js'
import * as ethernet from '../../src/wire/ethernet.js'
import * as ipv4 from '../../src/wire/ipv4.js'
import * as tcp from '../../src/wire/tcp.js'

/** From pod to pod; or from a pod, by a service, to one of its backends outside of the cluster. */
export type SetupWay = 'pods' | 'full'

const NODE_MAC = '02:00:00:00:ff:01'
const GATEWAY = '192.0.2.1'
const UPLINK = '192.0.2.2'
const POD = '10.0.0.1'
const OTHER_POD = '10.0.0.2'
const SERVICE = '10.96.0.10'
const POD_PORT = 0
const TCP = 6

/** Flows of one service or destination port, as many as there are source ports; all of the NAT's. */
const SOURCE_PORT_FIRST = 32_768
const SOURCE_PORT_BITS = 15
const DESTINATION_PORT_FIRST = 8000
const BACKENDS = 64

const FRAMES = 256
const STRIDE_BYTES = 2112
const HEADROOM_BYTES = 256
const FRAME_BYTES = 64
const FRAME_WORDS = FRAME_BYTES / 4
const L3 = ethernet.ETHERNET_HEADER_BYTES
const L4 = L3 + ipv4.IPV4_HEADER_BYTES
const SYN = 0x02
const ACK = 0x10

const CONNECTIONS_MIN = 4096
const ENTRIES_PER_FLOW = 2
const FIRST_SECOND = 1000
/** More than a SYN's lifetime, and than the time between two sweeps. */
const EXPIRY_SECONDS = 40_000

export class SetupRig {
  readonly flows: number
  readonly burstFrames = BURST_RECEIVE_MAX
  readonly maps: DatapathMaps
  readonly #pipeline: Pipeline
  readonly #packet: PacketBuffer
  readonly #words: Int32Array
  readonly #template = new Int32Array(FRAME_WORDS)
  readonly #burst = new Burst(BURST_CAPACITY)
  readonly #conntrackGc: ConntrackGc
  readonly #natGc: NatGc
  readonly #egressPort: number
  #frame = 0
  #now = FIRST_SECOND

  /**
   * @param flows whole bursts of them
   * @param repeatsFlows false: further packets take the whole chain too
   */
  constructor(way: SetupWay, flows: number, repeatsFlows = true) {
    this.flows = flows
    const entries = Math.max(CONNECTIONS_MIN, flows * ENTRIES_PER_FLOW)
    const nat = { snat: entries, destinations: 16_384 }
    this.maps = DatapathMaps.inMemory({ ...MAP_SIZES, connections: entries, nat })
    const ports = Math.ceil(flows / (1 << SOURCE_PORT_BITS))
    this.#egressPort = way === 'pods' ? addPods(this.maps, ports) : addService(this.maps, ports)
    const umem = new SharedArrayBuffer(FRAMES * STRIDE_BYTES)
    this.#packet = new PacketBuffer(umem, STRIDE_BYTES)
    this.#words = new Int32Array(umem)
    this.#writeTemplate(way === 'pods' ? OTHER_POD : SERVICE)
    const state = this.maps.stateFor(0, 1)
    const packet = new PacketBuffer(umem, STRIDE_BYTES)
    this.#pipeline = new Pipeline(state, packet, BURST_CAPACITY, { repeatsFlows })
    this.#conntrackGc = new ConntrackGc(this.maps.conntrackTable)
    this.#natGc = new NatGc(state.nat, this.maps.conntrackTable, this.#conntrackGc)
  }

  /** The first packet of each flow. */
  open(): void {
    this.#pass(SYN)
  }

  /** A further packet of each flow: further ones are the flow lane's, if it has the flow. */
  goOn(): void {
    this.#pass(ACK)
  }

  /** What a pass costs without the pipeline. */
  prepareOnly(): void {
    for (let flow = 0; flow < this.flows; flow += BURST_RECEIVE_MAX) this.#receive(flow, SYN)
  }

  /** Every connection and mapping expires and is collected. */
  expire(): void {
    this.#now += EXPIRY_SECONDS
    const natSweeps = this.#natGc.sweeps
    this.#conntrackGc.request()
    while (this.#natGc.sweeps === natSweeps) {
      this.#conntrackGc.step(this.#now)
      this.#natGc.step(this.#now)
    }
    if (this.maps.conntrackTable.size !== 0) throw new Error('connections are left')
    if (this.maps.nat.snat.size !== 0) throw new Error('mappings are left')
  }

  /** The first packets of a burst of flows, from this one on. */
  openBurst(flow: number): void {
    this.#burstOf(flow, SYN)
  }

  /** Their further packets. */
  goOnBurst(flow: number): void {
    this.#burstOf(flow, ACK)
  }

  #pass(flags: number): void {
    for (let flow = 0; flow < this.flows; flow += BURST_RECEIVE_MAX) this.#burstOf(flow, flags)
  }

  #burstOf(flow: number, flags: number): void {
    this.#receive(flow, flags)
    this.#pipeline.run(this.#burst)
    this.#checkForwarded()
  }

  #receive(first: number, flags: number): void {
    const { starts, lengths, ports } = this.#burst
    const words = this.#words
    const packet = this.#packet
    for (let i = 0; i < BURST_RECEIVE_MAX; i++) {
      const start = this.#frame * STRIDE_BYTES + HEADROOM_BYTES
      for (let word = 0; word < FRAME_WORDS; word++) {
        words[(start >> 2) + word] = this.#template[word] as number
      }
      packet.attach(start, FRAME_BYTES)
      const flow = first + i
      tcp.setSourcePort(packet, L4, SOURCE_PORT_FIRST + (flow & ((1 << SOURCE_PORT_BITS) - 1)))
      tcp.setDestinationPort(packet, L4, DESTINATION_PORT_FIRST + (flow >>> SOURCE_PORT_BITS))
      packet.setU8(L4 + 13, flags)
      starts[i] = start
      lengths[i] = FRAME_BYTES
      ports[i] = POD_PORT
      this.#frame = (this.#frame + 1) & (FRAMES - 1)
    }
    this.#burst.count = BURST_RECEIVE_MAX
    this.#burst.setTime(this.#now, 0)
  }

  #checkForwarded(): void {
    const ports = this.#burst.ports
    for (let i = 0; i < BURST_RECEIVE_MAX; i++) {
      if (ports[i] !== this.#egressPort) throw new Error(`frame ${i} left by port ${ports[i]}`)
    }
  }

  #writeTemplate(to: string): void {
    const packet = this.#packet
    packet.attach(HEADROOM_BYTES, FRAME_BYTES)
    const nodeMac = parseMac(NODE_MAC)
    ethernet.setDestination(packet, 0, nodeMac.high, nodeMac.low)
    ethernet.setSource(packet, 0, 0x02000000, 0x001a)
    ethernet.setType(packet, 0, 0x0800)
    ipv4.writeHeader(packet, L3, FRAME_BYTES - L3, 64, TCP, parseIpv4(POD), parseIpv4(to))
    // Data offset: five words.
    packet.setU8(L4 + 12, 0x50)
    const start = HEADROOM_BYTES >> 2
    for (let i = 0; i < FRAME_WORDS; i++) this.#template[i] = this.#words[start + i] as number
  }
}

const policyOf = (direction: Direction, lastPort: number): EndpointPolicy => ({
  enforceIngress: direction === Direction.INGRESS,
  enforceEgress: direction === Direction.EGRESS,
  rules: [
    {
      direction,
      action: 'allow',
      ports: [{ protocol: TCP, firstPort: DESTINATION_PORT_FIRST, lastPort }],
      cookie: 1,
    },
  ],
})

function addSender(controller: NodeController, ports: number): void {
  controller.addEndpoint(
    {
      device: 'pod',
      address: POD,
      mac: '02:00:00:00:00:1a',
      nodeMac: NODE_MAC,
      id: 1,
      identity: 1001,
    },
    policyOf(Direction.EGRESS, DESTINATION_PORT_FIRST + ports - 1),
  )
}

/** The port that frames leave by. */
function addPods(maps: DatapathMaps, ports: number): number {
  const controller = new NodeController(maps)
  addSender(controller, ports)
  return controller.addEndpoint(
    {
      device: 'other',
      address: OTHER_POD,
      mac: '02:00:00:00:00:1b',
      nodeMac: NODE_MAC,
      id: 2,
      identity: 1002,
    },
    policyOf(Direction.INGRESS, DESTINATION_PORT_FIRST + ports - 1),
  )
}

/** A service for each destination port, on backends outside of the cluster; all pods are hidden. */
function addService(maps: DatapathMaps, ports: number): number {
  const controller = new NodeController(maps)
  addSender(controller, ports)
  const uplink = controller.addUplink({
    device: 'uplink',
    address: UPLINK,
    mac: '02:00:00:00:fe:01',
  })
  const routes = new RouteWriter(maps.routing)
  const hop = {
    port: uplink,
    gateway: parseIpv4(GATEWAY),
    source: parseIpv4(UPLINK),
    mtuBytes: 1500,
  }
  routes.setRoute(0, 0, { kind: RouteKind.FORWARD, hops: [hop] })
  routes.setNeighbour(uplink, parseIpv4(GATEWAY), parseMac('02:00:00:00:fe:02'))
  controller.setMasquerade({ enabled: true })
  for (let n = 0; n < ports; n++) {
    const port = DESTINATION_PORT_FIRST + n
    controller.setService({
      name: `service-${n}`,
      frontends: [{ address: SERVICE, port, protocol: 'TCP', type: 'ClusterIP' }],
      backends: Array.from({ length: BACKENDS }, (_, i) => ({
        address: `198.51.100.${i + 1}`,
        port,
      })),
    })
  }
  return uplink
}
