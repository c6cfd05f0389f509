/** The uplink: what leaves by it, what enters by it, and what is left to the node's own stack. */
import t from 'tap'
import { RouteKind } from '../../src/routing/route-layout.js'
import { parseIpv4 } from '../../src/wire/address.js'
import { eth } from '../support/packet-builder.js'
import { checkPacket } from '../support/packet-checker.js'
import { ip, segment } from '../support/service-node.js'
import {
  GATEWAY_MAC,
  HOST_MAC,
  NODE_MAC,
  OUTSIDE_ADDRESS,
  TestNode,
  UPLINK_ADDRESS,
  UPLINK_MAC,
} from '../support/test-node.js'

const POLICY_DENIED = 133
const NO_FIB = 169
const TTL_EXCEEDED = 196
const CLOSED = { enforceIngress: true, enforceEgress: false, rules: [] }

const fromOutside = (to: string, ttl = 64) =>
  eth({ from: GATEWAY_MAC, to: UPLINK_MAC }).ipv4({ from: OUTSIDE_ADDRESS, to, ttl })

t.test('a pod’s packet to the outside leaves by the uplink, routed', async (t) => {
  const node = new TestNode({ hasUplink: true })
  const pod = node.pod()
  node.send(pod.port, segment(pod, 40000, 'SYN', OUTSIDE_ADDRESS, 443))
  const [out] = node.uplink.take()
  t.same(node.host.take(), [])
  checkPacket(t, out as Uint8Array, {
    eth: { to: GATEWAY_MAC, from: UPLINK_MAC },
    ipv4: { to: OUTSIDE_ADDRESS, ttl: 63 },
  })
  node.close()
})

t.test(
  'the reply from outside is delivered without a rule, a stranger’s packet is not',
  async (t) => {
    const node = new TestNode({ hasUplink: true })
    const pod = node.pod(CLOSED)
    node.send(pod.port, segment(pod, 40000, 'SYN', OUTSIDE_ADDRESS, 443))
    const reply = fromOutside(pod.address).tcp({ from: 443, to: 40000, flags: 'SYN ACK' })
    node.send(node.uplink, reply.bytes())
    const [got] = pod.port.take()
    checkPacket(t, got as Uint8Array, {
      eth: { to: pod.mac, from: NODE_MAC },
      ipv4: { from: OUTSIDE_ADDRESS, to: pod.address, ttl: 63 },
    })
    const stranger = fromOutside(pod.address).tcp({ from: 443, to: 40001, flags: 'SYN' })
    node.send(node.uplink, stranger.bytes())
    t.same(node.drops(), [POLICY_DENIED])
    node.close()
  },
)

t.test('the node’s stack routes what has no route of ours, or an unknown neighbour', async (t) => {
  const node = new TestNode({ hasUplink: true })
  const pod = node.pod()
  node.routes.setRoute(parseIpv4('203.0.113.0'), 24, { kind: RouteKind.STACK, hops: [] })
  for (const to of ['203.0.113.9', '192.0.2.77', UPLINK_ADDRESS]) {
    node.send(pod.port, segment(pod, 40000, 'SYN', to, 443))
    const [out] = node.host.take()
    checkPacket(t, out as Uint8Array, {
      eth: { to: HOST_MAC, from: NODE_MAC },
      ipv4: { to, ttl: 64 },
    })
  }
  t.same(node.uplink.take(), [])
  node.close()
})

t.test('a route that refuses its destination is 169, a TTL that ends is 196', async (t) => {
  const node = new TestNode({ hasUplink: true })
  const pod = node.pod()
  node.routes.setRoute(parseIpv4('203.0.113.0'), 24, { kind: RouteKind.UNREACHABLE, hops: [] })
  node.send(pod.port, segment(pod, 40000, 'SYN', '203.0.113.9', 443))
  node.send(pod.port, ip(pod, OUTSIDE_ADDRESS, 1).udp({ from: 40000, to: 53 }).bytes())
  t.same(node.drops(), [NO_FIB, TTL_EXCEEDED])
  node.close()
})

t.test('what is steered here and is for nobody we know goes to the node’s stack', async (t) => {
  const node = new TestNode({ hasUplink: true })
  const frame = fromOutside(UPLINK_ADDRESS).tcp({ from: 1234, to: 22, flags: 'SYN' })
  node.send(node.uplink, frame.bytes())
  const [out] = node.host.take()
  checkPacket(t, out as Uint8Array, { eth: { to: HOST_MAC }, ipv4: { ttl: 64 } })
  node.close()
})

t.test('an uplink is refused by name when it cannot be', async (t) => {
  const node = new TestNode({ hasUplink: true })
  const good = { device: 'eth1', address: '203.0.113.2', mac: UPLINK_MAC }
  const add = (change: object) => () => node.controller.addUplink({ ...good, ...change })
  t.throws(add({ device: 'uplink' }), { code: 'ECONFIG_INVALID', message: /uplink\.device/ })
  t.throws(add({ device: 'a/b' }), { code: 'ECONFIG_INVALID', message: /uplink\.device/ })
  t.throws(add({ address: 'fd00::1' }))
  t.throws(add({ mac: 'nonsense' }))
  t.equal(node.maps.node.uplinkPort, node.uplinkPort)
  add({})()
  t.equal(node.maps.node.nodeAddress, parseIpv4(UPLINK_ADDRESS), 'the first one’s is the node’s')
  node.close()
})

t.end()
