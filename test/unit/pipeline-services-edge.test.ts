/** Services, frame by frame: no backend, unknown ports, a pod that reaches itself, ICMP errors, backends elsewhere. */
import t from 'tap'
import { Direction } from '../../src/packet/verdict.js'
import { assertConserved } from '../../src/port/conservation.js'
import { eth } from '../support/packet-builder.js'
import { checkPacket, describe } from '../support/packet-checker.js'
import { parseFrame } from '../support/packet-parser.js'
import { sctpFrame as sctp } from '../support/sctp-frame.js'
import { seededPrng } from '../support/seed.js'
import { CLOSED, frontend, ip, segment, service, VIP } from '../support/service-node.js'
import { HOST_MAC, NODE_ADDRESS, NODE_MAC, TestNode, type TestPod } from '../support/test-node.js'

const LOOPBACK = '169.254.42.1'
const NO_SERVICE = 158
const TCP = 6

t.test('without a backend the client is told "port unreachable" by the service', async (t) => {
  const node = new TestNode()
  const client = node.pod()
  node.controller.setService(service([]))
  const frame = segment(client, 40000)
  node.send(client.port, frame)
  checkPacket(t, client.port.take()[0] as Uint8Array, {
    eth: { from: NODE_MAC, to: client.mac },
    ipv4: { from: VIP, to: client.address, ttl: 64 },
    icmp: { type: 3, code: 3 },
    quoted: { ipv4: { from: client.address, to: VIP }, tcp: { from: 40000, to: 80 } },
  })
  t.same(node.drops(), [NO_SERVICE], 'and it is told of')
  t.equal(node.maps.conntrackTable.size, 0)
  node.close()
})

t.test('or it gets nothing, and the drop is 158, as configured', async (t) => {
  const node = new TestNode()
  const client = node.pod()
  node.controller.setService(service([]))
  node.controller.setServiceOptions({ noBackendResponse: 'drop' })
  node.send(client.port, segment(client, 40000))
  t.same(client.port.take(), [])
  t.same(node.drops(), [NO_SERVICE])
  node.close()
})

t.test(
  'unknown ports and protocols of a service address drop with 158, ping does not',
  async (t) => {
    const node = new TestNode()
    const [client, server] = [node.pod(), node.pod()]
    node.controller.setService(service([server]))
    node.send(client.port, segment(client, 40000, 'SYN', VIP, 81))
    node.send(client.port, ip(client, VIP).udp({ from: 1, to: 80 }).bytes())
    t.same(node.drops(), [NO_SERVICE, NO_SERVICE])
    node.send(client.port, ip(client, VIP).icmpEcho({ id: 1, seq: 1 }).bytes())
    t.equal(node.host.take().length, 1, 'as any address that we do not know')
    t.ok(node.controller.deleteService('web'))
    node.send(client.port, segment(client, 40000, 'SYN', VIP, 81))
    t.equal(node.host.take().length, 1, 'with the service its address is free')
    t.same(node.drops(), [])
    node.close()
  },
)

t.test('a NodePort’s address keeps its other ports', async (t) => {
  const node = new TestNode()
  const [client, server] = [node.pod(), node.pod()]
  const nodePort = {
    address: NODE_ADDRESS,
    port: 30080,
    protocol: 'TCP',
    type: 'NodePort',
  } as const
  node.controller.setService(service([server], { frontends: [nodePort] }))
  node.send(client.port, segment(client, 40000, 'SYN', NODE_ADDRESS, 30080))
  t.equal(server.port.take().length, 1)
  node.send(client.port, segment(client, 40001, 'SYN', NODE_ADDRESS, 22))
  t.equal(node.host.take().length, 1)
  node.close()
})

t.test('a pod reaches itself through its service, by a stand-in address', async (t) => {
  const node = new TestNode()
  const pod = node.pod(CLOSED)
  node.controller.setService(service([pod]))
  node.send(pod.port, segment(pod, 40000))
  checkPacket(
    t,
    pod.port.take()[0] as Uint8Array,
    {
      eth: { from: NODE_MAC, to: pod.mac },
      ipv4: { from: LOOPBACK, to: pod.address, ttl: 63 },
      tcp: { from: 40000, to: 8080, flags: 'SYN' },
    },
    'no policy: a pod may reach itself',
  )
  const reply = ip(pod, LOOPBACK).tcp({ from: 8080, to: 40000, flags: 'SYN ACK' })
  node.send(pod.port, reply.bytes())
  checkPacket(t, pod.port.take()[0] as Uint8Array, {
    ipv4: { from: VIP, to: pod.address },
    tcp: { from: 80, to: 40000, flags: 'SYN ACK' },
  })
  node.send(pod.port, segment(pod, 40000, 'ACK'))
  checkPacket(t, pod.port.take()[0] as Uint8Array, { ipv4: { from: LOOPBACK }, tcp: { to: 8080 } })
  t.same(node.drops(), [])
  node.send(pod.port, ip(pod, LOOPBACK).tcp({ from: 8080, to: 40001, flags: 'SYN ACK' }).bytes())
  t.same(pod.port.take(), [], 'nothing else goes to the stand-in')
  node.close()
})

t.test('or by its own address, as an option', async (t) => {
  const node = new TestNode()
  const pod = node.pod(CLOSED)
  node.controller.setServiceOptions({ loopback: 'pod' })
  node.controller.setService(service([pod]))
  node.send(pod.port, segment(pod, 40000))
  checkPacket(t, pod.port.take()[0] as Uint8Array, { ipv4: { from: pod.address, to: pod.address } })
  node.send(pod.port, ip(pod, pod.address).tcp({ from: 8080, to: 40000, flags: 'SYN ACK' }).bytes())
  checkPacket(t, pod.port.take()[0] as Uint8Array, {
    ipv4: { from: VIP, to: pod.address },
    tcp: { from: 80, to: 40000 },
  })
  node.controller.setServiceOptions({ loopback: '169.254.42.7' })
  node.send(pod.port, segment(pod, 40001))
  checkPacket(t, pod.port.take()[0] as Uint8Array, { ipv4: { from: '169.254.42.7' } })
  node.close()
})

t.test('the policy is held against the backend, not the service', async (t) => {
  const node = new TestNode()
  const server = node.pod()
  const allowed = { protocol: TCP, firstPort: 8080 }
  const client = node.pod({
    enforceIngress: false,
    enforceEgress: true,
    rules: [
      {
        direction: Direction.EGRESS,
        action: 'allow',
        identities: [server.identity],
        ports: [allowed],
      },
    ],
  })
  node.controller.setService(service([server]))
  node.send(client.port, segment(client, 40000))
  t.equal(server.port.take().length, 1)
  node.close()
})

t.test('a backend elsewhere is reached through the node, and its reply comes back', async (t) => {
  const node = new TestNode()
  const client = node.pod(CLOSED)
  node.controller.setService(service([{ address: '10.0.2.9', port: 8080 }]))
  node.send(client.port, segment(client, 40000))
  checkPacket(t, node.host.take()[0] as Uint8Array, {
    eth: { to: HOST_MAC },
    ipv4: { from: client.address, to: '10.0.2.9' },
    tcp: { to: 8080 },
  })
  const reply = eth({ from: HOST_MAC, to: NODE_MAC })
    .ipv4({ from: '10.0.2.9', to: client.address })
    .tcp({ from: 8080, to: 40000, flags: 'SYN ACK' })
  node.send(node.host, reply.bytes())
  checkPacket(t, client.port.take()[0] as Uint8Array, { ipv4: { from: VIP }, tcp: { from: 80 } })
  node.close()
})

t.test(
  'the same ports to the backend itself and to its service are two flows in turn',
  async (t) => {
    const node = new TestNode()
    const [client, server] = [node.pod(), node.pod()]
    node.controller.setService(service([server]))
    const reply = () =>
      ip(server, client.address).tcp({ from: 8080, to: 40000, flags: 'ACK' }).bytes()
    const replySource = () => {
      node.send(server.port, reply())
      return parseFrame(client.port.take()[0] as Uint8Array).ipv4?.from
    }
    node.send(client.port, segment(client, 40000, 'SYN', server.address, 8080))
    t.equal(replySource(), server.address)
    node.send(client.port, segment(client, 40000))
    t.equal(replySource(), VIP, 'the entry now belongs to the service')
    node.send(client.port, segment(client, 40000, 'SYN', server.address, 8080))
    t.equal(replySource(), server.address)
    node.close()
  },
)

t.test(
  'an ICMP error of the backend comes from the service and quotes what the client sent',
  async (t) => {
    const node = new TestNode()
    const [client, server] = [node.pod(CLOSED), node.pod()]
    node.controller.setService(service([server], { frontends: [frontend('UDP', 53), frontend()] }))
    const quotedOf = (frame: Uint8Array) => (server.port.take()[0] ?? frame).subarray(14)
    const query = ip(client, VIP).udp({ from: 5000, to: 53 }).payload('query').bytes()
    node.send(client.port, query)
    const udpError = ip(server, client.address).icmpError({
      type: 3,
      code: 3,
      quoted: quotedOf(query),
    })
    node.send(server.port, udpError.bytes())
    checkPacket(t, client.port.take()[0] as Uint8Array, {
      ipv4: { from: VIP, to: client.address },
      icmp: { type: 3, code: 3 },
      quoted: { ipv4: { from: client.address, to: VIP }, udp: { from: 5000, to: 53 } },
    })
    node.send(client.port, segment(client, 40000))
    const quoted = quotedOf(query).subarray(0, 28)
    const router = eth({ from: HOST_MAC, to: NODE_MAC })
      .ipv4({ from: '192.0.2.1', to: client.address })
      .icmpError({ type: 11, code: 0, quoted })
    node.send(node.host, router.bytes())
    const told = client.port.take()[0] as Uint8Array
    checkPacket(
      t,
      told,
      {
        ipv4: { from: '192.0.2.1' },
        icmp: { type: 11 },
        quoted: { ipv4: { from: client.address, to: VIP } },
      },
      'a router keeps its own address',
    )
    const eightBytes = segment(client, 40000).subarray(34, 42)
    t.same(told.subarray(62, 70), eightBytes, 'eight bytes of TCP suffice')
    t.same(node.drops(), [])
    node.close()
  },
)

t.test('an ICMP error of the client about a reply reaches the backend that sent it', async (t) => {
  const node = new TestNode()
  const [client, server] = [node.pod(), node.pod(CLOSED)]
  const open = {
    direction: Direction.INGRESS,
    action: 'allow' as const,
    ports: [{ protocol: 17, firstPort: 8080 }],
  }
  node.controller.setPolicy(server.id, { ...CLOSED, rules: [open] })
  node.controller.setService(service([server], { frontends: [frontend('UDP', 53)] }))
  node.send(client.port, ip(client, VIP).udp({ from: 5000, to: 53 }).payload('query').bytes())
  server.port.take()
  const answer = ip(server, client.address).udp({ from: 8080, to: 5000 }).payload('answer')
  node.send(server.port, answer.bytes())
  const seen = (client.port.take()[0] as Uint8Array).subarray(14)
  node.send(client.port, ip(client, VIP).icmpError({ type: 3, code: 3, quoted: seen }).bytes())
  checkPacket(t, server.port.take()[0] as Uint8Array, {
    ipv4: { from: client.address, to: server.address },
    quoted: { ipv4: { from: server.address, to: client.address }, udp: { from: 8080, to: 5000 } },
  })
  t.same(node.drops(), [])
  node.close()
})

t.test('a pod’s error to itself is about what it sent to its service', async (t) => {
  const node = new TestNode()
  const pod = node.pod(CLOSED)
  node.controller.setService(service([pod], { frontends: [frontend('UDP', 53)] }))
  node.send(pod.port, ip(pod, VIP).udp({ from: 5000, to: 53 }).payload('query').bytes())
  const seen = (pod.port.take()[0] as Uint8Array).subarray(14)
  node.send(pod.port, ip(pod, LOOPBACK).icmpError({ type: 3, code: 3, quoted: seen }).bytes())
  checkPacket(t, pod.port.take()[0] as Uint8Array, {
    ipv4: { from: VIP, to: pod.address },
    quoted: { ipv4: { from: pod.address, to: VIP }, udp: { from: 5000, to: 53 } },
  })
  node.close()
})

const sctpFrame = (from: TestPod, to: string, ports: readonly [number, number]): Uint8Array =>
  sctp({ mac: { from: from.mac, to: NODE_MAC }, from: from.address, to, ports })

t.test('SCTP goes through a service both ways with a new checksum', async (t) => {
  const node = new TestNode()
  const [client, server] = [node.pod(), node.pod()]
  node.controller.setService(service([server], { frontends: [frontend('SCTP', 3868)] }))
  const request = sctpFrame(client, VIP, [5000, 3868])
  node.send(client.port, request)
  const got = server.port.take()[0] as Uint8Array
  const expected = sctpFrame(client, server.address, [5000, 8080])
  t.same(got.subarray(34), expected.subarray(34))
  node.send(server.port, sctpFrame(server, client.address, [8080, 5000]))
  const back = client.port.take()[0] as Uint8Array
  t.same(back.subarray(34), sctpFrame(server, VIP, [3868, 5000]).subarray(34))

  request[request.length - 1] = 77
  node.send(client.port, request)
  t.same(server.port.take(), [])
  t.same(node.drops(), [154], 'a damaged packet is not made right')
  node.close()
})

t.test('truncated and mutated packets to a service never throw nor leave wrong', async (t) => {
  const random = seededPrng(t)
  const node = new TestNode()
  const [client, server] = [node.pod(), node.pod()]
  const both = [frontend(), frontend('UDP', 53), frontend('SCTP', 3868)]
  node.controller.setService(service([server, client], { frontends: both }))
  const udp = ip(client, VIP).udp({ from: 5000, to: 53 }).payload('query').bytes()
  const seen = ip(server, client.address).udp({ from: 8080, to: 5000 }).bytes().subarray(14)
  const frames = [
    segment(client, 40000),
    udp,
    sctpFrame(client, VIP, [5000, 3868]),
    ip(client, VIP).icmpError({ type: 3, code: 3, quoted: seen }).bytes(),
    ip(client, VIP)
      .icmpError({ type: 11, code: 0, quoted: udp.subarray(14) })
      .bytes(),
  ]
  const sent: Uint8Array[] = []
  for (const frame of frames) {
    for (let length = 0; length <= frame.length; length++) sent.push(frame.slice(0, length))
    for (let i = 0; i < 1500; i++) {
      const mutated = frame.slice()
      for (let flips = random.below(3); flips >= 0; flips--) {
        mutated[12 + random.below(frame.length - 12)] = random.below(256)
      }
      sent.push(mutated)
    }
  }
  let wrong = 0
  for (const frame of sent) {
    const isRight = parseFrame(frame).problems.length === 0
    node.send(client.port, frame)
    for (const { port } of [client, server, { port: node.host }]) {
      for (const out of port.take()) {
        const problems = parseFrame(out).problems
        if (isRight && problems.length > 0 && wrong++ < 3) t.same(problems, [], describe(frame))
      }
    }
  }
  t.equal(wrong, 0)
  assertConserved(node.exchange, node.loop.burst)
  node.close()
})
