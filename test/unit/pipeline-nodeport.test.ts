/** Services as clients outside of the cluster see them (nodeport_lb4), backends on this node. */
import t from 'tap'
import { NodeController } from '../../src/daemon/node-controller.js'
import { Direction } from '../../src/packet/verdict.js'
import { parseCidr } from '../../src/wire/address.js'
import { checkPacket } from '../support/packet-checker.js'
import { ip, on, service, VIP } from '../support/service-node.js'
import {
  GATEWAY_MAC,
  NODE_ADDRESS,
  NODE_MAC,
  TestNode,
  UPLINK_ADDRESS,
  UPLINK_MAC,
} from '../support/test-node.js'
import {
  CLIENT,
  CLIENT_PORT,
  checkServed,
  fromOutside,
  left,
  NODE_PORT,
  outer,
  received,
  request,
} from '../support/uplink-node.js'

const POLICY_DENIED = 133
const INVALID = 134
const NO_BACKEND = 158
const IS_CLUSTER_IP = 174
const NOT_IN_SOURCE_RANGE = 177
const WORLD = 2

t.test('a NodePort’s client reaches a pod with its own address, and gets its reply', async (t) => {
  const node = new TestNode({ hasUplink: true })
  const pod = node.pod()
  node.controller.setService(service([pod], { frontends: [outer()] }))
  node.send(node.uplink, request())
  checkPacket(t, received(node, pod), {
    eth: { from: NODE_MAC, to: pod.mac },
    ipv4: { from: CLIENT, to: pod.address, ttl: 63 },
    tcp: { from: CLIENT_PORT, to: 8080, flags: 'SYN' },
  })
  const reply = ip(pod, CLIENT).tcp({ from: 8080, to: CLIENT_PORT, flags: 'SYN ACK', ack: 2 })
  node.send(pod.port, reply.bytes())
  checkPacket(t, left(node), {
    eth: { from: UPLINK_MAC, to: GATEWAY_MAC },
    ipv4: { from: UPLINK_ADDRESS, to: CLIENT, ttl: 63 },
    tcp: { from: NODE_PORT, to: CLIENT_PORT, flags: 'SYN ACK' },
  })
  node.close()
})

t.test('masquerading leaves a service’s reply as it is', async (t) => {
  const node = new TestNode({ hasUplink: true })
  const pod = node.pod()
  node.controller.setMasquerade({ enabled: true })
  node.controller.setService(service([pod], { frontends: [outer()] }))
  for (let i = 0; i < 2; i++) {
    node.send(node.uplink, request())
    received(node, pod)
    const reply = ip(pod, CLIENT).tcp({ from: 8080, to: CLIENT_PORT, flags: 'SYN ACK', ack: 2 })
    node.send(pod.port, reply.bytes())
    checkPacket(t, left(node), { ipv4: { from: UPLINK_ADDRESS }, tcp: { from: NODE_PORT } })
  }
  t.equal(node.maps.nat.snat.size, 0)
  node.close()
})

t.test(
  'after a SYN of the backend’s, replies to the client come from the NodePort again',
  async (t) => {
    const node = new TestNode({ hasUplink: true })
    const pod = node.pod()
    node.controller.setService(service([pod], { frontends: [outer()] }))
    const answer = (flags: string) => {
      node.send(pod.port, ip(pod, CLIENT).tcp({ from: 8080, to: CLIENT_PORT, flags }).bytes())
      return left(node)
    }
    for (const flags of ['SYN', 'ACK', 'ACK']) node.send(node.uplink, request(flags))
    answer('RST')
    // A connection of the pod's own with the same ports, in the entry that was closing.
    answer('SYN')
    node.send(node.uplink, request('ACK'))
    checkPacket(t, answer('ACK'), { ipv4: { from: UPLINK_ADDRESS }, tcp: { from: NODE_PORT } })
    node.close()
  },
)

t.test('the backend’s policy asks who the client is', async (t) => {
  const node = new TestNode({ hasUplink: true })
  const ports = [{ protocol: 6, firstPort: 8080 }]
  const identities = [70_000]
  const allow = { action: 'allow' as const, direction: Direction.INGRESS, identities, ports }
  const pod = node.pod({ enforceIngress: true, enforceEgress: false, rules: [allow] })
  node.controller.setService(service([pod], { frontends: [outer()] }))
  node.send(node.uplink, request())
  t.same(node.drops(), [POLICY_DENIED], `${WORLD} is not allowed`)
  const { words, prefixBits } = parseCidr('198.51.100.0/24')
  node.controller.setIdentity(words, prefixBits, 70_000)
  node.send(node.uplink, request())
  received(node, pod)
  node.close()
})

t.test('every type of frontend that is for outside is served', async (t) => {
  for (const type of ['NodePort', 'ExternalIP', 'LoadBalancer', 'HostPort'] as const) {
    const node = new TestNode({ hasUplink: true })
    const pod = node.pod()
    const address = type === 'NodePort' || type === 'HostPort' ? UPLINK_ADDRESS : '203.0.113.7'
    node.controller.setService(service([pod], { frontends: [outer(type, address, 80)] }))
    checkServed(t, node, pod, address, type)
    node.close()
  }
})

t.test(
  'a NodePort at 0.0.0.0 is one of every address of the node, also of later ones',
  async (t) => {
    const node = new TestNode({ hasUplink: true })
    const [pod, client] = [node.pod(), node.pod()]
    node.controller.setService(service([pod], { frontends: [outer('NodePort', '0.0.0.0')] }))
    const second = '203.0.113.2'
    node.controller.addUplink({ device: 'uplink2', address: second, mac: UPLINK_MAC })
    for (const address of [UPLINK_ADDRESS, NODE_ADDRESS, second]) {
      node.send(node.uplink, request('SYN', CLIENT_PORT, address))
      checkPacket(t, received(node, pod), { tcp: { to: 8080 } }, address)
      const reply = ip(pod, CLIENT).tcp({ from: 8080, to: CLIENT_PORT, flags: 'SYN ACK' })
      node.send(pod.port, reply.bytes())
      checkPacket(t, left(node), { ipv4: { from: address }, tcp: { from: NODE_PORT } })
      const frame = ip(client, address).tcp({ from: 4000, to: NODE_PORT, flags: 'SYN' })
      node.send(client.port, frame.bytes())
      received(node, pod)
    }
    t.throws(
      () =>
        node.controller.setService(service([pod], { frontends: [outer('ClusterIP', '0.0.0.0')] })),
      { code: 'ECONFIG_INVALID', message: /frontends\[0\]\.address/ },
    )
    const explicit = { ...outer(), type: 'NodePort' as const }
    node.controller.setService(
      service([pod], { frontends: [outer('NodePort', '0.0.0.0'), explicit] }),
    )
    node.controller.deleteService('web')
    t.equal(node.maps.services.services.size, 0)
    node.close()
  },
)

t.test('a new controller knows the addresses of the node from the maps', async (t) => {
  const node = new TestNode({ hasUplink: true })
  const pod = node.pod()
  const controller = new NodeController(node.maps, { maglevTableSize: 251 })
  controller.setService(service([pod], { frontends: [outer('NodePort', '0.0.0.0')] }))
  for (const address of [UPLINK_ADDRESS, NODE_ADDRESS]) {
    node.send(node.uplink, request('SYN', CLIENT_PORT, address))
    checkPacket(t, received(node, pod), { tcp: { to: 8080 } }, address)
  }
  node.close()
})

t.test('a ClusterIP is 174 from outside, unless that is allowed', async (t) => {
  const node = new TestNode({ hasUplink: true })
  const pod = node.pod()
  node.controller.setService(service([pod]))
  const frame = request('SYN', CLIENT_PORT, VIP, 80)
  node.send(node.uplink, frame)
  t.same(node.drops(), [IS_CLUSTER_IP])
  t.equal(node.maps.conntrackTable.size, 0)
  node.controller.setServiceOptions({ externalClusterIp: true })
  node.send(node.uplink, frame)
  received(node, pod)
  node.close()
})

t.test('an unknown port of a service’s address is 158; a ping is left to the stack', async (t) => {
  const node = new TestNode({ hasUplink: true })
  const pod = node.pod()
  const address = '203.0.113.7'
  const frontends = [outer('LoadBalancer', address, 80), outer()]
  node.controller.setService(service([pod], { frontends }))
  node.send(node.uplink, request('SYN', CLIENT_PORT, address, 81))
  node.send(node.uplink, fromOutside(address).udp({ from: 1, to: 80 }).bytes())
  t.same(node.drops(), [NO_BACKEND, NO_BACKEND])
  node.send(node.uplink, fromOutside(address).icmpEcho({ id: 7 }).bytes())
  t.equal(node.host.take().length, 1)
  node.send(node.uplink, request('SYN', CLIENT_PORT, UPLINK_ADDRESS, 22))
  t.equal(node.host.take().length, 1, 'the node’s own address is not the service’s')
  node.close()
})

t.test('source ranges admit, or with the deny policy refuse, clients by address', async (t) => {
  const node = new TestNode({ hasUplink: true })
  const pod = node.pod()
  const set = (sourceRanges: string[], sourceRangesPolicy: 'allow' | 'deny') => {
    const options = { frontends: [outer()], sourceRanges, sourceRangesPolicy }
    node.controller.setService(service([pod], options))
  }
  const isAdmitted = () => {
    node.send(node.uplink, request())
    const drops = node.drops()
    if (drops.length > 0) t.same(drops, [NOT_IN_SOURCE_RANGE])
    return pod.port.take().length === 1
  }
  set(['203.0.113.0/24', '10.0.0.0/8'], 'allow')
  t.equal(isAdmitted(), false)
  t.equal(node.maps.conntrackTable.size, 0, 'a refused client leaves nothing behind')
  set(['203.0.113.0/24', '198.51.100.0/30'], 'allow')
  t.equal(isAdmitted(), true)
  set(['203.0.113.0/24', '198.51.100.0/30'], 'deny')
  t.equal(isAdmitted(), false, 'running flows, too')
  set(['203.0.113.0/24'], 'deny')
  t.equal(isAdmitted(), true)
  node.close()
})

t.test('a HostPort has no backend elsewhere: 134', async (t) => {
  const node = new TestNode({ hasUplink: true })
  const elsewhere = { address: '10.0.2.1', port: 8080 }
  node.controller.setService(service([elsewhere], { frontends: [outer('HostPort')] }))
  node.send(node.uplink, request())
  t.same(node.drops(), [INVALID])
  node.close()
})

t.test('externalTrafficPolicy Local: outside sees local backends, pods see all', async (t) => {
  const node = new TestNode({ hasUplink: true })
  const [pod, client] = [node.pod(), node.pod()]
  const elsewhere = { address: '10.0.2.1', port: 8080 }
  const frontends = [outer()]
  const local = { frontends, externalTrafficPolicy: 'Local' as const }
  node.controller.setService(service([on(pod, 'active'), elsewhere], local))
  for (let i = 0; i < 20; i++) {
    node.send(node.uplink, request('SYN', CLIENT_PORT + i))
    received(node, pod)
  }
  const seen = new Set<boolean>()
  for (let i = 0; i < 40; i++) {
    const frame = ip(client, UPLINK_ADDRESS).tcp({ from: 4000 + i, to: NODE_PORT, flags: 'SYN' })
    node.send(client.port, frame.bytes())
    seen.add(pod.port.take().length === 1)
    node.uplink.take()
  }
  t.equal(seen.size, 2, 'a pod’s flows go to both backends')
  node.controller.setService(service([elsewhere], local))
  node.send(node.uplink, request('SYN', CLIENT_PORT + 99))
  checkPacket(t, left(node), { icmp: { type: 3, code: 3 } }, 'no backend here')
  node.close()
})

t.test('internalTrafficPolicy Local binds pods and not clients outside', async (t) => {
  const node = new TestNode({ hasUplink: true })
  const client = node.pod()
  const elsewhere = { address: '10.0.2.1', port: 8080 }
  const options = { frontends: [outer()], internalTrafficPolicy: 'Local' as const }
  node.controller.setService(service([elsewhere], options))
  node.send(node.uplink, request())
  checkPacket(t, left(node), { ipv4: { to: '10.0.2.1' }, tcp: { to: 8080 } })
  const frame = ip(client, UPLINK_ADDRESS).tcp({ from: 4000, to: NODE_PORT, flags: 'SYN' })
  node.send(client.port, frame.bytes())
  const [answer] = client.port.take()
  checkPacket(t, answer as Uint8Array, { icmp: { type: 3, code: 3 } })
  node.close()
})

t.test('a client with affinity keeps its backend over its ports', async (t) => {
  const node = new TestNode({ hasUplink: true })
  const pods = [node.pod(), node.pod(), node.pod()]
  const options = { frontends: [outer()], sessionAffinitySeconds: 60 }
  node.controller.setService(service(pods, options))
  const seen = new Set<number>()
  for (let i = 0; i < 20; i++) {
    node.send(node.uplink, request('SYN', CLIENT_PORT + i))
    for (const pod of pods) if (pod.port.take().length === 1) seen.add(pod.id)
  }
  t.equal(seen.size, 1)
  node.close()
})

t.test('Maglev and random choose among all backends', async (t) => {
  for (const algorithm of ['random', 'maglev'] as const) {
    const node = new TestNode({ hasUplink: true })
    const pods = [node.pod(), node.pod(), node.pod()]
    node.controller.setService(service(pods, { frontends: [outer()], algorithm }))
    const seen = new Map<number, number>()
    for (let i = 0; i < 60; i++) {
      node.send(node.uplink, request('SYN', CLIENT_PORT + i))
      for (const pod of pods) if (pod.port.take().length === 1) seen.set(i, pod.id)
    }
    t.equal(new Set(seen.values()).size, 3, algorithm)
    for (const [i, id] of seen) {
      node.send(node.uplink, request('ACK', CLIENT_PORT + i))
      const again = pods.find((pod) => pod.port.take().length === 1)
      if (again?.id !== id) t.fail(`flow ${i} went to ${again?.id}, at first to ${id}`)
    }
    node.close()
  }
})

t.test('a terminating backend keeps its flows and gets no new ones', async (t) => {
  const node = new TestNode({ hasUplink: true })
  const [old, fresh] = [node.pod(), node.pod()]
  node.controller.setService(service([on(old, 'active')], { frontends: [outer()] }))
  node.send(node.uplink, request())
  received(node, old)
  for (const state of ['terminating', 'quarantined'] as const) {
    const backends = [on(old, state), on(fresh, 'active')]
    node.controller.setService(service(backends, { frontends: [outer()] }))
    node.send(node.uplink, request('ACK'))
    received(node, old)
    for (let i = 1; i < 10; i++) {
      node.send(node.uplink, request('SYN', CLIENT_PORT + i))
      received(node, fresh)
    }
    t.pass(state)
  }
  node.close()
})

t.test('no backend: refused by the uplink, or silent with 158', async (t) => {
  const node = new TestNode({ hasUplink: true })
  node.controller.setService(service([], { frontends: [outer()] }))
  node.send(node.uplink, request())
  checkPacket(t, left(node), {
    eth: { from: UPLINK_MAC, to: GATEWAY_MAC },
    ipv4: { from: UPLINK_ADDRESS, to: CLIENT },
    icmp: { type: 3, code: 3 },
    quoted: { tcp: { from: CLIENT_PORT, to: NODE_PORT } },
  })
  node.controller.setServiceOptions({ noBackendResponse: 'drop' })
  node.send(node.uplink, request())
  t.same(node.uplink.take(), [])
  t.same(node.drops(), [NO_BACKEND, NO_BACKEND])
  node.close()
})

t.test('ICMP errors about a flow go both ways, quoting what the other sent', async (t) => {
  const node = new TestNode({ hasUplink: true })
  const pod = node.pod()
  const frontends = [{ ...outer(), protocol: 'UDP' as const }]
  node.controller.setService(service([pod], { frontends }))
  const datagram = fromOutside(UPLINK_ADDRESS).udp({ from: CLIENT_PORT, to: NODE_PORT })
  node.send(node.uplink, datagram.payload('hello').bytes())
  const got = received(node, pod)
  const error = ip(pod, CLIENT).icmpError({ type: 3, code: 3, quoted: got.subarray(14) })
  node.send(pod.port, error.bytes())
  checkPacket(t, left(node), {
    ipv4: { from: UPLINK_ADDRESS, to: CLIENT },
    icmp: { type: 3, code: 3 },
    quoted: {
      ipv4: { from: CLIENT, to: UPLINK_ADDRESS },
      udp: { from: CLIENT_PORT, to: NODE_PORT },
    },
  })
  node.close()
})

t.test(
  'the reply goes where the client’s frame came from when nobody knows the neighbour',
  async (t) => {
    const node = new TestNode({ hasUplink: true })
    const backend = { address: '10.0.2.1', port: 8080 }
    node.controller.setService(service([backend], { frontends: [outer()] }))
    node.route('203.0.113.0/24')
    const client = '203.0.113.50'
    const frame = fromOutside(UPLINK_ADDRESS, client).tcp({ from: 1, to: NODE_PORT, flags: 'SYN' })
    node.send(node.uplink, frame.bytes())
    left(node)
    const pod = node.pod()
    node.send(pod.port, ip(pod, client).udp({ from: 1, to: 2 }).bytes())
    checkPacket(t, left(node), { eth: { to: GATEWAY_MAC }, ipv4: { to: client } })
    node.send(pod.port, ip(pod, '203.0.113.51').udp({ from: 1, to: 2 }).bytes())
    t.equal(node.host.take().length, 1, 'another one’s is the stack’s to find')
    node.close()
  },
)

t.end()
