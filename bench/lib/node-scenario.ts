/**
 * The node that all chain benchmarks run on, in memory and on the wire, and the same node as the
 * yardstick in C reads it (bench/yardstick/chain-config.c): two pods with a policy on both sides, an
 * uplink, and a peer behind the tunnel that has eight backends of a service.
 *
 * A flow's number is in its ports, as lib/two-pods.ts has them.
 */
import { allocateMemory } from 'xdp-socket-napi'
import { NodeController } from '../../src/daemon/node-controller.js'
import { fillMaglev } from '../../src/lb/maglev.js'
import { ServiceSettings } from '../../src/lb/service-settings.js'
import type { ServiceSpec } from '../../src/lb/service-spec.js'
import { Direction } from '../../src/packet/verdict.js'
import { DatapathMaps, MAP_SIZES, type MapSizes } from '../../src/pipeline/datapath-maps.js'
import type { EndpointPolicy, PortRange } from '../../src/policy/policy-rule.js'
import { RouteKind } from '../../src/routing/route-layout.js'
import { RouteWriter } from '../../src/routing/route-writer.js'
import { parseIpv4, parseMac } from '../../src/wire/address.js'
import { Protocol } from '../../src/wire/protocols.js'
import { type BenchPod, DESTINATION_PORT_FIRST, SOURCE_PORTS } from './two-pods.js'

/** What a benchmark sends its packets to, and so what the chain does with them. */
export const DESTINATION = {
  /** A pod of this node: connection tracking and policy on both sides. */
  pod: '',
  /** A service with that pod as its backend: DNAT besides. */
  service: '10.96.0.11',
  /** Somebody outside: masquerading. */
  masquerade: '198.51.100.1',
  /** A pod of the peer: VXLAN. */
  overlay: '10.0.2.1',
  /** A service with eight backends at the peer: DNAT and VXLAN. */
  full: '10.96.0.10',
  /** A service with backends outside: DNAT and masquerading. */
  outside: '10.96.0.12',
} as const
export type ChainName = keyof typeof DESTINATION

/** The yardstick in C does not masquerade. */
const MASQUERADED: readonly ChainName[] = ['masquerade', 'outside']
export const hasYardstick = (chain: ChainName): boolean => !MASQUERADED.includes(chain)

export const destinationOf = (chain: ChainName, devices: ScenarioDevices): string =>
  DESTINATION[chain] === '' ? devices.receiver.address : DESTINATION[chain]

export interface ScenarioDevices {
  readonly sender: BenchPod
  readonly receiver: BenchPod
  readonly uplink: { readonly device: string; readonly address: string; readonly mac: string }
  /** The other node, and next hop of everything. */
  readonly peer: { readonly address: string; readonly mac: string }
}

/** For benchmarks without devices. */
export const MEMORY_DEVICES: ScenarioDevices = {
  sender: {
    device: 'lxc-sender',
    address: '10.0.0.1',
    mac: '02:00:00:00:00:1a',
    nodeMac: '02:00:00:00:00:0a',
  },
  receiver: {
    device: 'lxc-receiver',
    address: '10.0.0.2',
    mac: '02:00:00:00:00:1b',
    nodeMac: '02:00:00:00:00:0b',
  },
  uplink: { device: 'uplink', address: '192.0.2.2', mac: '02:00:00:00:fe:01' },
  peer: { address: '192.0.2.3', mac: '02:00:00:00:fe:02' },
}

export const SENDER_PORT = 0
export const RECEIVER_PORT = 1
export const UPLINK_PORT = 2

const SENDER_IDENTITY = 1001
const RECEIVER_IDENTITY = 1002
const BACKEND_IDENTITY = 1003
const PEER_PODS = '10.0.2.0/24'
const BACKENDS = 8
/**
 * Added to a service's port: each service has backends of its own port, or two flows with the same
 * source port would be one behind the translation.
 */
const BACKEND_PORT_OFFSET = 2048
const MTU_BYTES = 1500
const TUNNEL_PORT = 8472
/** A small table: the yardstick's configuration names each place. */
const MAGLEV_SIZE = 251
/** So many that their ports are enough for a million flows of one address. */
const OUTSIDE_BACKENDS = 64
const NAT_PORTS = { low: 16_384, high: 65_535 }

const backends = Array.from({ length: BACKENDS }, (_, i) => `10.0.2.${i + 1}`)

const outsideBackends = Array.from({ length: OUTSIDE_BACKENDS }, (_, i) => `198.51.100.${i + 1}`)

/** Destination ports that so many flows need. */
const portsOf = (flows: number): number[] =>
  Array.from({ length: Math.ceil(flows / SOURCE_PORTS) }, (_, i) => DESTINATION_PORT_FIRST + i)

const udp = (firstPort: number, lastPort = firstPort): PortRange => ({
  protocol: Protocol.UDP,
  firstPort,
  lastPort,
})
const OTHERS: readonly PortRange[] = [80, 443, 8443, 9090].map((port) => ({
  protocol: Protocol.TCP,
  firstPort: port,
  lastPort: port,
}))

const policyOf = (
  direction: Direction,
  identities: readonly number[],
  ports: readonly PortRange[],
): EndpointPolicy => ({
  enforceIngress: direction === Direction.INGRESS,
  enforceEgress: direction === Direction.EGRESS,
  rules: [
    { direction, action: 'allow', identities, ports, cookie: 1 },
    { direction, action: 'allow', ports: OTHERS, cookie: 2 },
    { direction, action: 'deny', identities: identities.map((id) => id + 100), cookie: 3 },
  ],
})

/** World too, for what is masqueraded. */
const WORLD_IDENTITY = 2
const REACHABLE = [RECEIVER_IDENTITY, BACKEND_IDENTITY, WORLD_IDENTITY]

/** One for each destination port that the flows need. */
const servicesOf = (
  name: string,
  address: string,
  flows: number,
  targets: readonly string[],
): ServiceSpec[] =>
  portsOf(flows).map((port) => ({
    name: `bench/${name}:${port}`,
    frontends: [{ address, port, protocol: 'UDP', type: 'ClusterIP' }],
    backends: targets.map((target) => ({ address: target, port: port + BACKEND_PORT_OFFSET })),
    algorithm: 'maglev',
  }))

/** Entries of the connection table that a flow has unless told otherwise: its service's, and its own. */
const ENTRIES_PER_FLOW = 2

/**
 * Sizes with room for so many flows, and, if the chain translates sources, for two entries of the NAT
 * for each.
 */
export function sizesFor(
  flows: number,
  isTranslated = true,
  entriesPerFlow = ENTRIES_PER_FLOW,
): MapSizes {
  const connections = Math.max(4096, 2 ** Math.ceil(Math.log2(flows * entriesPerFlow)))
  if (!isTranslated) return { ...MAP_SIZES, connections }
  const destinations = 16_384
  return { ...MAP_SIZES, connections, nat: { snat: connections, destinations } }
}

/**
 * Maps in memory, for benchmarks without devices: in huge pages, as the engine's files are on tmpfs.
 * Their seeds are fixed, so that runs agree.
 */
export function scenarioMaps(flows: number, entriesPerFlow = ENTRIES_PER_FLOW): DatapathMaps {
  const sizes = sizesFor(flows, true, Math.max(entriesPerFlow, ENTRIES_PER_FLOW))
  return new DatapathMaps((_name, bytes) => allocateMemory(bytes), sizes, { seed: 1 })
}

/** Writes the node into the maps, ports numbered as above. */
export function writeScenario(maps: DatapathMaps, devices: ScenarioDevices, flows: number): void {
  const { sender, receiver, uplink, peer } = devices
  const controller = new NodeController(maps, { maglevTableSize: MAGLEV_SIZE })
  const generated = udp(DESTINATION_PORT_FIRST, DESTINATION_PORT_FIRST + 1023)
  const ports = [generated, udp(DESTINATION_PORT_FIRST + BACKEND_PORT_OFFSET, 8191)]
  const egress = policyOf(Direction.EGRESS, REACHABLE, ports)
  const ingress = policyOf(Direction.INGRESS, [SENDER_IDENTITY], ports)
  controller.addEndpoint({ ...sender, id: 1, identity: SENDER_IDENTITY }, egress)
  controller.addEndpoint({ ...receiver, id: 2, identity: RECEIVER_IDENTITY }, ingress)
  const port = controller.addUplink(uplink)
  if (port !== UPLINK_PORT) throw new Error(`the uplink is port ${port}`)
  const routes = new RouteWriter(maps.routing)
  const hop = { port, gateway: parseIpv4(peer.address), source: parseIpv4(uplink.address) }
  const spec = { kind: RouteKind.FORWARD, hops: [{ ...hop, mtuBytes: MTU_BYTES }] }
  routes.setRoute(0, 0, spec)
  routes.setNeighbour(port, parseIpv4(peer.address), parseMac(peer.mac))
  controller.setMasquerade({ enabled: true, ports: NAT_PORTS })
  controller.setTunnel({ mode: 'tunnel', port: TUNNEL_PORT })
  controller.addPeer({ name: 'peer', address: peer.address, podCidrs: [PEER_PODS] })
  for (const address of backends) {
    controller.setRemote({
      prefix: address,
      identity: BACKEND_IDENTITY,
      tunnelEndpoint: peer.address,
    })
  }
  const services = [
    ...servicesOf('full', DESTINATION.full, flows, backends),
    ...servicesOf('local', DESTINATION.service, flows, [receiver.address]),
    ...servicesOf('outside', DESTINATION.outside, flows, outsideBackends),
  ]
  for (const service of services) controller.setService(service)
}

/**
 * The same node for the yardstick, its masquerading and its receiver's own policy left out.
 *
 * @param chain the service whose backends its Maglev table has
 */
export function yardstickConfig(
  maps: DatapathMaps,
  devices: ScenarioDevices,
  flows: number,
  chain: ChainName,
): string {
  const { sender, receiver, uplink, peer } = devices
  const maglevSeed = new ServiceSettings(maps.services.settings).maglevSeed
  const targets = chain === 'full' ? backends : [receiver.address]
  const ports = portsOf(flows).flatMap((port) => [port, port + BACKEND_PORT_OFFSET])
  return [
    `connections ${Math.max(4096, 2 ** Math.ceil(Math.log2(flows * 2)))}`,
    `seeds ${maps.conntrackTable.seed >>> 0} ${maglevSeed >>> 0}`,
    `tunnel ${uplink.address} ${TUNNEL_PORT} ${peer.mac} ${uplink.mac} ${UPLINK_PORT} ${MTU_BYTES}`,
    `pod ${SENDER_PORT} ${sender.address} ${SENDER_IDENTITY}`,
    `remote ${PEER_PODS} 3 ${peer.address}`,
    ...backends.map((address) => `remote ${address}/32 ${BACKEND_IDENTITY} ${peer.address}`),
    localLine(receiver),
    ...REACHABLE.flatMap((id) => ports.map((port) => `policy ${id} ${port} ${UDP} allow`)),
    ...OTHERS.map(({ firstPort, protocol }) => `policy 0 ${firstPort} ${protocol} allow`),
    ...REACHABLE.map((id) => `policy ${id + 100} 0 0 deny`),
    ...portsOf(flows).flatMap((port) => serviceLines(chain, port, targets, maglevSeed)),
    '',
  ].join('\n')
}

const UDP = Protocol.UDP
const serviceAddress = (chain: ChainName): string =>
  chain === 'full' ? DESTINATION.full : DESTINATION.service

function serviceLines(
  chain: ChainName,
  servicePort: number,
  targets: readonly string[],
  maglevSeed: number,
): string[] {
  const port = servicePort + BACKEND_PORT_OFFSET
  const places = new Int32Array(MAGLEV_SIZE)
  const numbered = targets.map((address, i) => {
    return { id: i + 1, address4: parseIpv4(address), port, weight: 1 }
  })
  fillMaglev(places, numbered, maglevSeed)
  return [
    `service ${serviceAddress(chain)} ${servicePort} ${UDP}`,
    ...targets.map((address) => `backend ${address} ${port}`),
    `places ${[...places].map((id) => id - 1).join(' ')}`,
  ]
}

const localLine = ({ address, mac, nodeMac }: BenchPod): string =>
  `local ${address} ${RECEIVER_IDENTITY} ${RECEIVER_PORT} ${mac} ${nodeMac}`
