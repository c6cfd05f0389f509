/**
 * Where the flow lane is easily wrong: ways through two tunnels, connections that begin by a way that is not
 * repeated, and lifetimes. Each is done with the lane and by the chain alone.
 */
import t from 'tap'
import { OverlayNodes } from '../support/overlay-nodes.js'
import { eth } from '../support/packet-builder.js'
import { parseFrame } from '../support/packet-parser.js'
import { frontend, ip, segment, service, VIP } from '../support/service-node.js'
import {
  GATEWAY_MAC,
  NODE_MAC,
  OUTSIDE_ADDRESS,
  TestNode,
  type TestPod,
  UPLINK_ADDRESS,
  UPLINK_MAC,
} from '../support/test-node.js'
import { opened } from '../support/vxlan.js'

const NODE_PORT = 30080
const NODE_PORT_UDP = { port: NODE_PORT, protocol: 'UDP', type: 'NodePort' } as const

/** The same by a node with the lane, and by one without. */
function compare(name: string, run: (repeatsFlows: boolean) => unknown[]): void {
  t.test(name, async (t) => {
    t.same(run(true), run(false))
  })
}

for (const protocol of ['UDP', 'TCP'] as const) {
  compare(`${protocol} from one tunnel to another is translated in each packet`, (repeatsFlows) => {
    const { a, b } = new OverlayNodes({}, { repeatsFlows })
    const client = b.pod()
    const listener = { address: a.address, port: NODE_PORT, protocol, type: 'NodePort' } as const
    a.controller.setService(
      service([{ address: '10.0.3.1', port: 8080 }], { frontends: [listener] }),
    )
    a.controller.addPeer({ name: 'c', address: '192.0.2.4', podCidrs: ['10.0.3.0/24'] })
    a.neighbour('192.0.2.4', '02:00:00:00:fe:33')
    return Array.from({ length: 5 }, (_, n) => {
      const datagram = ip(client, a.address).udp({ from: 40000, to: NODE_PORT }).bytes()
      const flags = n === 0 ? 'SYN' : 'ACK'
      const isUdp = protocol === 'UDP'
      b.send(client.port, isUdp ? datagram : segment(client, 40000, flags, a.address, NODE_PORT))
      a.send(a.uplink, b.uplink.take()[0] as Uint8Array)
      const { ipv4, udp, tcp } = parseFrame(opened(a.uplink.take()[0] as Uint8Array).inner)
      return `${ipv4?.from} > ${ipv4?.to}:${(udp ?? tcp)?.to}`
    })
  })
}

compare('a connection out of the tunnel makes void what its replies met before', (repeatsFlows) => {
  const nodes = new OverlayNodes({}, { repeatsFlows })
  const { a, b } = nodes
  const [client, server] = [a.pod(), b.pod()]
  const listener = { ...NODE_PORT_UDP, address: b.address }
  b.controller.setService(service([server], { frontends: [listener] }))
  const reply = ip(server, client.address).udp({ from: 8080, to: 40000 }).bytes()
  const send = (node: TestNode, pod: TestPod, frame: Uint8Array) => {
    node.send(pod.port, frame)
    nodes.settle()
  }
  send(a, client, ip(client, server.address).udp({ from: 40000, to: 8080 }).bytes())
  for (let n = 0; n < 3; n++) send(b, server, reply)
  send(a, client, ip(client, b.address).udp({ from: 40000, to: NODE_PORT }).bytes())
  client.port.take()
  send(b, server, reply)
  return client.port.take().map((frame) => parseFrame(frame).udp?.from)
})

compare('and so does one that came with a priority tag', (repeatsFlows) => {
  const node = new TestNode({ repeatsFlows, hasUplink: true })
  const server = node.pod()
  const listener = { ...NODE_PORT_UDP, address: UPLINK_ADDRESS }
  node.controller.setService(service([server], { frontends: [listener] }))
  const tagged = (to: string, port: number) => {
    const header = eth({ from: GATEWAY_MAC, to: UPLINK_MAC }).ipv4({ from: OUTSIDE_ADDRESS, to })
    const frame = header.udp({ from: 40000, to: port }).bytes()
    return Uint8Array.from([...frame.slice(0, 12), 0x81, 0, 0x60, 0, ...frame.slice(12)])
  }
  const reply = ip(server, OUTSIDE_ADDRESS).udp({ from: 8080, to: 40000 }).bytes()
  node.send(node.uplink, tagged(server.address, 8080))
  for (let n = 0; n < 3; n++) node.send(server.port, reply)
  node.send(node.uplink, tagged(UPLINK_ADDRESS, NODE_PORT))
  node.uplink.take()
  node.send(server.port, reply)
  return node.uplink.take().map((frame) => parseFrame(frame).udp?.from)
})

compare('a client of a service that closed its half keeps its backend', (repeatsFlows) => {
  const node = new TestNode({ repeatsFlows })
  const client = node.pod()
  const servers = Array.from({ length: 8 }, () => node.pod())
  node.controller.setService(service(servers))
  const send = (flags: string) => {
    node.send(client.port, segment(client, 40000, flags))
    return servers.filter((each) => each.port.take().length > 0).map(({ id }) => id)[0]
  }
  const first = send('SYN')
  const server = servers.find(({ id }) => id === first) as TestPod
  const answer = { from: 8080, to: 40000, flags: 'SYN ACK' } as const
  node.send(server.port, ip(server, client.address).tcp(answer).bytes())
  send('ACK')
  send('FIN ACK')
  const others = servers.filter((each) => each !== server)
  const leaving = { address: server.address, port: 8080, state: 'terminating' } as const
  node.controller.setService(service([...others, leaving]))
  const met = [send('ACK'), send('ACK')]
  for (const seconds of [7, 4.2]) {
    node.clock.advanceSeconds(seconds)
    node.gc.request()
    node.idle()
    met.push(send('ACK'))
  }
  return met.map((id) => id === first)
})

compare('a short affinity of a client lasts while its packets come', (repeatsFlows) => {
  const node = new TestNode({ repeatsFlows, seed: 5 })
  const client = node.pod()
  const servers = Array.from({ length: 8 }, () => node.pod())
  const options = { frontends: [frontend('UDP', 53)], sessionAffinitySeconds: 5 }
  node.controller.setService(service(servers, options))
  const send = (from: number, pod = client) => {
    node.send(pod.port, ip(pod, VIP).udp({ from, to: 53 }).bytes())
    return servers.findIndex((each) => each.port.take().length > 0)
  }
  const first = send(1000)
  for (let second = 0; second < 8; second++) {
    send(1000)
    node.clock.advanceSeconds(1)
  }
  // Others' choices, so that the next one would be another.
  for (const n of servers.keys()) send(3000 + n, node.pod())
  return Array.from({ length: 8 }, (_, n) => send(2000 + n) === first)
})

compare(
  'what the stack is given keeps to the route’s MTU, and ends at a TTL of 1',
  (repeatsFlows) => {
    const node = new TestNode({ repeatsFlows, hasUplink: true })
    const pod = node.pod()
    node.controller.setMasquerade({ enabled: true })
    node.maps.endpoints.setMtu(0, 1500)
    // On the link, and no neighbour is known.
    node.route('203.0.113.0/24', undefined, 1400)
    const send = (size: number, ttl = 64) => {
      const header = { from: pod.address, to: '203.0.113.9', ttl, flags: 'DF' } as const
      const layer = eth({ from: pod.mac, to: NODE_MAC }).ipv4(header)
      node.send(pod.port, layer.udp({ from: 5000, to: 53 }).payload('x'.repeat(size)).bytes())
      return [node.host.take().length, pod.port.take().length]
    }
    return [send(10), send(10), send(10), send(1420), send(10), send(10), send(10, 1)]
  },
)

compare('flows with one entry take it from each other, each at its packet', (repeatsFlows) => {
  const node = new TestNode({ repeatsFlows })
  const [client, server] = [node.pod(), node.pod()]
  const OTHER_VIP = '10.96.0.11'
  for (const [name, address] of Object.entries({ one: VIP, two: OTHER_VIP })) {
    const frontends = [{ ...frontend('UDP', 53), address }]
    node.controller.setService({ ...service([server], { frontends }), name })
  }
  const reply = ip(server, client.address).udp({ from: 8080, to: 5000 }).bytes()
  const sources = new Set<string>()
  for (const to of [VIP, server.address, OTHER_VIP, VIP, OTHER_VIP, server.address, VIP]) {
    const port = to === server.address ? 8080 : 53
    for (let i = 0; i < 3; i++)
      node.send(client.port, ip(client, to).udp({ from: 5000, to: port }).bytes())
    for (let i = 0; i < 3; i++) node.send(server.port, reply)
    server.port.take()
    sources.add(`${to}: ${client.port.take().map((frame) => parseFrame(frame).ipv4?.from)}`)
  }
  return [...sources]
})

t.test('one pod’s flows with one entry leave the others’ in the lane', async (t) => {
  const node = new TestNode()
  const [noisy, server, quiet, other] = [node.pod(), node.pod(), node.pod(), node.pod()]
  node.controller.setService(service([server], { frontends: [frontend('UDP', 53)] }))
  const toService = ip(noisy, VIP).udp({ from: 5000, to: 53 }).bytes()
  const direct = ip(noisy, server.address).udp({ from: 5000, to: 8080 }).bytes()
  const steady = ip(quiet, other.address).udp({ from: 1000, to: 53 }).bytes()
  for (let i = 0; i < 3; i++) node.send(quiet.port, steady)
  const before = node.pipeline.framesRepeated
  for (let i = 0; i < 100; i++) {
    node.send(noisy.port, i % 2 === 0 ? toService : direct)
    node.send(quiet.port, steady)
  }
  t.equal(node.pipeline.framesRepeated - before, 100)
  t.equal(server.port.take().length, 100)
  node.close()
})

t.end()
