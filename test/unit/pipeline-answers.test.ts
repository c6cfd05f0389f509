/** What the node itself tells senders: time exceeded, fragmentation needed, prohibited, reset. */
import t from 'tap'
import { NotedReason } from '../../src/monitor/metrics.js'
import { Direction } from '../../src/packet/verdict.js'
import type { EndpointPolicy } from '../../src/policy/policy-rule.js'
import { assertConserved } from '../../src/port/conservation.js'
import { RouteKind } from '../../src/routing/route-layout.js'
import { parseIpv4 } from '../../src/wire/address.js'
import { eth, fragmentIpv4 } from '../support/packet-builder.js'
import { checkPacket, describe } from '../support/packet-checker.js'
import { parseFrame } from '../support/packet-parser.js'
import { seededPrng } from '../support/seed.js'
import { CLOSED, frontend, ip, segment, service, VIP } from '../support/service-node.js'
import {
  GATEWAY_MAC,
  HOST_MAC,
  NODE_ADDRESS,
  NODE_MAC,
  OUTSIDE_ADDRESS,
  TestNode,
  UPLINK_ADDRESS,
  UPLINK_MAC,
} from '../support/test-node.js'

const DENIED = 133
const TOO_LARGE = 136
const NO_SERVICE = 158
const TTL_EXCEEDED = 196
const NO_EGRESS: EndpointPolicy = { enforceIngress: false, enforceEgress: true, rules: [] }

t.test(
  'a TTL that ends at the node is told by the node, with 548 bytes of the packet',
  async (t) => {
    const node = new TestNode()
    const [client, server] = [node.pod(), node.pod()]
    const frame = ip(client, server.address, 1)
      .udp({ from: 40000, to: 33434 })
      .payload(1000)
      .bytes()
    node.send(client.port, frame)
    t.same(server.port.take(), [])
    const [answer] = client.port.take() as [Uint8Array]
    checkPacket(t, answer, {
      eth: { from: NODE_MAC, to: client.mac },
      ipv4: { from: NODE_ADDRESS, to: client.address, ttl: 64 },
      icmp: { type: 11, code: 0 },
      quoted: { ipv4: { to: server.address, ttl: 1 }, udp: { from: 40000, to: 33434 } },
    })
    t.equal(answer.length, 14 + 576)
    t.same(answer.subarray(42), frame.subarray(14, 14 + 548), 'as it came, byte by byte')
    t.same(node.drops(), [TTL_EXCEEDED], 'the packet is a drop all the same')
    t.equal(node.counted(TTL_EXCEEDED, Direction.EGRESS), 1)
    t.equal(node.counted(NotedReason.ANSWER_SENT, Direction.EGRESS), 1)
    node.close()
  },
)

t.test('the quoted packet is what the sender sent, not what a service made of it', async (t) => {
  const node = new TestNode()
  const client = node.pod()
  node.controller.setService(
    service([node.pod()], { frontends: [frontend('UDP', 53), frontend('TCP', 80)] }),
  )
  const frames = [
    ip(client, VIP, 1).udp({ from: 40000, to: 53 }).payload('query').bytes(),
    ip(client, VIP, 1).udp({ from: 40000, to: 53, checksum: 0 }).payload('query').bytes(),
    ip(client, VIP, 1).tcp({ from: 40000, to: 80, flags: 'SYN' }).bytes(),
  ]
  for (const frame of frames) {
    node.send(client.port, frame)
    const [answer] = client.port.take() as [Uint8Array]
    checkPacket(t, answer, { icmp: { type: 11 }, quoted: { ipv4: { to: VIP } } })
    t.same(answer.subarray(42), frame.subarray(14))
  }
  const pod = node.pod()
  node.controller.setService(service([pod], { name: 'own', frontends: [frontend('UDP', 99)] }))
  const toItself = ip(pod, VIP, 1).udp({ from: 40000, to: 99 }).payload('query').bytes()
  node.send(pod.port, toItself)
  t.same((pod.port.take()[0] as Uint8Array).subarray(42), toItself.subarray(14), 'hairpin')
  node.close()
})

t.test('from outside and from the node the answer goes back the way the packet came', async (t) => {
  const node = new TestNode({ hasUplink: true })
  const pod = node.pod()
  const outside = eth({ from: GATEWAY_MAC, to: UPLINK_MAC })
    .ipv4({ from: OUTSIDE_ADDRESS, to: pod.address, ttl: 1 })
    .udp({ from: 1, to: 2 })
  node.send(node.uplink, outside.bytes())
  checkPacket(t, node.uplink.take()[0] as Uint8Array, {
    eth: { from: UPLINK_MAC, to: GATEWAY_MAC },
    ipv4: { from: UPLINK_ADDRESS, to: OUTSIDE_ADDRESS },
    icmp: { type: 11 },
  })
  const inside = eth({ from: HOST_MAC, to: NODE_MAC })
    .ipv4({ from: OUTSIDE_ADDRESS, to: pod.address, ttl: 1 })
    .udp({ from: 1, to: 2 })
  node.send(node.host, inside.bytes())
  checkPacket(t, node.host.take()[0] as Uint8Array, {
    eth: { from: NODE_MAC, to: HOST_MAC },
    ipv4: { from: UPLINK_ADDRESS, to: OUTSIDE_ADDRESS },
    icmp: { type: 11 },
  })
  node.send(pod.port, ip(pod, OUTSIDE_ADDRESS, 1).udp({ from: 1, to: 2 }).bytes())
  checkPacket(t, pod.port.take()[0] as Uint8Array, {
    eth: { from: NODE_MAC, to: pod.mac },
    ipv4: { from: UPLINK_ADDRESS, to: pod.address },
    icmp: { type: 11 },
  })
  t.same(node.drops(), [TTL_EXCEEDED, TTL_EXCEEDED, TTL_EXCEEDED])
  node.close()
})

t.test(
  'no answer to errors, later fragments, groups, nobody’s address, nor without own',
  async (t) => {
    const node = new TestNode()
    const [client, server] = [node.pod(), node.pod()]
    const quoted = ip(server, client.address).udp({ from: 1, to: 2 }).bytes().subarray(14)
    const error = ip(client, server.address, 1).icmpError({ type: 3, code: 3, quoted })
    node.send(client.port, error.bytes())
    const whole = ip(client, server.address, 1).udp({ from: 1, to: 2 }).payload(2000)
    for (const frame of fragmentIpv4(whole.bytes(), 1500)) node.send(client.port, frame)
    const answers = client.port.take()
    t.equal(answers.length, 1)
    checkPacket(t, answers[0] as Uint8Array, { icmp: { type: 11 } }, 'the first fragment is told')
    const toGroup = eth({ from: client.mac, to: 'ff:ff:ff:ff:ff:ff' })
      .ipv4({ from: client.address, to: server.address, ttl: 1 })
      .udp({ from: 1, to: 2 })
    node.send(client.port, toGroup.bytes())
    const fromNobody = eth({ from: HOST_MAC, to: NODE_MAC })
      .ipv4({ from: '127.0.0.1', to: client.address, ttl: 1 })
      .udp({ from: 1, to: 2 })
    node.send(node.host, fromNobody.bytes())
    t.same(client.port.take(), [])
    t.same(node.host.take(), [])
    t.same(node.drops(), new Array(5).fill(TTL_EXCEEDED))
    node.close()

    const alone = new TestNode({ hasHost: false })
    const [one, other] = [alone.pod(), alone.pod()]
    alone.send(one.port, ip(one, other.address, 1).udp({ from: 1, to: 2 }).bytes())
    t.same(one.port.take(), [], 'a node without an address says nothing')
    t.same(alone.drops(), [TTL_EXCEEDED])
    alone.close()
  },
)

t.test('answers are limited for each port, and the rest are counted', async (t) => {
  const node = new TestNode()
  const [client, other] = [node.pod(), node.pod()]
  node.controller.setNodeOptions({ answersPerSecond: 2, answersBurst: 5 })
  node.controller.setService(service([]))
  const send = (count: number) => {
    for (let i = 0; i < count; i++) {
      node.send(client.port, ip(client, other.address, 1).udp({ from: 1, to: 2 }).bytes())
    }
    return client.port.take().length
  }
  t.equal(send(8), 5)
  t.equal(node.counted(NotedReason.ANSWER_LIMITED, Direction.EGRESS), 3)
  t.equal(node.drops().length, 8)
  node.send(client.port, segment(client, 40000))
  t.same(node.drops(), [NO_SERVICE], 'all kinds of answers share it')
  node.send(other.port, ip(other, client.address, 1).udp({ from: 1, to: 2 }).bytes())
  t.equal(other.port.take().length, 1, 'another port has its own')
  node.clock.advanceSeconds(1)
  t.equal(send(8), 2)
  node.clock.advanceSeconds(1000)
  t.equal(send(8), 5, 'never more than the burst')
  node.controller.setNodeOptions({ answersPerSecond: 0, answersBurst: 0 })
  node.clock.advanceSeconds(1000)
  t.equal(send(1), 0)
  node.close()
})

t.test('too large for the way out and not to be cut: the sender is told the MTU', async (t) => {
  const node = new TestNode({ hasUplink: true })
  const pod = node.pod()
  const hop = { port: node.uplinkPort, gateway: parseIpv4('192.0.2.1'), mtuBytes: 1280 }
  const hops = [{ ...hop, source: parseIpv4(UPLINK_ADDRESS) }]
  node.routes.setRoute(parseIpv4('198.51.100.0'), 24, { kind: RouteKind.FORWARD, hops })
  const datagram = (bytes: number, flags: string) =>
    eth({ from: pod.mac, to: NODE_MAC })
      .ipv4({ from: pod.address, to: OUTSIDE_ADDRESS, flags })
      .udp({ from: 1, to: 2 })
      .payload(bytes - 28)
      .bytes()
  node.send(pod.port, datagram(1280, 'DF'))
  t.equal(node.uplink.take().length, 1, 'as large as the MTU is not too large')
  const frame = datagram(1281, 'DF')
  node.send(pod.port, frame)
  t.same(node.uplink.take(), [])
  const [answer] = pod.port.take() as [Uint8Array]
  checkPacket(t, answer, {
    ipv4: { from: UPLINK_ADDRESS, to: pod.address },
    icmp: { type: 3, code: 4 },
    quoted: { udp: { from: 1, to: 2 } },
  })
  t.equal(new DataView(answer.buffer, answer.byteOffset).getUint16(40), 1280, 'next hop MTU')
  t.same(answer.subarray(42), frame.subarray(14, 14 + 548))
  t.same(node.drops(), [TOO_LARGE])
  t.equal(node.counted(NotedReason.MTU_ERROR_SENT, Direction.EGRESS), 1)
  node.send(pod.port, datagram(1281, ''))
  t.equal(node.host.take().length, 1, 'what may be cut is cut by the node’s stack')
  t.same(node.drops(), [])
  node.close()
})

t.test('a denied packet is dropped in silence unless configured otherwise', async (t) => {
  const node = new TestNode()
  const [client, server] = [node.pod(NO_EGRESS), node.pod()]
  node.send(client.port, segment(client, 40000, 'SYN', server.address))
  t.same(client.port.take(), [])
  node.controller.setNodeOptions({ policyDenyResponse: 'icmp' })
  node.send(client.port, segment(client, 40000, 'SYN', server.address))
  checkPacket(t, client.port.take()[0] as Uint8Array, {
    eth: { from: NODE_MAC, to: client.mac },
    ipv4: { from: server.address, to: client.address },
    icmp: { type: 3, code: 13 },
    quoted: { ipv4: { from: client.address, to: server.address }, tcp: { from: 40000, to: 80 } },
  })
  t.same(node.drops(), [DENIED, DENIED])
  t.equal(node.counted(DENIED, Direction.EGRESS), 2)
  t.equal(node.maps.conntrackTable.size, 0)
  node.controller.setNodeOptions({ policyDenyResponse: 'none' })
  node.send(client.port, segment(client, 40000, 'SYN', server.address))
  t.same(client.port.take(), [])
  node.close()
})

t.test(
  'denied on the receiver’s side the sender is told too, in the receiver’s name',
  async (t) => {
    const node = new TestNode({ hasUplink: true })
    const [client, server] = [node.pod(), node.pod(CLOSED)]
    node.controller.setNodeOptions({ policyDenyResponse: 'icmp' })
    node.controller.setService(service([server]))
    node.send(client.port, segment(client, 40000))
    checkPacket(
      t,
      client.port.take()[0] as Uint8Array,
      {
        eth: { from: NODE_MAC, to: client.mac },
        ipv4: { from: VIP, to: client.address },
        icmp: { type: 3, code: 13 },
        quoted: { ipv4: { from: client.address, to: VIP }, tcp: { from: 40000, to: 80 } },
      },
      'through a service, the service says it',
    )
    t.equal(node.counted(DENIED, Direction.INGRESS), 1)
    const outside = eth({ from: GATEWAY_MAC, to: UPLINK_MAC })
      .ipv4({ from: OUTSIDE_ADDRESS, to: server.address })
      .tcp({ from: 1, to: 80, flags: 'SYN' })
    node.send(node.uplink, outside.bytes())
    t.same(node.uplink.take(), [], 'strangers get no answer')
    t.same(node.drops(), [DENIED, DENIED])
    node.close()
  },
)

t.test('a reset has the numbers of RFC 9293 3.10.7.1', async (t) => {
  const node = new TestNode()
  const [client, server] = [node.pod(), node.pod(CLOSED)]
  node.controller.setNodeOptions({ policyDenyResponse: 'reset' })
  const reset = (flags: string, bytes: number, seq: number, ack = 0) => {
    const head = eth({ from: client.mac, to: NODE_MAC })
      .ipv4({ from: client.address, to: server.address, options: [1, 1, 1, 0] })
      .tcp({ from: 40000, to: 80, flags, seq, ack, options: [2, 4, 5, 180] })
    node.send(client.port, head.payload(bytes).bytes())
    return client.port.take()[0]
  }
  const expected = { from: 80, to: 40000, window: 0 }
  checkPacket(t, reset('SYN', 0, 1000) as Uint8Array, {
    eth: { from: NODE_MAC, to: client.mac },
    ipv4: { from: server.address, to: client.address, ttl: 64 },
    tcp: { ...expected, flags: 'RST ACK', seq: 0, ack: 1001 },
  })
  checkPacket(t, reset('SYN', 10, 0xffffffff) as Uint8Array, {
    tcp: { ...expected, flags: 'RST ACK', seq: 0, ack: 10 },
  })
  checkPacket(t, reset('FIN PSH', 4, 5) as Uint8Array, {
    tcp: { ...expected, flags: 'RST ACK', seq: 0, ack: 10 },
  })
  checkPacket(t, reset('ACK', 100, 5, 0x80000001) as Uint8Array, {
    tcp: { ...expected, flags: 'RST', seq: 0x80000001, ack: 0 },
  })
  t.equal(node.drops().length, 4)
  for (let i = 0; i < 3; i++) {
    checkPacket(t, reset('ACK', 10, 5 + i, 77 + i) as Uint8Array, {
      tcp: { ...expected, flags: 'RST', seq: 77 + i },
    })
  }
  const toReset = reset('RST', 0, 5)
  checkPacket(t, toReset as Uint8Array, { icmp: { type: 3, code: 13 } }, 'never to a reset')
  node.send(client.port, ip(client, server.address).udp({ from: 1, to: 2 }).bytes())
  checkPacket(t, client.port.take()[0] as Uint8Array, { icmp: { type: 3, code: 13 } }, 'UDP: ICMP')
  node.controller.setService(service([server]))
  node.send(client.port, segment(client, 40001))
  checkPacket(t, client.port.take()[0] as Uint8Array, {
    ipv4: { from: VIP },
    tcp: { from: 80, to: 40001, flags: 'RST ACK', ack: 2 },
  })
  node.close()
})

t.test('options that are none are refused by name, with nothing changed', async (t) => {
  const node = new TestNode()
  const set = (options: object) => () => node.controller.setNodeOptions(options)
  const code = 'ECONFIG_INVALID'
  t.throws(set({ policyDenyResponse: 'maybe' }), { code, message: /policyDenyResponse/ })
  t.throws(set({ answersPerSecond: -1 }), { code, message: /answersPerSecond/ })
  t.throws(set({ policyDenyResponse: 'icmp', answersBurst: 0.5 }), {
    code,
    message: /answersBurst/,
  })
  t.throws(set({ fragmentTracking: 1 }), { code, message: /fragmentTracking/ })
  t.equal(node.maps.node.denyResponse, 0)
  t.equal(node.maps.node.answersPerSecond, 100)
  t.equal(node.maps.node.answersBurst, 1000)
  node.close()
})

t.test('no packet that is answered leaves wrong, whatever its headers say', async (t) => {
  const random = seededPrng(t)
  const node = new TestNode({ hasUplink: true })
  const [client, server] = [node.pod(), node.pod(CLOSED)]
  node.controller.setNodeOptions({ answersBurst: 1_000_000 })
  node.controller.setService(service([server], { frontends: [frontend(), frontend('UDP', 53)] }))
  const frames = [
    segment(client, 40000),
    segment(client, 40000, 'ACK PSH', server.address, 443),
    ip(client, VIP, 1).udp({ from: 5, to: 53 }).payload(100).bytes(),
    ip(client, OUTSIDE_ADDRESS, 1).icmpEcho({ id: 1, seq: 1 }).payload(700).bytes(),
  ]
  let answered = 0
  for (const response of ['icmp', 'reset'] as const) {
    node.controller.setNodeOptions({ policyDenyResponse: response })
    for (let i = 0; i < 800; i++) {
      const frame = (frames[random.below(frames.length)] as Uint8Array).slice()
      for (let flips = random.below(3); flips > 0; flips--) {
        frame[14 + random.below(frame.length - 14)] = random.below(256)
      }
      const isRight = parseFrame(frame).problems.length === 0
      node.send(client.port, frame.subarray(0, frame.length - random.below(2) * random.below(9)))
      for (const out of client.port.take()) {
        const parsed = parseFrame(out)
        // Sent to itself: no answer, and as wrong as it came.
        if (!isRight && parsed.ipv4?.from === client.address) continue
        answered++
        const problems = isRight ? parsed.problems : parsed.problems.filter((p) => !/quot/.test(p))
        if (problems.length > 0) t.same(problems, [], `${describe(frame)} got ${describe(out)}`)
      }
    }
  }
  t.ok(answered > 200, `${answered} answers`)
  assertConserved(node.exchange, node.loop.burst)
  node.close()
})
