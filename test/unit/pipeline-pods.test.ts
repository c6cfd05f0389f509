/** Pods of one node, frame by frame: the way of life-of-a-packet.md. */
import t from 'tap'
import { Direction } from '../../src/packet/verdict.js'
import type { EndpointPolicy, PolicyRule } from '../../src/policy/policy-rule.js'
import { eth } from '../support/packet-builder.js'
import { checkPacket } from '../support/packet-checker.js'
import type { Ipv4Options } from '../support/packet-options.js'
import { HOST_MAC, NODE_ADDRESS, NODE_MAC, TestNode, type TestPod } from '../support/test-node.js'

const TCP = 6
const UDP = 17
const ICMP = 1
const ETHERNET_BYTES = 14
const L4_OFFSET = ETHERNET_BYTES + 20

const ingress = (...rules: Omit<PolicyRule, 'direction'>[]): EndpointPolicy => ({
  enforceIngress: true,
  enforceEgress: false,
  rules: rules.map((rule) => ({ ...rule, direction: Direction.INGRESS })),
})

const ip = (from: TestPod, to: { readonly address: string }, more: Ipv4Options = {}) =>
  eth({ from: from.mac, to: NODE_MAC }).ipv4({
    from: from.address,
    to: to.address,
    ttl: 64,
    ...more,
  })

const syn = (from: TestPod, to: TestPod, port = 80) =>
  ip(from, to).tcp({ from: 40000, to: port, flags: 'SYN', seq: 1 }).bytes()

t.test(
  'a frame for a pod of the node is delivered with TTL less one and the MACs of its pair',
  async (t) => {
    const node = new TestNode()
    const [client, server] = [node.pod(), node.pod()]
    node.send(client.port, syn(client, server))
    const sent = server.port.take()
    t.equal(sent.length, 1)
    checkPacket(t, sent[0] as Uint8Array, {
      eth: { from: NODE_MAC, to: server.mac },
      ipv4: { from: client.address, to: server.address, ttl: 63 },
      tcp: { from: 40000, to: 80, flags: 'SYN' },
    })
    t.equal(node.maps.conntrackTable.size, 2, 'one connection entry for each side')
    node.close()
  },
)

t.test(
  'a pod without an allowing rule for the sender drops with 133, and the reply needs no rule',
  async (t) => {
    const node = new TestNode()
    const client = node.pod(ingress())
    const intruder = node.pod(ingress())
    const ports = [{ protocol: TCP, firstPort: 80 }]
    const server = node.pod(ingress({ action: 'allow', identities: [client.identity], ports }))

    node.send(intruder.port, syn(intruder, server))
    t.same(server.port.take(), [])
    t.same(node.drops(), [133])
    t.equal(node.counted(133, Direction.INGRESS), 1)

    node.send(client.port, syn(client, server))
    t.equal(server.port.take().length, 1)
    const reply = ip(server, client).tcp({ from: 80, to: 40000, flags: 'SYN ACK', seq: 9, ack: 2 })
    node.send(server.port, reply.bytes())
    t.equal(client.port.take().length, 1, 'the reply passes a client that allows nobody')

    node.send(client.port, syn(client, server, 81))
    t.same(node.drops(), [133], 'another port is not allowed')
    node.close()
  },
)

t.test('a deny rule wins over an allow rule with 181', async (t) => {
  const node = new TestNode()
  const client = node.pod()
  const server = node.pod(
    ingress(
      { action: 'allow' },
      { action: 'deny', identities: [client.identity], ports: [{ protocol: TCP, firstPort: 22 }] },
    ),
  )
  node.send(client.port, syn(client, server, 22))
  t.same(node.drops(), [181])
  node.send(client.port, syn(client, server, 23))
  t.equal(server.port.take().length, 1)
  node.close()
})

t.test('a packet from an address that is not the pod’s own drops with 132', async (t) => {
  const node = new TestNode()
  const [client, server] = [node.pod(), node.pod()]
  const spoofed = { ...client, address: '10.0.1.77' }
  node.send(client.port, syn(spoofed, server))
  t.same(node.drops(), [132])
  t.equal(node.counted(132, Direction.EGRESS), 1)
  t.equal(node.maps.conntrackTable.size, 0, 'nothing is remembered of it')
  node.close()
})

t.test('ARP is answered for any address but the pod’s own', async (t) => {
  const node = new TestNode()
  const pod = node.pod()
  const ask = (target: string) =>
    eth({ from: pod.mac, to: 'ff:ff:ff:ff:ff:ff' })
      .arpRequest({ senderMac: pod.mac, sender: pod.address, target })
      .bytes()
  node.send(pod.port, ask('10.0.0.1'))
  const [answer] = pod.port.take()
  checkPacket(t, answer as Uint8Array, { eth: { from: NODE_MAC, to: pod.mac } })
  node.send(pod.port, ask(pod.address))
  t.same(pod.port.take(), [], 'its own address stays unanswered')
  t.same(node.drops(), [])
  node.close()
})

t.test(
  'the node reaches a pod as HOST, and the pod reaches the node through the host port',
  async (t) => {
    const node = new TestNode()
    const pod = node.pod(ingress({ action: 'allow', identities: [1] }))
    const fromNode = eth({ from: HOST_MAC, to: NODE_MAC })
      .ipv4({ from: NODE_ADDRESS, to: pod.address, ttl: 64 })
      .udp({ from: 5000, to: 53 })
      .payload('query')
    node.send(node.host, fromNode.bytes())
    t.equal(pod.port.take().length, 1)
    const answer = ip(pod, { address: NODE_ADDRESS }).udp({ from: 53, to: 5000 }).payload('answer')
    node.send(pod.port, answer.bytes())
    const [frame] = node.host.take()
    checkPacket(t, frame as Uint8Array, {
      eth: { from: NODE_MAC, to: HOST_MAC },
      ipv4: { to: NODE_ADDRESS, ttl: 64 },
      udp: { from: 53 },
    })
    const outside = eth({ from: HOST_MAC, to: NODE_MAC })
      .ipv4({ from: '192.0.2.1', to: pod.address })
      .udp({ from: 5000, to: 53 })
    node.send(node.host, outside.bytes())
    t.same(node.drops(), [133], 'what the node forwards from outside is WORLD, not HOST')
    node.close()
  },
)

t.test('a partial checksum is completed before the packet goes on', async (t) => {
  const node = new TestNode()
  const [client, server] = [node.pod(), node.pod()]
  const tcp = { from: 40000, to: 80, flags: 'SYN', seq: 1, partialChecksum: true }
  node.send(client.port, ip(client, server).tcp(tcp).payload('early').bytes())
  checkPacket(t, server.port.take()[0] as Uint8Array, { tcp: { flags: 'SYN' } })
  node.close()
})

t.test('a TTL that is used up drops with 196', async (t) => {
  const node = new TestNode()
  const [client, server] = [node.pod(), node.pod()]
  const packet = eth({ from: client.mac, to: NODE_MAC })
    .ipv4({ from: client.address, to: server.address, ttl: 1 })
    .udp({ from: 1, to: 2 })
  node.send(client.port, packet.bytes())
  t.same(node.drops(), [196])
  node.close()
})

t.test('an ICMP error belongs to the connection it quotes, and to no other', async (t) => {
  const node = new TestNode()
  const [client, server] = [node.pod(ingress()), node.pod()]
  const query = ip(client, server).udp({ from: 40000, to: 53 }).payload('query').bytes()
  node.send(client.port, query)
  const seen = (server.port.take()[0] as Uint8Array).subarray(14)
  const error = ip(server, client).icmpError({ type: 3, code: 3, quoted: seen }).bytes()
  node.send(server.port, error)
  t.equal(client.port.take().length, 1, 'related: the closed client gets it')

  const invented = ip(client, server).udp({ from: 40001, to: 53 }).bytes().subarray(14)
  const stray = ip(server, client).icmpError({ type: 3, code: 3, quoted: invented }).bytes()
  node.send(server.port, stray)
  t.same(node.drops(), [133])
  node.close()
})

t.test('ping passes by an ICMP rule that gives the type as port', async (t) => {
  const node = new TestNode()
  const client = node.pod()
  const server = node.pod(ingress({ action: 'allow', ports: [{ protocol: ICMP, firstPort: 8 }] }))
  node.send(client.port, ip(client, server).icmpEcho({ id: 7, seq: 1 }).bytes())
  t.equal(server.port.take().length, 1)
  node.send(server.port, ip(server, client).icmpEcho({ id: 7, seq: 1, reply: true }).bytes())
  t.equal(client.port.take().length, 1)
  t.equal(node.maps.conntrackTable.size, 2)
  node.close()
})

t.test('a swapped policy applies to running connections', async (t) => {
  const node = new TestNode()
  const client = node.pod()
  const server = node.pod(ingress({ action: 'allow', ports: [{ protocol: UDP, firstPort: 53 }] }))
  const query = ip(client, server).udp({ from: 40000, to: 53 }).bytes()
  node.send(client.port, query)
  t.equal(server.port.take().length, 1)
  node.controller.setPolicy(server.id, ingress())
  node.send(client.port, query)
  t.same(server.port.take(), [])
  t.same(node.drops(), [133])
  node.close()
})

t.test('malformed frames drop with a reason, and nothing throws', async (t) => {
  const node = new TestNode()
  const [client, server] = [node.pod(), node.pod()]
  const frame = syn(client, server)
  for (let length = 0; length < frame.length; length++) {
    node.send(client.port, frame.subarray(0, length))
    const isEthernet = length >= ETHERNET_BYTES
    // Behind that IPv4's total length says that there is more.
    t.same(node.drops(), [isEthernet ? 134 : 166], `${length} bytes of ${frame.length}`)
  }
  t.equal(node.counted(166, Direction.EGRESS), ETHERNET_BYTES)
  t.equal(node.counted(134, Direction.EGRESS), frame.length - ETHERNET_BYTES)
  // The frame is long enough, by Ethernet's padding, but what IPv4 says is there is not.
  for (let payload = 0; payload < frame.length - L4_OFFSET; payload++) {
    const segment = frame.subarray(L4_OFFSET, L4_OFFSET + payload)
    const cut = ip(client, server, { protocol: TCP }).payload(segment)
    node.send(client.port, cut.pad().bytes())
    t.same(node.drops(), [135], `${payload} bytes of TCP's header`)
  }
  t.same(server.port.take(), [])
  node.send(client.port, frame)
  t.same(node.drops(), [])
  t.equal(server.port.take().length, 1, 'the whole frame is delivered')
  const vlan = eth({ from: client.mac, to: NODE_MAC }).vlan(5).ipv4({}).udp({})
  node.send(client.port, vlan.bytes())
  const ip6 = eth({ from: client.mac, to: NODE_MAC }).ipv6({}).udp({})
  node.send(client.port, ip6.bytes())
  t.same(node.drops(), [139, 139])
  node.close()
})
