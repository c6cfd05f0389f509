/** A service whose backend is elsewhere: the request leaves from the node, the reply comes back by it. */
import t from 'tap'
import { inboundError, natNode, natPort, outbound, quote, sendOut } from '../support/nat-node.js'
import { bare, eth } from '../support/packet-builder.js'
import { checkPacket } from '../support/packet-checker.js'
import { CLOSED, service, VIP } from '../support/service-node.js'
import {
  GATEWAY_ADDRESS,
  GATEWAY_MAC,
  OUTSIDE_ADDRESS,
  TestNode,
  UPLINK_ADDRESS,
  UPLINK_MAC,
} from '../support/test-node.js'
import {
  CLIENT,
  CLIENT_PORT,
  fromOutside,
  left,
  NODE_PORT,
  outer,
  received,
  request,
} from '../support/uplink-node.js'

const BACKEND = '203.0.113.80'
const TTL_EXCEEDED = 196

function remoteService(): TestNode {
  const node = new TestNode({ hasUplink: true })
  const backends = [{ address: BACKEND, port: 8080 }]
  node.controller.setService({ name: 'far', frontends: [outer()], backends })
  return node
}

const reply = (port: number, flags = 'SYN ACK') =>
  fromOutside(UPLINK_ADDRESS, BACKEND).tcp({ from: 8080, to: port, flags, seq: 1 }).bytes()

t.test(
  'a client’s request goes to the backend from the node’s address, and the reply from the service',
  async (t) => {
    const node = remoteService()
    node.send(node.uplink, request())
    const out = left(node)
    checkPacket(t, out, {
      eth: { from: UPLINK_MAC, to: GATEWAY_MAC },
      ipv4: { from: UPLINK_ADDRESS, to: BACKEND, ttl: 63 },
      tcp: { from: CLIENT_PORT, to: 8080 },
    })
    node.send(node.uplink, reply(natPort(out)))
    checkPacket(t, left(node), {
      ipv4: { from: UPLINK_ADDRESS, to: CLIENT, ttl: 63 },
      tcp: { from: NODE_PORT, to: CLIENT_PORT },
    })
    t.same(node.drops(), [])
    node.close()
  },
)

t.test('two clients with one port toward one backend are kept apart', async (t) => {
  const node = remoteService()
  const clients = [OUTSIDE_ADDRESS, '198.51.100.2']
  const ports = clients.map((from) => {
    const syn = fromOutside(UPLINK_ADDRESS, from).tcp({ from: 50000, to: NODE_PORT, flags: 'SYN' })
    node.send(node.uplink, syn.bytes())
    return natPort(left(node))
  })
  t.not(ports[0], ports[1])
  for (const [i, client] of clients.entries()) {
    node.send(node.uplink, reply(ports[i] ?? 0))
    checkPacket(t, left(node), { ipv4: { to: client }, tcp: { from: NODE_PORT, to: 50000 } })
  }
  node.close()
})

t.test('an error about the node’s request reaches the client, quoting what he sent', async (t) => {
  const node = remoteService()
  node.send(node.uplink, request())
  const port = natPort(left(node))
  const quoted = quote(UPLINK_ADDRESS, BACKEND).tcp({ from: port, to: 8080, flags: 'SYN', seq: 1 })
  const error = eth({ from: GATEWAY_MAC, to: UPLINK_MAC })
    .ipv4({ from: GATEWAY_ADDRESS, to: UPLINK_ADDRESS })
    .icmpError({ type: 3, code: 4, rest: 1400, quoted })
  node.send(node.uplink, error.bytes())
  checkPacket(t, left(node), {
    ipv4: { to: CLIENT },
    icmp: { type: 3, code: 4, rest: 1400 },
    quoted: {
      ipv4: { from: CLIENT, to: UPLINK_ADDRESS },
      tcp: { from: CLIENT_PORT, to: NODE_PORT },
    },
  })
  node.close()
})

t.test('an error of the client’s reaches the backend, quoting what it sent', async (t) => {
  const node = remoteService()
  node.send(node.uplink, request())
  const port = natPort(left(node))
  node.send(node.uplink, reply(port))
  left(node)
  const quoted = quote(UPLINK_ADDRESS, CLIENT).tcp({ from: NODE_PORT, to: CLIENT_PORT, seq: 1 })
  node.send(
    node.uplink,
    fromOutside(UPLINK_ADDRESS).icmpError({ type: 3, code: 4, quoted }).bytes(),
  )
  checkPacket(t, left(node), {
    ipv4: { from: UPLINK_ADDRESS, to: BACKEND },
    icmp: { type: 3, code: 4 },
    quoted: { ipv4: { from: BACKEND, to: UPLINK_ADDRESS }, tcp: { from: 8080, to: port } },
  })
  node.close()
})

t.test('a request whose TTL ends makes no mapping', async (t) => {
  const node = remoteService()
  const syn = fromOutside(UPLINK_ADDRESS, CLIENT, 1).tcp({
    from: 50000,
    to: NODE_PORT,
    flags: 'SYN',
  })
  node.send(node.uplink, syn.bytes())
  t.same(node.drops(), [TTL_EXCEEDED])
  t.equal(node.maps.nat.snat.size, 0)
  node.close()
})

t.test(
  'a pod’s request to a service with a backend outside is translated twice, and back',
  async (t) => {
    const node = natNode()
    const [first, pod] = [node.pod(), node.pod(CLOSED)]
    node.controller.setService(service([{ address: BACKEND, port: 8080 }]))
    sendOut(node, first, outbound(first, VIP).tcp({ from: 40_000, to: 80, flags: 'SYN' }))
    const packet = outbound(pod, VIP).tcp({ from: 40_000, to: 80, flags: 'SYN' })
    const out = sendOut(node, pod, packet)
    const port = natPort(out)
    t.not(port, 40_000)
    checkPacket(t, out, { ipv4: { from: UPLINK_ADDRESS, to: BACKEND }, tcp: { to: 8080 } })
    node.send(node.uplink, reply(port))
    checkPacket(t, received(node, pod), {
      ipv4: { from: VIP, to: pod.address },
      tcp: { from: 80, to: 40_000 },
    })
    const quoted = quote(UPLINK_ADDRESS, BACKEND).tcp({ from: port, to: 8080, flags: 'SYN' })
    node.send(node.uplink, inboundError(quoted, 11, 0).bytes())
    checkPacket(t, received(node, pod), {
      ipv4: { from: GATEWAY_ADDRESS, to: pod.address },
      icmp: { type: 11, code: 0 },
      quoted: { ipv4: { from: pod.address, to: VIP }, tcp: { from: 40_000, to: 80 } },
    })
    const got = bare().ipv4({ from: VIP, to: pod.address }).tcp({ from: 80, to: 40_000 })
    const error = outbound(pod, VIP).icmpError({ type: 3, code: 4, rest: 1300, quoted: got })
    checkPacket(t, sendOut(node, pod, error), {
      ipv4: { from: UPLINK_ADDRESS, to: BACKEND },
      icmp: { type: 3, code: 4, rest: 1300 },
      quoted: { ipv4: { from: BACKEND, to: UPLINK_ADDRESS }, tcp: { from: 8080, to: port } },
    })
    t.same(node.drops(), [])
    node.close()
  },
)

t.end()
