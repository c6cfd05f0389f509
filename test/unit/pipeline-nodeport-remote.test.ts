/** Services for clients outside whose backends are no pods of this node, and for the node itself. */
import t from 'tap'
import { eth } from '../support/packet-builder.js'
import { checkPacket } from '../support/packet-checker.js'
import { ip, service, VIP } from '../support/service-node.js'
import {
  GATEWAY_MAC,
  HOST_MAC,
  NODE_ADDRESS,
  NODE_MAC,
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

const REMOTE = '10.0.2.1'
const STAND_IN = '169.254.42.1'
const UNROUTABLE = 151
const NOT_IN_SOURCE_RANGE = 177
const TTL_EXCEEDED = 196

const elsewhere = { address: REMOTE, port: 8080 }
const fromHost = (to: string, from = NODE_ADDRESS) =>
  eth({ from: HOST_MAC, to: NODE_MAC }).ipv4({ from, to })

/** The only frame that the node's stack got. */
function stacked(node: TestNode): Uint8Array {
  const [frame, ...more] = node.host.take()
  if (frame !== undefined && more.length === 0) return frame
  throw new Error(`the stack got ${more.length} frames more; drops ${node.drops()}`)
}

t.test(
  'a request to a backend elsewhere leaves from the node, its reply from the service',
  async (t) => {
    const node = new TestNode({ hasUplink: true })
    node.controller.setService(service([elsewhere], { frontends: [outer()] }))
    node.send(node.uplink, request())
    const sent = checkPacket(t, left(node), {
      eth: { from: UPLINK_MAC, to: GATEWAY_MAC },
      ipv4: { from: UPLINK_ADDRESS, to: REMOTE, ttl: 63 },
      tcp: { from: CLIENT_PORT, to: 8080 },
    })
    const to = sent.tcp?.from as number
    const reply = fromOutside(UPLINK_ADDRESS, REMOTE).tcp({ from: 8080, to, flags: 'SYN ACK' })
    node.send(node.uplink, reply.bytes())
    checkPacket(t, left(node), {
      eth: { from: UPLINK_MAC, to: GATEWAY_MAC },
      ipv4: { from: UPLINK_ADDRESS, to: CLIENT, ttl: 63 },
      tcp: { from: NODE_PORT, to: CLIENT_PORT, flags: 'SYN ACK' },
    })
    node.close()
  },
)

t.test('two clients with the same port get two ports of the node', async (t) => {
  const node = new TestNode({ hasUplink: true })
  node.controller.setService(service([elsewhere], { frontends: [outer()] }))
  const ports = new Set<number>()
  for (const client of [CLIENT, '198.51.100.9']) {
    const frame = fromOutside(UPLINK_ADDRESS, client)
    node.send(node.uplink, frame.tcp({ from: 50_000, to: NODE_PORT, flags: 'SYN' }).bytes())
    ports.add(checkPacket(t, left(node)).tcp?.from as number)
  }
  t.equal(ports.size, 2)
  for (const to of ports) {
    const reply = fromOutside(UPLINK_ADDRESS, REMOTE).tcp({ from: 8080, to, flags: 'SYN ACK' })
    node.send(node.uplink, reply.bytes())
    checkPacket(t, left(node), { tcp: { from: NODE_PORT, to: 50_000 } })
  }
  node.close()
})

t.test('a packet whose TTL ends here is dropped as its sender sent it', async (t) => {
  const node = new TestNode({ hasUplink: true })
  node.controller.setService(service([elsewhere], { frontends: [outer()] }))
  const frame = fromOutside(UPLINK_ADDRESS, CLIENT, 1)
  node.send(node.uplink, frame.tcp({ from: 1, to: NODE_PORT, flags: 'SYN' }).bytes())
  t.same(node.drops(), [TTL_EXCEEDED])
  node.close()
})

t.test('an error from a router on the way to the backend reaches the client', async (t) => {
  const node = new TestNode({ hasUplink: true })
  node.controller.setService(service([elsewhere], { frontends: [outer()] }))
  node.send(node.uplink, request())
  const quoted = left(node).subarray(14)
  const router = '10.9.9.9'
  const error = fromOutside(UPLINK_ADDRESS, router).icmpError({ type: 3, code: 1, quoted })
  node.send(node.uplink, error.bytes())
  checkPacket(t, left(node), {
    ipv4: { from: router, to: CLIENT },
    icmp: { type: 3, code: 1 },
    quoted: {
      ipv4: { from: CLIENT, to: UPLINK_ADDRESS },
      tcp: { from: CLIENT_PORT, to: NODE_PORT },
    },
  })
  node.close()
})

t.test('the node’s own process reaches a service through the host pair', async (t) => {
  const node = new TestNode({ hasUplink: true })
  const pod = node.pod()
  node.controller.setService(service([pod], { sourceRanges: ['203.0.113.0/24'] }))
  node.send(node.host, fromHost(VIP).tcp({ from: 40_000, to: 80, flags: 'SYN' }).bytes())
  checkPacket(t, received(node, pod), {
    ipv4: { from: NODE_ADDRESS, to: pod.address },
    tcp: { from: 40_000, to: 8080 },
  })
  const reply = ip(pod, NODE_ADDRESS).tcp({ from: 8080, to: 40_000, flags: 'SYN ACK' })
  node.send(pod.port, reply.bytes())
  checkPacket(t, stacked(node), {
    ipv4: { from: VIP, to: NODE_ADDRESS },
    tcp: { from: 80, to: 40_000 },
  })
  t.same(node.drops(), [], 'source ranges do not bind it')
  node.close()
})

t.test(
  'a stranger whom the stack forwards to a service is held to its source ranges',
  async (t) => {
    const node = new TestNode({ hasUplink: true })
    const pod = node.pod()
    const ranges = { frontends: [outer()], sourceRanges: ['203.0.113.0/24'] }
    node.controller.setService(service([pod], ranges))
    const frame = fromHost(UPLINK_ADDRESS, CLIENT).tcp({ from: 1, to: NODE_PORT, flags: 'SYN' })
    node.send(node.host, frame.bytes())
    t.same(node.drops(), [NOT_IN_SOURCE_RANGE])
    node.close()
  },
)

t.test(
  'the node’s own process reaches a backend elsewhere from its uplink’s address',
  async (t) => {
    const node = new TestNode({ hasUplink: true })
    node.controller.setService(service([elsewhere]))
    node.send(node.host, fromHost(VIP).tcp({ from: 40_000, to: 80, flags: 'SYN' }).bytes())
    const sent = checkPacket(t, left(node), {
      ipv4: { from: UPLINK_ADDRESS, to: REMOTE },
      tcp: { to: 8080 },
    })
    const to = sent.tcp?.from as number
    const reply = fromOutside(UPLINK_ADDRESS, REMOTE).tcp({ from: 8080, to, flags: 'SYN ACK' })
    node.send(node.uplink, reply.bytes())
    checkPacket(t, stacked(node), {
      ipv4: { from: VIP, to: NODE_ADDRESS },
      tcp: { from: 80, to: 40_000 },
    })
    node.close()
  },
)

t.test('a backend on the node’s own stack sees our stand-in, the client the service', async (t) => {
  const node = new TestNode({ hasUplink: true })
  const own = { address: UPLINK_ADDRESS, port: 6443 }
  const frontends = [outer(), { ...outer('ClusterIP', VIP, 80) }]
  node.controller.setService(service([own], { frontends }))
  node.send(node.uplink, request())
  node.send(node.host, fromHost(VIP).tcp({ from: CLIENT_PORT, to: 80, flags: 'SYN' }).bytes())
  const frames = node.host.take().map((frame) => checkPacket(t, frame))
  t.equal(frames.length, 2)
  for (const { ipv4, tcp } of frames) {
    t.match(ipv4, { from: STAND_IN, to: UPLINK_ADDRESS })
    const back = fromHost(STAND_IN, UPLINK_ADDRESS)
    const to = tcp?.from as number
    node.send(node.host, back.tcp({ from: 6443, to, flags: 'SYN ACK' }).bytes())
  }
  checkPacket(t, left(node), {
    ipv4: { from: UPLINK_ADDRESS, to: CLIENT },
    tcp: { from: NODE_PORT, to: CLIENT_PORT },
  })
  checkPacket(t, stacked(node), {
    ipv4: { from: VIP, to: NODE_ADDRESS },
    tcp: { from: 80, to: CLIENT_PORT },
  })
  node.close()
})

t.test('an error from outside that quotes what only the node has seen is for nobody', async (t) => {
  const node = new TestNode({ hasUplink: true })
  const own = { address: UPLINK_ADDRESS, port: 6443 }
  node.controller.setService(service([own], { frontends: [outer()] }))
  node.send(node.uplink, request())
  const quoted = stacked(node).subarray(14)
  const error = fromOutside(UPLINK_ADDRESS).icmpError({ type: 3, code: 1, quoted })
  node.send(node.uplink, error.bytes())
  checkPacket(t, stacked(node), { ipv4: { from: CLIENT, to: UPLINK_ADDRESS } }, 'as it came')
  t.same(node.uplink.take(), [])
  node.close()
})

t.test(
  'what the stack sends to our stand-in without a flow of it is 151, and no loop',
  async (t) => {
    const node = new TestNode({ hasUplink: true })
    const frame = fromHost(STAND_IN, CLIENT).tcp({ from: 1, to: 2, flags: 'SYN' })
    node.send(node.host, frame.bytes())
    t.same(node.drops(), [UNROUTABLE])
    t.same(node.host.take(), [])
    node.close()
  },
)

t.test('a packet of no flow to the node is not what the flow’s packets are later', async (t) => {
  const node = new TestNode({ hasUplink: true })
  node.controller.setService(service([elsewhere], { frontends: [outer()] }))
  const reply = fromOutside(UPLINK_ADDRESS, REMOTE).tcp({
    from: 8080,
    to: CLIENT_PORT,
    flags: 'ACK',
  })
  for (let i = 0; i < 3; i++) node.send(node.uplink, reply.bytes())
  t.equal(node.host.take().length, 3, 'of somebody else’s connection, for all we know')
  node.send(node.uplink, request())
  left(node)
  node.send(node.uplink, reply.bytes())
  checkPacket(t, left(node), { ipv4: { to: CLIENT }, tcp: { from: NODE_PORT } })
  node.close()
})

t.end()
