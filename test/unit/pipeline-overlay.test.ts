/** Packets between pods of two nodes, through the overlay. */
import t from 'tap'
import { EventType, EventWord, ObservationPoint } from '../../src/monitor/event.js'
import { Direction } from '../../src/packet/verdict.js'
import { allowing, fromPeer, OverlayNodes } from '../support/overlay-nodes.js'
import { bare, eth } from '../support/packet-builder.js'
import { checkPacket } from '../support/packet-checker.js'
import { parseFrame } from '../support/packet-parser.js'
import { CLOSED, ip, segment, service, VIP } from '../support/service-node.js'
import { GATEWAY_MAC, HOST_MAC, NODE_MAC, OUTSIDE_ADDRESS, TestNode } from '../support/test-node.js'
import { CLIENT, CLIENT_PORT, left, NODE_PORT, outer, request } from '../support/uplink-node.js'
import { encapsulated, opened } from '../support/vxlan.js'

const TTL_EXCEEDED = 196

t.test('a pod reaches a pod of another node, with its own identity', async (t) => {
  const nodes = new OverlayNodes()
  const client = nodes.a.pod()
  const server = nodes.b.pod(allowing(301))
  const syn = segment(client, 40000, 'SYN', server.address, 80)
  nodes.a.send(client.port, syn)
  const [frame] = nodes.a.uplink.take()
  const { outer, vni, inner } = opened(frame as Uint8Array)
  checkPacket(t, frame as Uint8Array, {
    eth: { from: nodes.a.uplinkMac, to: nodes.b.uplinkMac },
    ipv4: { from: '192.0.2.2', to: '192.0.2.3', ttl: 64, flags: 'DF', id: 0, tos: 0 },
    udp: { to: 8472, checksum: 0 },
  })
  t.ok((outer.udp?.from ?? 0) >= 32768)
  t.equal(vni, client.identity)
  t.same(inner, syn, 'the packet inside is as the pod sent it')

  nodes.b.send(nodes.b.uplink, frame as Uint8Array)
  const [got] = server.port.take()
  checkPacket(t, got as Uint8Array, {
    eth: { from: NODE_MAC, to: server.mac },
    ipv4: { from: client.address, to: server.address, ttl: 63 },
    tcp: { from: 40000, to: 80, flags: 'SYN' },
  })
  const reply = ip(server, client.address).tcp({ from: 80, to: 40000, flags: 'SYN ACK' })
  nodes.b.send(server.port, reply.bytes())
  nodes.settle()
  t.equal(client.port.take().length, 1)
  t.same([...nodes.a.drops(), ...nodes.b.drops()], [])
  nodes.close()
})

t.test('policies of both nodes hold for identities, not for addresses', async (t) => {
  const nodes = new OverlayNodes()
  const [friend, stranger] = [nodes.a.pod(CLOSED), nodes.a.pod(CLOSED)]
  const server = nodes.b.pod(allowing(friend.identity))
  for (const pod of [friend, stranger]) {
    nodes.a.send(pod.port, segment(pod, 40000, 'SYN', server.address, 80))
    nodes.settle()
  }
  t.equal(server.port.take().length, 1)
  t.same(nodes.b.drops(), [133])
  const reply = ip(server, friend.address).tcp({ from: 80, to: 40000, flags: 'SYN ACK' })
  nodes.b.send(server.port, reply.bytes())
  nodes.settle()
  t.equal(friend.port.take().length, 1, 'the reply passes a client that allows nobody')
  nodes.close()
})

t.test('a pod’s egress policy knows pods of other nodes by their identity', async (t) => {
  const nodes = new OverlayNodes()
  const pod = nodes.a.pod({
    enforceIngress: false,
    enforceEgress: true,
    rules: [{ direction: Direction.EGRESS, action: 'allow', identities: [601] }],
  })
  const [known, unknown] = [nodes.b.pod(), nodes.b.pod()]
  nodes.a.controller.setRemote({
    prefix: known.address,
    identity: known.identity,
    tunnelEndpoint: nodes.b.uplinkAddress,
  })
  nodes.a.send(pod.port, segment(pod, 40000, 'SYN', known.address, 80))
  nodes.a.send(pod.port, segment(pod, 40001, 'SYN', unknown.address, 80))
  nodes.settle()
  t.equal(known.port.take().length, 1)
  t.equal(unknown.port.take().length, 0)
  t.same(nodes.a.drops(), [133])
  nodes.close()
})

t.test('UDP, ping and what a kernel left half done go through', async (t) => {
  const nodes = new OverlayNodes()
  const client = nodes.a.pod()
  const server = nodes.b.pod()
  const to = ip(client, server.address)
  const frames = [
    to.udp({ from: 40000, to: 53 }).payload('query'),
    to.icmpEcho({ id: 7 }).payload('ping'),
    to.tcp({ from: 40001, to: 80, partialChecksum: true }).payload('half'),
  ]
  for (const frame of frames) nodes.a.send(client.port, frame.bytes())
  nodes.settle()
  const got = server.port.take()
  t.equal(got.length, 3)
  for (const frame of got) checkPacket(t, frame, { ipv4: { ttl: 63 } })
  const half = ip(client, server.address).udp({ to: 53, partialChecksum: true }).payload('inside')
  nodes.b.send(
    nodes.b.uplink,
    encapsulated(half.bytes(), {
      from: nodes.a.uplinkAddress,
      to: nodes.b.uplinkAddress,
      vni: client.identity,
    }),
  )
  checkPacket(t, server.port.take()[0] as Uint8Array, { udp: { to: 53 } })
  nodes.close()
})

t.test('native routing leaves the tunnel aside, and skipTunnel by prefix', async (t) => {
  const nodes = new OverlayNodes()
  const client = nodes.a.pod()
  const target = { from: client.address, to: '10.0.2.1' }
  const send = (port: number) => {
    nodes.a.send(client.port, segment(client, port, 'SYN', '10.0.2.1', 80))
    return nodes.a.uplink.take()[0] as Uint8Array
  }
  t.equal(opened(send(40000)).vni, client.identity)
  nodes.a.controller.setRemote({
    prefix: '10.0.2.1',
    identity: 601,
    tunnelEndpoint: nodes.b.uplinkAddress,
    skipTunnel: true,
  })
  checkPacket(t, send(40001), { ipv4: { ...target, ttl: 63 } })
  nodes.a.controller.deleteRemote('10.0.2.1')
  t.equal(opened(send(40002)).vni, client.identity)
  nodes.a.controller.setTunnel({ mode: 'native' })
  checkPacket(t, send(40003), { ipv4: { ...target, ttl: 63 } })
  nodes.close()
})

t.test('the node reaches pods of other nodes as a remote node, and is answered', async (t) => {
  const nodes = new OverlayNodes()
  const server = nodes.b.pod(allowing(6))
  const { a } = nodes
  const query = eth({ from: HOST_MAC, to: NODE_MAC })
    .ipv4({ from: a.address, to: server.address })
    .udp({ from: 5000, to: 53, partialChecksum: true })
    .payload('query')
  a.send(a.host, query.bytes())
  const [frame] = a.uplink.take()
  t.equal(opened(frame as Uint8Array).vni, 6)
  nodes.b.send(nodes.b.uplink, frame as Uint8Array)
  checkPacket(t, server.port.take()[0] as Uint8Array, { ipv4: { from: a.address } })
  nodes.b.send(server.port, ip(server, a.address).udp({ from: 53, to: 5000 }).bytes())
  nodes.settle()
  checkPacket(t, a.host.take()[0] as Uint8Array, { ipv4: { from: server.address, to: a.address } })
  nodes.close()
})

t.test('from the tunnel to the node itself goes to its stack', async (t) => {
  const node = new OverlayNodes().a
  const inner = eth().ipv4({ from: '10.0.2.1', to: node.address }).udp().payload('hello').bytes()
  node.send(node.uplink, fromPeer(inner, 601))
  const [got] = node.host.take()
  checkPacket(t, got as Uint8Array, {
    eth: { from: NODE_MAC },
    ipv4: { from: '10.0.2.1', to: node.address, ttl: 63 },
  })
  const last = eth().ipv4({ from: '10.0.2.1', to: node.address, ttl: 1 }).udp().bytes()
  node.send(node.uplink, fromPeer(last, 601))
  t.same(node.drops(), [TTL_EXCEEDED])
  t.same(node.host.take(), [])
  const told = opened(left(node))
  t.equal(told.vni, 6)
  checkPacket(t, told.inner, { ipv4: { to: '10.0.2.1' }, icmp: { type: 11 } })
  node.close()
})

t.test('a neighbour nobody knows is left to the node’s stack, in its envelope', async (t) => {
  const node = new TestNode({ hasUplink: true })
  const pod = node.pod()
  node.controller.setTunnel({ mode: 'tunnel' })
  node.controller.addPeer({ name: 'b', address: '192.0.2.3', podCidrs: ['10.0.2.0/24'] })
  node.send(pod.port, segment(pod, 40000, 'SYN', '10.0.2.1', 80))
  const [frame] = node.host.take()
  const { outer, vni } = opened(frame as Uint8Array)
  t.equal(outer.ipv4?.from, '192.0.2.2')
  t.equal(outer.ipv4?.to, '192.0.2.3')
  t.equal(vni, pod.identity)
  node.close()
})

t.test('inner frames are addressed as asked, for peers who look at that', async (t) => {
  const nodes = new OverlayNodes()
  const client = nodes.a.pod()
  const innerTo = (port: number) => {
    nodes.a.send(client.port, segment(client, port, 'SYN', '10.0.2.1', 80))
    return parseFrame(opened(left(nodes.a)).inner).eth
  }
  t.same(innerTo(40000), { from: client.mac, to: NODE_MAC, type: 0x800 })
  nodes.a.controller.setTunnel({ mode: 'tunnel', innerMac: '02:00:00:00:aa:01' })
  t.same(innerTo(40001), { from: client.mac, to: '02:00:00:00:aa:01', type: 0x800 })
  nodes.a.controller.setTunnel({ mode: 'tunnel' })
  t.equal(innerTo(40002)?.to, NODE_MAC)
  nodes.close()
})

t.test('fragments go through one by one', async (t) => {
  const nodes = new OverlayNodes()
  const client = nodes.a.pod()
  const server = nodes.b.pod(allowing(301))
  const head = { from: client.address, to: server.address, id: 5, protocol: 17 }
  const whole = bare().ipv4(head).udp({ from: 40000, to: 53 }).payload(1200).bytes()
  const datagram = whole.subarray(20)
  for (const [offset, end, flags] of [
    [0, 800, 'MF'],
    [800, 1208, ''],
  ] as const) {
    const frame = eth({ from: client.mac, to: NODE_MAC })
      .ipv4({ ...head, flags, fragmentOffset: offset })
      .payload(datagram.subarray(offset, end))
    nodes.a.send(client.port, frame.bytes())
  }
  nodes.settle()
  t.equal(server.port.take().length, 2)
  t.same([...nodes.a.drops(), ...nodes.b.drops()], [])
  nodes.close()
})

t.test('a service’s backend on another node answers in the service’s name', async (t) => {
  const nodes = new OverlayNodes()
  const client = nodes.a.pod(CLOSED)
  const server = nodes.b.pod(allowing(client.identity))
  nodes.a.controller.setService(service([{ address: server.address, port: 8080 }]))
  nodes.a.send(client.port, segment(client, 40000))
  nodes.settle()
  checkPacket(t, server.port.take()[0] as Uint8Array, {
    ipv4: { from: client.address, to: server.address },
    tcp: { from: 40000, to: 8080 },
  })
  const reply = ip(server, client.address).tcp({ from: 8080, to: 40000, flags: 'SYN ACK' })
  nodes.b.send(server.port, reply.bytes())
  nodes.settle()
  checkPacket(t, client.port.take()[0] as Uint8Array, {
    ipv4: { from: VIP, to: client.address },
    tcp: { from: 80, to: 40000 },
  })
  const unreachable = ip(server, client.address).icmpError({
    quoted: bare()
      .ipv4({ from: client.address, to: server.address })
      .tcp({ from: 40000, to: 8080, flags: 'SYN' }),
  })
  nodes.b.send(server.port, unreachable.bytes())
  nodes.settle()
  checkPacket(t, client.port.take()[0] as Uint8Array, {
    ipv4: { from: VIP, to: client.address },
    quoted: { ipv4: { to: VIP }, tcp: { to: 80 } },
  })
  t.same([...nodes.a.drops(), ...nodes.b.drops()], [])
  nodes.close()
})

t.test('a NodePort of this node is reached through the tunnel too', async (t) => {
  const nodes = new OverlayNodes()
  const client = nodes.a.pod()
  const server = nodes.b.pod()
  const address = nodes.b.address
  const frontend = { address, port: 30080, protocol: 'TCP', type: 'NodePort' } as const
  nodes.b.controller.setService(service([server], { frontends: [frontend] }))
  nodes.a.send(client.port, segment(client, 40000, 'SYN', nodes.b.address, 30080))
  nodes.settle()
  checkPacket(t, server.port.take()[0] as Uint8Array, {
    ipv4: { from: client.address, to: server.address },
    tcp: { to: 8080 },
  })
  const reply = ip(server, client.address).tcp({ from: 8080, to: 40000, flags: 'SYN ACK' })
  nodes.b.send(server.port, reply.bytes())
  nodes.settle()
  checkPacket(t, client.port.take()[0] as Uint8Array, {
    ipv4: { from: nodes.b.address, to: client.address },
    tcp: { from: 30080, to: 40000 },
  })
  nodes.close()
})

t.test('a NodePort’s backend behind the tunnel answers through the node asked', async (t) => {
  const nodes = new OverlayNodes()
  const server = nodes.b.pod(allowing(2))
  nodes.a.controller.setService(
    service([{ address: server.address, port: 8080 }], { frontends: [outer()] }),
  )
  nodes.a.send(nodes.a.uplink, request())
  nodes.settle()
  t.equal(opened(nodes.seen[0] as Uint8Array).vni, 2, 'the client is the world')
  const [got] = server.port.take()
  const { tcp } = checkPacket(t, got as Uint8Array, {
    ipv4: { from: nodes.a.address, to: server.address },
    tcp: { to: 8080, flags: 'SYN' },
  })
  const natPort = tcp?.from ?? 0
  const reply = ip(server, nodes.a.address).tcp({ from: 8080, to: natPort, flags: 'SYN ACK' })
  nodes.b.send(server.port, reply.bytes())
  const [back] = nodes.b.uplink.take()
  t.equal(opened(back as Uint8Array).vni, server.identity)
  nodes.a.send(nodes.a.uplink, back as Uint8Array)
  checkPacket(t, left(nodes.a), {
    eth: { to: GATEWAY_MAC },
    ipv4: { from: nodes.a.uplinkAddress, to: CLIENT },
    tcp: { from: NODE_PORT, to: CLIENT_PORT, flags: 'SYN ACK' },
  })
  t.same([...nodes.a.drops(), ...nodes.b.drops()], [])
  nodes.close()
})

t.test('a pod’s connection to another node’s NodePort may end on a third', async (t) => {
  const nodes = new OverlayNodes()
  const client = nodes.b.pod()
  const address = nodes.a.address
  const frontends = [{ address, port: NODE_PORT, protocol: 'TCP', type: 'NodePort' } as const]
  nodes.a.controller.setService(service([{ address: '10.0.3.1', port: 8080 }], { frontends }))
  nodes.a.controller.addPeer({ name: 'c', address: '192.0.2.4', podCidrs: ['10.0.3.0/24'] })
  nodes.a.neighbour('192.0.2.4', '02:00:00:00:fe:33')
  nodes.b.send(client.port, segment(client, 40000, 'SYN', address, NODE_PORT))
  const [frame] = nodes.b.uplink.take()
  nodes.a.send(nodes.a.uplink, frame as Uint8Array)
  const toThird = opened(left(nodes.a))
  t.equal(toThird.outer.ipv4?.to, '192.0.2.4')
  t.equal(toThird.vni, client.identity)
  const { tcp } = checkPacket(t, toThird.inner, { ipv4: { from: address, to: '10.0.3.1' } })
  const answer = eth()
    .ipv4({ from: '10.0.3.1', to: address })
    .tcp({ from: 8080, to: tcp?.from ?? 0, flags: 'SYN ACK' })
  nodes.a.send(nodes.a.uplink, fromPeer(answer.bytes(), 903))
  nodes.settle()
  checkPacket(t, client.port.take()[0] as Uint8Array, {
    ipv4: { from: address, to: client.address },
    tcp: { from: NODE_PORT, to: 40000 },
  })
  nodes.close()
})

t.test('both sides tell of a new connection where it enters and leaves the tunnel', async (t) => {
  const nodes = new OverlayNodes()
  const [client, server] = [nodes.a.pod(), nodes.b.pod()]
  nodes.a.send(client.port, segment(client, 40000, 'SYN', server.address, 80))
  nodes.settle()
  const points = (node: TestNode) =>
    node.events(EventType.TRACE).map((event) => event[EventWord.CODE])
  t.same(points(nodes.a), [ObservationPoint.TO_OVERLAY])
  t.same(points(nodes.b), [ObservationPoint.FROM_OVERLAY, ObservationPoint.TO_ENDPOINT])
  nodes.close()
})

t.test('packets to the outside stay outside of the tunnel', async (t) => {
  const nodes = new OverlayNodes()
  const client = nodes.a.pod()
  nodes.a.send(client.port, segment(client, 40000, 'SYN', OUTSIDE_ADDRESS, 443))
  checkPacket(t, nodes.a.uplink.take()[0] as Uint8Array, { ipv4: { to: OUTSIDE_ADDRESS } })
  nodes.close()
})
