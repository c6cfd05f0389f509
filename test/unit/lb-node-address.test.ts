/**
 * Services at an address of the node itself: it stays the node's with all other ports, whatever the
 * frontend's type (Cilium: #43206, #45572).
 */
import t from 'tap'
import { NodeController } from '../../src/daemon/node-controller.js'
import type { FrontendSpec, FrontendType } from '../../src/lb/service-spec.js'
import { ServiceWriter } from '../../src/lb/service-writer.js'
import { DropReason } from '../../src/packet/drop-reason.js'
import { parseIpv4 } from '../../src/wire/address.js'
import { inbound, natNode, natPort, outbound, sendOut } from '../support/nat-node.js'
import { checkPacket } from '../support/packet-checker.js'
import { leftovers, ServiceView, SMALL, serviceMaps } from '../support/service-model.js'
import { segment, service } from '../support/service-node.js'
import {
  HOST_MAC,
  NODE_ADDRESS,
  NODE_MAC,
  TestNode,
  UPLINK_ADDRESS,
  UPLINK_MAC,
} from '../support/test-node.js'
import { CLIENT_PORT, checkServed, outer, received, request } from '../support/uplink-node.js'

const UNKNOWN_PORT = -DropReason.NO_SERVICE_BACKEND
const KUBELET_PORT = 10_250
const ADDRESS = '203.0.113.7'
const TYPES = ['ClusterIP', 'NodePort', 'ExternalIP', 'LoadBalancer', 'HostPort'] as const

const at = (address: string, type: FrontendType = 'LoadBalancer', port = 80) => ({
  frontends: [outer(type, address, port)],
})

/** A writer for a node whose addresses the test changes. */
function writerOf(sizes = SMALL) {
  const maps = serviceMaps(sizes)
  const addresses: number[] = []
  const node = { isLocalAddress: () => false, addresses: () => addresses }
  const create = () => new ServiceWriter(maps, { node, maglevTableSize: 251 })
  const view = new ServiceView(maps)
  const ask = (port: number, address = ADDRESS) => view.ask({ address, port, protocol: 'TCP' })
  const setAddresses = (texts: readonly string[]) => {
    addresses.splice(0, addresses.length, ...texts.map(parseIpv4))
  }
  return { maps, create, ask, setAddresses }
}

const named = (name: string, frontends: readonly FrontendSpec[]) => ({
  ...service([{ address: '10.0.1.1', port: 8080 }]),
  name,
  frontends,
})

t.test('a masqueraded reply reaches its pod past a service at the node’s address', async (t) => {
  for (const type of TYPES) {
    const node = natNode()
    const [pod, web] = [node.pod(), node.pod()]
    node.controller.setService(service([web], at(UPLINK_ADDRESS, type)))
    const frame = sendOut(node, pod, outbound(pod).tcp({ from: 40_000, to: 443, flags: 'SYN' }))
    const to = natPort(frame)
    node.send(node.uplink, inbound().tcp({ from: 443, to, flags: 'SYN ACK' }).bytes())
    checkPacket(t, received(node, pod), { ipv4: { to: pod.address }, tcp: { to: 40_000 } }, type)
    node.close()
  }
})

t.test(
  'other ports of the node’s address lead to the node, the service’s to its pod',
  async (t) => {
    for (const type of TYPES) {
      for (const address of [UPLINK_ADDRESS, NODE_ADDRESS]) {
        const node = new TestNode({ hasUplink: true })
        const [pod, web] = [node.pod(), node.pod()]
        node.controller.setService(service([web], at(address, type)))
        node.send(pod.port, segment(pod, 40_000, 'SYN', address, KUBELET_PORT))
        node.send(node.uplink, request('SYN', CLIENT_PORT, address, 22))
        t.equal(node.host.take().length, 2, `${type} at ${address}`)
        node.send(pod.port, segment(pod, 40_001, 'SYN', address))
        checkPacket(t, received(node, web), { tcp: { to: 8080 } }, `${type} at ${address}`)
        node.close()
      }
    }
  },
)

t.test('a client outside is served by a LoadBalancer at the node’s address', async (t) => {
  const node = natNode()
  const pod = node.pod()
  node.controller.setService(service([pod], at(UPLINK_ADDRESS)))
  checkServed(t, node, pod, UPLINK_ADDRESS)
  node.close()
})

t.test(
  'an address that becomes the node’s gets its other ports, and loses them again',
  async (t) => {
    const node = new TestNode({ hasUplink: true })
    const [pod, web] = [node.pod(), node.pod()]
    const { devices } = node.controller
    node.controller.setService(service([web], at(ADDRESS)))
    const expect = (isOfNode: boolean, message: string) => {
      node.send(pod.port, segment(pod, 40_000, 'SYN', ADDRESS, KUBELET_PORT))
      node.send(node.uplink, request('SYN', CLIENT_PORT, ADDRESS, KUBELET_PORT))
      t.equal(node.host.take().length, isOfNode ? 2 : 0, message)
      t.same(node.drops(), isOfNode ? [] : [UNKNOWN_PORT, UNKNOWN_PORT], message)
    }
    const host = { device: 'host', addresses: [NODE_ADDRESS], mac: HOST_MAC, nodeMac: NODE_MAC }
    expect(false, 'an address of services alone')
    devices.addUplink({ device: 'uplink2', address: ADDRESS, mac: UPLINK_MAC })
    expect(true, 'a new uplink has it')
    devices.setHost({ ...host, addresses: [NODE_ADDRESS, ADDRESS] })
    devices.removeUplink('uplink2')
    expect(true, 'the host pair has it')
    devices.setHost(host)
    expect(false, 'nobody has it any more')
    node.controller.deleteService('web')
    t.equal(node.maps.services.services.size, 0)
    node.close()
  },
)

t.test('a new controller opens what an earlier one closed of the node’s address', async (t) => {
  const node = new TestNode({ hasUplink: true })
  const [pod, web] = [node.pod(), node.pod()]
  const view = { isLocalAddress: () => false, addresses: () => [] }
  const earlier = new ServiceWriter(node.maps.services, { node: view, maglevTableSize: 251 })
  earlier.set(service([web], { frontends: [outer('LoadBalancer'), outer('ClusterIP', ADDRESS)] }))
  const send = (to: string) => node.send(pod.port, segment(pod, 40_000, 'SYN', to, KUBELET_PORT))
  send(UPLINK_ADDRESS)
  t.same(node.drops(), [UNKNOWN_PORT])
  const { devices } = new NodeController(node.maps, { maglevTableSize: 251 })
  send(UPLINK_ADDRESS)
  t.equal(node.host.take().length, 1)
  send(ADDRESS)
  t.same(node.drops(), [UNKNOWN_PORT], 'what only services have stays closed')
  // Before anybody has set the service again.
  devices.addUplink({ device: 'uplink2', address: ADDRESS, mac: UPLINK_MAC })
  send(ADDRESS)
  t.equal(node.host.take().length, 1)
  devices.removeUplink('uplink2')
  send(ADDRESS)
  t.same(node.drops(), [UNKNOWN_PORT])
  node.close()
})

t.test('services that share an address close and open it together', async (t) => {
  const { maps, create, ask, setAddresses } = writerOf()
  let writer = create()
  const anywhere: FrontendSpec = { ...outer('NodePort', '0.0.0.0'), port: 30_000 }
  writer.set(named('a', [outer('LoadBalancer', ADDRESS, 80), anywhere]))
  writer.set(named('b', [outer('ClusterIP', ADDRESS, 81), outer('LoadBalancer', '203.0.113.8')]))
  const states = () => [ask(82), ask(82, '203.0.113.8')]
  for (let round = 0; round < 3; round++) {
    setAddresses([])
    writer.renewAddresses()
    t.same(states(), ['unknown port', 'unknown port'])
    setAddresses([ADDRESS])
    writer.renewAddresses()
    writer.renewAddresses()
    t.same(states(), ['none', 'unknown port'])
    t.match(ask(80), '10.0.1.1:8080')
    t.match(ask(30_000), '10.0.1.1:8080')
    if (round === 1) writer = create()
    writer.set(named('a', [outer('LoadBalancer', ADDRESS, 80), anywhere]))
  }
  setAddresses([])
  writer.renewAddresses()
  writer.delete('a')
  t.equal(ask(80), 'unknown port', 'the other one’s still')
  writer.deleteUnclaimed()
  writer.delete('b')
  t.same(leftovers(maps), [])
})

t.test('no room to close an address again: EMAP_FULL, and later it is closed', async (t) => {
  const { maps, create, ask, setAddresses } = writerOf({ ...SMALL, services: 8 })
  const writer = create()
  setAddresses([ADDRESS])
  writer.set(named('a', [outer('LoadBalancer', ADDRESS)]))
  // Two entries each, for inside and outside.
  const fillers = [1, 2, 3].map((port) => outer('ExternalIP', '203.0.113.8', port))
  writer.set({ ...named('filler', fillers), externalTrafficPolicy: 'Local' })
  writer.set(named('last', [outer('ExternalIP', '203.0.113.8', 4)]))
  setAddresses([])
  t.throws(() => writer.renewAddresses(), { code: 'EMAP_FULL', message: /lb4_services_v2/ })
  t.equal(ask(82), 'none')
  writer.delete('last')
  writer.renewAddresses()
  t.equal(ask(82), 'unknown port')
  for (const name of ['a', 'filler']) writer.delete(name)
  t.same(leftovers(maps), [])
})

t.end()
