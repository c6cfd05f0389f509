/**
 * The node that a worker's code is trained on: maps of its own, of the same shapes as the real ones
 * but small, with pods, services, routes, a tunnel and NAT, so that a frame can take every way
 * through the chain. Nobody else sees these maps. Addresses are of documentation and private use.
 */

import { type EndpointRow, PortKind } from '../../endpoint/endpoint-table.js'
import { Identity } from '../../identity/identity.js'
import { IpcacheFlag } from '../../identity/ipcache.js'
import type { BackendSpec, FrontendSpec, ServiceSpec } from '../../lb/service-spec.js'
import { ServiceWriter } from '../../lb/service-writer.js'
import { Exclusion } from '../../nat/masquerade.js'
import { Direction } from '../../packet/verdict.js'
import { DatapathMaps } from '../../pipeline/datapath-maps.js'
import type { EndpointPolicy } from '../../policy/policy-rule.js'
import { PolicyWriter } from '../../policy/policy-writer.js'
import { NOT_A_PORT, RouteKind } from '../../routing/route-layout.js'
import { RouteWriter } from '../../routing/route-writer.js'
import { ipv4Words, parseIpv4, parseMac } from '../../wire/address.js'
import { Protocol } from '../../wire/protocols.js'

/** Ports of the node. */
export const HOST = 0
export const POD = 1
export const SERVER = 2
export const UPLINK = 3

const address = (text: string): number => parseIpv4(text)

export const HOST_ADDRESS = address('10.200.0.1')
export const POD_ADDRESS = address('10.200.1.1')
export const SERVER_ADDRESS = address('10.200.1.2')
export const UPLINK_ADDRESS = address('192.0.2.2')
export const GATEWAY_ADDRESS = address('192.0.2.1')
export const REMOTE_NODE_ADDRESS = address('192.0.2.3')
export const REMOTE_POD_ADDRESS = address('10.200.2.1')
/** Of nodes that no route leads to, and that only the node's own stack reaches. */
export const UNREACHABLE_POD_ADDRESS = address('10.200.3.1')
export const STACK_POD_ADDRESS = address('10.200.4.1')
export const OUTSIDE_ADDRESS = address('198.51.100.9')
/** Behind a way of few bytes, behind none, and on the link but not answering. */
export const NARROW_ADDRESS = address('203.0.113.1')
export const UNREACHABLE_ADDRESS = address('203.0.113.65')
export const SILENT_ADDRESS = address('192.0.2.77')
/** Left to the node's own stack, by the route's kind, and for a device that is none of ours. */
export const STACK_ADDRESS = address('203.0.113.129')
export const OTHER_DEVICE_ADDRESS = address('203.0.113.130')
/** Nothing from there may enter. */
export const DENIED_ADDRESS = address('198.51.100.200')
/** Services: on pods and outside, on another node, sticky, on the asking pod itself, on nothing. */
export const MIXED_SERVICE = address('10.201.0.1')
export const REMOTE_SERVICE = address('10.201.0.2')
export const STICKY_SERVICE = address('10.201.0.3')
export const LOOPBACK_SERVICE = address('10.201.0.4')
export const EMPTY_SERVICE = address('10.201.0.5')
export const SERVICE_PORT = 80
/** NodePorts: on a pod, on another node's pod, and outside. */
export const LOCAL_NODE_PORT = 30_080
export const REMOTE_NODE_PORT = 30_081
export const OUTSIDE_NODE_PORT = 30_082

export const OPEN_PORT = 8080
export const CLOSED_PORT = 9
export const EXACT_PORT = 8443
export const RANGE_PORT = 9000
export const TUNNEL_PORT = 8472
export const SERVER_IDENTITY = 1002
export const REMOTE_IDENTITY = 1003
const POD_IDENTITY = 1001

export const NODE_MAC = parseMac('02:00:00:00:00:01')
export const FOREIGN_MAC = parseMac('02:00:00:00:00:02')
const POD_MAC = parseMac('02:00:00:00:00:03')
const MTU_BYTES = 1500
export const NARROW_MTU_BYTES = 600
const ANSWERS_PER_SECOND = 1000
const MAGLEV_SIZE = 251
const ADDRESS_BITS = 128
const PREFIX_24 = 96 + 24

/** Entries: so few that tables fill up and evict now and then. */
const SIZES = {
  connections: 4096,
  identities: 256,
  policies: 512,
  events: 256,
  fragments: 256,
  workers: 1,
  services: {
    services: 64,
    backends: 64,
    slots: 256,
    maglevWords: 16 * MAGLEV_SIZE,
    affinities: 256,
    sourceRanges: 64,
  },
  routing: { routes: 64, neighbours: 64 },
  nat: { snat: 4096, destinations: 256 },
  netdev: { denied: 64 },
  egressPolicies: 64,
}

const FORBIDDEN = { protocol: Protocol.TCP, firstPort: CLOSED_PORT, lastPort: CLOSED_PORT }

/** Entries with a port, alone, with an identity, and as a prefix of ports. */
const EXACT = { protocol: Protocol.TCP, firstPort: EXACT_PORT, lastPort: EXACT_PORT }
const RANGE = { protocol: Protocol.UDP, firstPort: RANGE_PORT, lastPort: RANGE_PORT + 7 }

const policyOf = (direction: Direction): EndpointPolicy => ({
  enforceIngress: direction === Direction.INGRESS,
  enforceEgress: direction === Direction.EGRESS,
  rules: [
    { direction, action: 'deny', ports: [FORBIDDEN], cookie: 1 },
    { direction, action: 'allow', identities: [SERVER_IDENTITY, POD_IDENTITY], cookie: 2 },
    { direction, action: 'allow', identities: [SERVER_IDENTITY], ports: [EXACT], cookie: 7 },
    { direction, action: 'allow', ports: [EXACT], cookie: 8 },
    { direction, action: 'allow', ports: [RANGE], cookie: 9 },
    { direction, action: 'allow', ports: [{ protocol: Protocol.TCP }], cookie: 3 },
    { direction, action: 'allow', ports: [{ protocol: Protocol.UDP }], cookie: 4 },
    { direction, action: 'allow', ports: [{ protocol: Protocol.SCTP }], cookie: 5 },
    { direction, action: 'allow', ports: [{ protocol: Protocol.ICMPV4 }], cookie: 6 },
  ],
})

/** Maps of a whole node, written anew. */
export function trainingMaps(): DatapathMaps {
  const maps = DatapathMaps.inMemory(SIZES)
  writeEndpoints(maps)
  writeRemotes(maps)
  writeRoutes(maps)
  writeServices(maps)
  const { settings, exclusions } = maps.nat
  settings.set(true, false, 32_768, 65_535)
  exclusions.update(
    ipv4Words(address('10.200.0.0')),
    PREFIX_24,
    Int32Array.of(Exclusion.MASQ_AGENT),
  )
  maps.netdev.denied.update(ipv4Words(DENIED_ADDRESS), ADDRESS_BITS, Int32Array.of(1))
  maps.node.answersPerSecond = ANSWERS_PER_SECOND
  maps.node.answersBurst = ANSWERS_PER_SECOND
  return maps
}

function writeEndpoints(maps: DatapathMaps): void {
  const policies = new PolicyWriter(maps.policyEntries, maps.policyPrefixes)
  const open = policies.add({ enforceIngress: false, enforceEgress: false, rules: [] })
  const add = (port: number, address4: number, row: Omit<EndpointRow, 'address' | 'id'>): void => {
    const words = ipv4Words(address4)
    maps.endpoints.set(port, { ...row, id: port + 1, address: words })
    if (row.kind !== PortKind.UPLINK) maps.ipcache.set(words, ADDRESS_BITS, row.identity, port)
  }
  const macs = { mac: POD_MAC, nodeMac: NODE_MAC }
  const host = { kind: PortKind.HOST, identity: Identity.HOST, policy: open, ...macs }
  add(HOST, HOST_ADDRESS, host)
  const egress = policies.add(policyOf(Direction.EGRESS))
  add(POD, POD_ADDRESS, { kind: PortKind.POD, identity: POD_IDENTITY, policy: egress, ...macs })
  const ingress = policies.add(policyOf(Direction.INGRESS))
  const server = { kind: PortKind.POD, identity: SERVER_IDENTITY, policy: ingress, ...macs }
  add(SERVER, SERVER_ADDRESS, server)
  add(UPLINK, UPLINK_ADDRESS, { ...host, kind: PortKind.UPLINK })
  maps.ipcache.set(ipv4Words(UPLINK_ADDRESS), ADDRESS_BITS, Identity.HOST, HOST)
  maps.node.hostPort = HOST
  maps.node.uplinkPort = UPLINK
  maps.node.nodeAddress = UPLINK_ADDRESS
}

/** Another node, with its pods behind the tunnel. */
function writeRemotes({ ipcache, node }: DatapathMaps): void {
  node.tunnelPort = TUNNEL_PORT
  const pods = ipv4Words(address('10.200.2.0'))
  const peer = ipv4Words(REMOTE_NODE_ADDRESS)
  ipcache.setRemote(pods, PREFIX_24, REMOTE_IDENTITY, REMOTE_NODE_ADDRESS, IpcacheFlag.REMOTE)
  const unreachable = ipv4Words(address('10.200.3.0'))
  ipcache.setRemote(
    unreachable,
    PREFIX_24,
    REMOTE_IDENTITY,
    UNREACHABLE_ADDRESS,
    IpcacheFlag.REMOTE,
  )
  const byStack = ipv4Words(address('10.200.4.0'))
  ipcache.setRemote(byStack, PREFIX_24, REMOTE_IDENTITY, STACK_ADDRESS, IpcacheFlag.REMOTE)
  ipcache.setRemote(peer, ADDRESS_BITS, Identity.REMOTE_NODE, 0, 0)
}

function writeRoutes(maps: DatapathMaps): void {
  const routes = new RouteWriter(maps.routing)
  const hop = { port: UPLINK, gateway: 0, source: UPLINK_ADDRESS, mtuBytes: MTU_BYTES }
  const byGateway = { ...hop, gateway: GATEWAY_ADDRESS }
  const { FORWARD, STACK, UNREACHABLE } = RouteKind
  routes.setRoute(0, 0, { kind: FORWARD, hops: [byGateway] })
  routes.setRoute(address('192.0.2.0'), 24, { kind: FORWARD, hops: [hop] })
  const narrow = { ...byGateway, mtuBytes: NARROW_MTU_BYTES }
  routes.setRoute(NARROW_ADDRESS, 32, { kind: FORWARD, hops: [narrow] })
  routes.setRoute(UNREACHABLE_ADDRESS, 32, { kind: UNREACHABLE, hops: [] })
  routes.setRoute(STACK_ADDRESS, 32, { kind: STACK, hops: [] })
  const elsewhere = { ...byGateway, port: NOT_A_PORT }
  routes.setRoute(OTHER_DEVICE_ADDRESS, 32, { kind: FORWARD, hops: [elsewhere] })
  for (const next of [GATEWAY_ADDRESS, REMOTE_NODE_ADDRESS]) {
    routes.setNeighbour(UPLINK, next, FOREIGN_MAC)
  }
}

function writeServices(maps: DatapathMaps): void {
  const own = new Set([POD_ADDRESS, SERVER_ADDRESS, HOST_ADDRESS, UPLINK_ADDRESS])
  const writer = new ServiceWriter(maps.services, {
    maglevTableSize: MAGLEV_SIZE,
    node: {
      isLocalAddress: (words) => own.has(words[3] ?? 0),
      addresses: () => [UPLINK_ADDRESS],
    },
  })
  for (const spec of services()) writer.set(spec)
}

function services(): ServiceSpec[] {
  const at = (name: string, port: number, type: FrontendSpec['type']): FrontendSpec[] => [
    { address: name, port, protocol: 'TCP', type },
    { address: name, port, protocol: 'UDP', type },
  ]
  const clusterIp = (name: string) => at(name, SERVICE_PORT, 'ClusterIP')
  const nodePort = (port: number) => at('192.0.2.2', port, 'NodePort')
  const local = backend('10.200.1.2')
  const remote = backend('10.200.2.1')
  const outside = backend('198.51.100.9')
  const sticky = { sessionAffinitySeconds: 60 }
  return [
    { name: 'mixed', frontends: clusterIp('10.201.0.1'), backends: [local, outside] },
    {
      name: 'remote',
      frontends: clusterIp('10.201.0.2'),
      backends: [remote, backend('10.200.2.2')],
      algorithm: 'maglev',
    },
    { name: 'sticky', frontends: clusterIp('10.201.0.3'), backends: [local, outside], ...sticky },
    { name: 'loopback', frontends: clusterIp('10.201.0.4'), backends: [backend('10.200.1.1')] },
    { name: 'empty', frontends: clusterIp('10.201.0.5'), backends: [] },
    { name: 'node-local', frontends: nodePort(LOCAL_NODE_PORT), backends: [local] },
    { name: 'node-remote', frontends: nodePort(REMOTE_NODE_PORT), backends: [remote] },
    { name: 'node-outside', frontends: nodePort(OUTSIDE_NODE_PORT), backends: [outside] },
  ]
}

const backend = (at: string): BackendSpec => ({ address: at, port: OPEN_PORT })
