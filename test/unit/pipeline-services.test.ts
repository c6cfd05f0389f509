/** Services of the cluster, frame by frame: what a pod's packet to one becomes, and what comes back. */
import t from 'tap'
import type { BackendSpec, FrontendSpec, ServiceSpec } from '../../src/lb/service-spec.js'
import { Direction } from '../../src/packet/verdict.js'
import type { EndpointPolicy } from '../../src/policy/policy-rule.js'
import { eth } from '../support/packet-builder.js'
import { checkPacket } from '../support/packet-checker.js'
import { parseFrame } from '../support/packet-parser.js'
import { HOST_MAC, NODE_ADDRESS, NODE_MAC, TestNode, type TestPod } from '../support/test-node.js'

const VIP = '10.96.0.10'
const LOOPBACK = '169.254.42.1'
const NO_SERVICE = 158
const TCP = 6
const CLOSED: EndpointPolicy = { enforceIngress: true, enforceEgress: false, rules: [] }

const frontend = (protocol: FrontendSpec['protocol'] = 'TCP', port = 80): FrontendSpec => ({
  address: VIP,
  port,
  protocol,
  type: 'ClusterIP',
})

const service = (
  backends: readonly (TestPod | BackendSpec)[],
  options: Partial<ServiceSpec> = {},
): ServiceSpec => ({
  name: 'web',
  frontends: [frontend()],
  backends: backends.map((b) => ('mac' in b ? { address: b.address, port: 8080 } : b)),
  ...options,
})

const on = (pod: TestPod, state: BackendSpec['state']): BackendSpec => ({
  address: pod.address,
  port: 8080,
  ...(state === undefined ? {} : { state }),
})

const ip = (from: TestPod, to: string, ttl = 64) =>
  eth({ from: from.mac, to: NODE_MAC }).ipv4({ from: from.address, to, ttl })

const segment = (from: TestPod, sport: number, flags = 'SYN', to = VIP, port = 80) =>
  ip(from, to).tcp({ from: sport, to: port, flags, seq: 1 }).bytes()

/** Which of the pods got the frame. */
const receivers = (pods: readonly TestPod[]): TestPod[] =>
  pods.filter((pod) => pod.port.take().length > 0)

/** Where a frame of the client's went; fails when nowhere or to two. */
function sendTo(node: TestNode, client: TestPod, pods: readonly TestPod[], frame: Uint8Array) {
  node.send(client.port, frame)
  const got = receivers(pods)
  if (got.length !== 1) throw new Error(`${got.length} pods got the frame; drops ${node.drops()}`)
  return got[0] as TestPod
}

t.test(
  'a packet to a ClusterIP goes to a backend, and its reply comes from the ClusterIP',
  async (t) => {
    const node = new TestNode()
    const [client, server] = [node.pod(CLOSED), node.pod()]
    node.controller.setService(service([server]))
    node.send(client.port, segment(client, 40000))
    checkPacket(t, server.port.take()[0] as Uint8Array, {
      eth: { from: NODE_MAC, to: server.mac },
      ipv4: { from: client.address, to: server.address, ttl: 63 },
      tcp: { from: 40000, to: 8080, flags: 'SYN' },
    })
    const reply = ip(server, client.address).tcp({ from: 8080, to: 40000, flags: 'SYN ACK' })
    node.send(server.port, reply.bytes())
    checkPacket(t, client.port.take()[0] as Uint8Array, {
      eth: { from: NODE_MAC, to: client.mac },
      ipv4: { from: VIP, to: client.address, ttl: 63 },
      tcp: { from: 80, to: 40000, flags: 'SYN ACK' },
    })
    t.equal(node.maps.conntrackTable.size, 3, 'service, egress and ingress entry')
    t.same(node.drops(), [])
    node.close()
  },
)

t.test('UDP with and without checksum, and a partial one, arrive with a right one', async (t) => {
  const node = new TestNode()
  const [client, server] = [node.pod(), node.pod()]
  node.controller.setService(service([server], { frontends: [frontend('UDP', 53)] }))
  const udp = { from: 5000, to: 53 }
  node.send(client.port, ip(client, VIP).udp(udp).payload('query').bytes())
  checkPacket(t, server.port.take()[0] as Uint8Array, {
    ipv4: { to: server.address },
    udp: { from: 5000, to: 8080 },
    payload: 'query',
  })
  node.send(
    client.port,
    ip(client, VIP)
      .udp({ ...udp, checksum: 0 })
      .payload('query')
      .bytes(),
  )
  checkPacket(t, server.port.take()[0] as Uint8Array, { udp: { to: 8080, checksum: 0 } })
  const partial = { ...udp, partialChecksum: true }
  node.send(client.port, ip(client, VIP).udp(partial).payload('odd').bytes())
  checkPacket(t, server.port.take()[0] as Uint8Array, { udp: { to: 8080 }, payload: 'odd' })
  const answer = ip(server, client.address).udp({ from: 8080, to: 5000 }).payload('answer')
  node.send(server.port, answer.bytes())
  checkPacket(t, client.port.take()[0] as Uint8Array, {
    ipv4: { from: VIP },
    udp: { from: 53, to: 5000 },
    payload: 'answer',
  })
  node.close()
})

t.test('flows spread over all backends, and each keeps its own', async (t) => {
  const node = new TestNode()
  const client = node.pod()
  const pods = [node.pod(), node.pod(), node.pod()]
  node.controller.setService(service(pods))
  const chosen = new Map<number, TestPod>()
  for (let port = 30000; port < 30060; port++) {
    chosen.set(port, sendTo(node, client, pods, segment(client, port)))
  }
  t.equal(new Set(chosen.values()).size, 3)
  for (const [port, pod] of chosen) {
    t.equal(sendTo(node, client, pods, segment(client, port, 'ACK')), pod, `port ${port}`)
  }
  node.close()
})

t.test('Maglev gives a flow the same backend on every node', async (t) => {
  const choices = [1, 2].map((seed) => {
    const node = new TestNode({ seed })
    const client = node.pod()
    const pods = [node.pod(), node.pod(), node.pod()]
    node.controller.setService(service(pods, { algorithm: 'maglev' }))
    const ids: number[] = []
    for (let port = 30000; port < 30040; port++) {
      ids.push(sendTo(node, client, pods, segment(client, port)).id)
    }
    node.close()
    return ids
  })
  t.same(choices[0], choices[1])
  t.equal(new Set(choices[0]).size, 3)
})

t.test('a client with affinity keeps its backend until it was away for the timeout', async (t) => {
  const node = new TestNode()
  const client = node.pod()
  const pods = [node.pod(), node.pod(), node.pod(), node.pod()]
  node.controller.setService(service(pods, { sessionAffinitySeconds: 100 }))
  let port = 20000
  const next = () => sendTo(node, client, pods, segment(client, port++))
  const first = next()
  for (let i = 0; i < 20; i++) {
    node.clock.advanceSeconds(90)
    t.equal(next(), first, 'each use counts anew')
  }
  const later = new Set<TestPod>()
  for (let i = 0; i < 12; i++) {
    node.clock.advanceSeconds(100)
    later.add(next())
  }
  t.ok(later.size > 1, 'after the timeout the choice is free')

  const last = next()
  node.controller.setService(
    service(
      pods.filter((pod) => pod !== last),
      { sessionAffinitySeconds: 100 },
    ),
  )
  t.not(next(), last, 'a backend that is gone is forgotten')
  node.close()
})

t.test('a flow whose backend is gone gets another one', async (t) => {
  const node = new TestNode()
  const client = node.pod()
  const pods = [node.pod(), node.pod()]
  node.controller.setService(service(pods))
  const first = sendTo(node, client, pods, segment(client, 40000))
  const other = pods.find((pod) => pod !== first) as TestPod
  node.controller.setService(service([other]))
  t.equal(sendTo(node, client, pods, segment(client, 40000, 'ACK')), other)
  node.controller.setService(service(pods))
  t.equal(sendTo(node, client, pods, segment(client, 40000, 'ACK')), other, 'and stays there')
  node.close()
})

t.test('a terminating backend keeps its flows and gets no new ones', async (t) => {
  for (const state of ['terminating', 'quarantined', 'maintenance'] as const) {
    const node = new TestNode()
    const client = node.pod()
    const pods = [node.pod(), node.pod()]
    node.controller.setService(service(pods))
    const first = sendTo(node, client, pods, segment(client, 40000))
    const other = pods.find((pod) => pod !== first) as TestPod
    node.controller.setService(service([on(first, state), other]))
    t.equal(sendTo(node, client, pods, segment(client, 40000, 'ACK')), first, state)
    for (let port = 41000; port < 41010; port++) {
      t.equal(sendTo(node, client, pods, segment(client, port)), other)
    }
    t.equal(sendTo(node, client, pods, segment(client, 40000)), other, 'SYN of the same ports')
    t.equal(sendTo(node, client, pods, segment(client, 40000, 'ACK')), other)
    node.close()
  }
})

t.test('terminating backends serve while there is no active one (KEP-1669)', async (t) => {
  const node = new TestNode()
  const [client, server] = [node.pod(), node.pod()]
  node.controller.setService(service([on(server, 'terminating')]))
  t.equal(sendTo(node, client, [server], segment(client, 40000)), server)
  node.close()
})

t.test('a backend of another service is not kept by a SYN of the same ports', async (t) => {
  const node = new TestNode()
  const client = node.pod()
  const [a, b] = [node.pod(), node.pod()]
  const other = { name: 'other', frontends: [{ ...frontend(), address: '10.96.0.11' }] }
  node.controller.setService(service([a]))
  node.controller.setService(service([a], other))
  t.equal(sendTo(node, client, [a, b], segment(client, 40000)), a)
  node.controller.setService(service([b]))
  t.equal(sendTo(node, client, [a, b], segment(client, 40000, 'ACK')), a, 'still a backend')
  t.equal(sendTo(node, client, [a, b], segment(client, 40000)), b)
  node.close()
})

t.test(
  'ports used again within a minute of the close keep the backend, later they choose',
  async (t) => {
    const node = new TestNode()
    const client = node.pod()
    const pods = [node.pod(), node.pod(), node.pod(), node.pod()]
    node.controller.setService(service(pods))
    const again = (waitSeconds: number, port: number): boolean => {
      const first = sendTo(node, client, pods, segment(client, port))
      node.clock.advanceSeconds(1)
      sendTo(node, client, pods, segment(client, port, 'FIN ACK'))
      node.clock.advanceSeconds(waitSeconds)
      return sendTo(node, client, pods, segment(client, port)) === first
    }
    for (let i = 0; i < 10; i++) t.ok(again(59, 41000 + i), 'within the grace')
    const kept = Array.from({ length: 20 }, (_, i) => again(61, 42000 + i)).filter(Boolean)
    t.ok(kept.length < 15, `after it ${kept.length} of 20 had the same by chance`)
    node.close()
  },
)

t.test('a client that closed its half goes on receiving from the same backend', async (t) => {
  const node = new TestNode()
  const client = node.pod()
  const pods = [node.pod(), node.pod(), node.pod()]
  node.controller.setService(service(pods))
  const first = sendTo(node, client, pods, segment(client, 40000))
  sendTo(node, client, pods, segment(client, 40000, 'FIN ACK'))
  for (let i = 0; i < 100; i++) {
    node.clock.advanceSeconds(8)
    node.gc.request()
    node.run()
    t.equal(sendTo(node, client, pods, segment(client, 40000, 'ACK')), first)
  }
  node.close()
})

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
  t.same(node.drops(), [])
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
