/** What the overlay refuses: false identities, what is no VXLAN, what does not fit. */
import t from 'tap'
import { reassemble } from '../support/fragments.js'
import { allowing, fromPeer, OverlayNodes } from '../support/overlay-nodes.js'
import { eth, fragmentIpv4 } from '../support/packet-builder.js'
import { checkPacket } from '../support/packet-checker.js'
import { ip, segment, service, VIP } from '../support/service-node.js'
import { GATEWAY_MAC, NODE_MAC } from '../support/test-node.js'
import { encapsulated, opened } from '../support/vxlan.js'

const INVALID = 134
const FRAGMENTATION_NEEDED = 136
const TTL_EXCEEDED = 196
const NO_TUNNEL_KEY = 147
const NO_TUNNEL_ENDPOINT = 160
const ENCAP_PROHIBITED = 170
const INVALID_IDENTITY = 171

t.test('the destination’s node is not known: 160; by plain routing it needs none', async (t) => {
  const nodes = new OverlayNodes()
  const client = nodes.a.pod()
  nodes.a.controller.setRemote({ prefix: '10.0.9.0/24', identity: 900 })
  nodes.a.send(client.port, segment(client, 40000, 'SYN', '10.0.9.1', 80))
  t.same(nodes.a.drops(), [NO_TUNNEL_ENDPOINT])
  nodes.a.controller.setRemote({ prefix: '10.0.9.0/24', identity: 900, skipTunnel: true })
  nodes.a.send(client.port, segment(client, 40001, 'SYN', '10.0.9.1', 80))
  const [plain] = nodes.a.uplink.take()
  checkPacket(t, plain as Uint8Array, { eth: { to: GATEWAY_MAC }, ipv4: { to: '10.0.9.1' } })
  nodes.close()
})

t.test('nobody but a node may call itself one: 171, and 6 becomes what is known', async (t) => {
  const node = new OverlayNodes().a
  const server = node.pod(allowing(6, 7))
  const inner = eth().ipv4({ from: '10.0.0.2', to: server.address }).udp().bytes()
  node.send(node.uplink, fromPeer(inner, 1))
  t.same(node.drops(), [INVALID_IDENTITY])
  node.send(node.uplink, fromPeer(inner, 6))
  t.equal(server.port.take().length, 1)
  node.controller.setRemote({ prefix: '10.0.0.2', identity: 7, tunnelEndpoint: '192.0.2.3' })
  node.send(node.uplink, fromPeer(inner, 6))
  t.equal(server.port.take().length, 1, 'a node that runs the API server')
  node.controller.setRemote({ prefix: '10.0.0.2', identity: 8, tunnelEndpoint: '192.0.2.3' })
  for (const vni of [6, 7]) {
    node.send(node.uplink, fromPeer(inner, vni))
    t.same(node.drops(), [133])
  }
  node.close()
})

t.test('what is no VXLAN, or holds no packet, is a counted drop', async (t) => {
  const node = new OverlayNodes().a
  const pod = node.pod()
  const inner = eth().ipv4({ from: '10.0.2.1', to: pod.address }).udp().bytes()
  const cases: [Uint8Array, number][] = [
    [fromPeer(inner, 601, 0), NO_TUNNEL_KEY],
    [fromPeer(inner.subarray(0, 13), 601), INVALID],
    [fromPeer(new Uint8Array(0), 601), INVALID],
    [fromPeer(inner.subarray(0, 14), 601), INVALID],
    [fromPeer(inner.subarray(0, 33), 601), INVALID],
    [fromPeer(eth({ type: 0x86dd }).payload(60).bytes(), 601), 139],
    [fromPeer(eth().arpRequest().bytes(), 601), 139],
    [fromPeer(eth({ type: 100 }).payload(100).bytes(), 601), 166],
    [eth().ipv4({ from: '192.0.2.3', to: '192.0.2.2' }).udp({ to: 8472 }).bytes(), INVALID],
  ]
  for (const [frame, code] of cases) {
    node.send(node.uplink, frame)
    t.same(node.drops(), [code])
  }
  t.same(pod.port.take(), [])
  t.equal(node.maps.conntrackTable.size, 0)
  node.close()
})

t.test('every truncation of an encapsulated packet is dropped', async (t) => {
  const node = new OverlayNodes().a
  const pod = node.pod()
  const inner = eth().ipv4({ from: '10.0.2.1', to: pod.address }).tcp().bytes()
  for (let length = 0; length < inner.length; length++) {
    node.send(node.uplink, fromPeer(inner.subarray(0, length), 601))
    t.equal(node.drops().length, 1, `${length} bytes inside`)
  }
  const frame = fromPeer(inner, 601)
  for (let length = 0; length < frame.length; length++) {
    node.send(node.uplink, frame.subarray(0, length))
    t.equal(node.drops().length, 1, `${length} bytes in all`)
  }
  t.same(pod.port.take(), [])
  node.send(node.uplink, frame)
  t.equal(pod.port.take().length, 1)
  node.close()
})

t.test('a datagram to another port or address is not opened', async (t) => {
  const node = new OverlayNodes().a
  const pod = node.pod()
  const inner = eth().ipv4({ from: '10.0.2.1', to: pod.address }).udp().bytes()
  const from = { from: '192.0.2.3', vni: 601 }
  node.send(node.uplink, encapsulated(inner, { ...from, to: '192.0.2.2', port: 4789 }))
  node.send(node.uplink, encapsulated(inner, { ...from, to: '192.0.2.9' }))
  t.same(pod.port.take(), [])
  t.equal(node.host.take().length, 2, 'both are the node’s own affair')
  node.controller.setTunnel({ mode: 'native' })
  node.send(node.uplink, encapsulated(inner, { ...from, to: '192.0.2.2' }))
  t.same(pod.port.take(), [], 'without an overlay no datagram is opened')
  node.controller.setTunnel({ mode: 'tunnel', port: 4789 })
  node.send(node.uplink, encapsulated(inner, { ...from, to: '192.0.2.2', port: 4789 }))
  t.equal(pod.port.take().length, 1)
  node.close()
})

t.test('no pod may encapsulate for itself: 170', async (t) => {
  const nodes = new OverlayNodes()
  const [pod, other] = [nodes.a.pod(), nodes.a.pod()]
  const to = (address: string, port: number) =>
    nodes.a.send(pod.port, ip(pod, address).udp({ from: 40000, to: port }).bytes())
  for (const address of [nodes.b.uplinkAddress, other.address, '10.0.2.1']) to(address, 8472)
  t.same(nodes.a.drops(), [ENCAP_PROHIBITED, ENCAP_PROHIBITED, ENCAP_PROHIBITED])
  to(other.address, 8473)
  t.equal(other.port.take().length, 1)
  nodes.a.controller.setTunnel({ mode: 'native' })
  to(other.address, 8472)
  t.equal(other.port.take().length, 1, 'without an overlay it is a port like any other')
  nodes.close()
})

t.test('the sender of a packet that may not be cut is told what fits', async (t) => {
  const nodes = new OverlayNodes()
  const client = nodes.a.pod()
  const server = nodes.b.pod()
  const frontend = { address: VIP, port: 53, protocol: 'UDP', type: 'ClusterIP' } as const
  const backends = [{ address: server.address, port: 53 }]
  nodes.a.controller.setService({ name: 'dns', frontends: [frontend], backends })
  for (const to of [server.address, VIP]) {
    const frame = eth({ from: client.mac, to: NODE_MAC })
      .ipv4({ from: client.address, to, flags: 'DF' })
      .udp({ from: 40000, to: 53 })
      .payload(1500 - 28)
    nodes.a.send(client.port, frame.bytes())
    const [error] = client.port.take()
    checkPacket(t, error as Uint8Array, {
      eth: { from: NODE_MAC, to: client.mac },
      ipv4: { from: nodes.a.uplinkAddress, to: client.address },
      icmp: { type: 3, code: 4, rest: 1450 },
      quoted: { ipv4: { from: client.address, to }, udp: { from: 40000, to: 53 } },
    })
    t.same(nodes.a.drops(), [FRAGMENTATION_NEEDED])
  }
  nodes.settle()
  t.same(nodes.seen, [])
  nodes.close()
})

for (const protocol of ['UDP', 'TCP'] as const) {
  t.test(
    `a client behind the tunnel is told what fits on the way to its ${protocol} backend`,
    async (t) => {
      const nodes = new OverlayNodes()
      const { a, b } = nodes
      const client = b.pod()
      const [backend, node] = ['10.0.3.1', '192.0.2.4']
      const hostAddresses = ['10.0.0.3']
      a.controller.addPeer({ name: 'c', address: node, podCidrs: ['10.0.3.0/24'], hostAddresses })
      a.neighbour(node, '02:00:00:00:aa:04')
      a.route(`${node}/32`, undefined, 1300)
      const frontend = { address: a.address, port: 30_080, protocol, type: 'NodePort' } as const
      const backends = [{ address: backend, port: 8080 }]
      a.controller.setService(service(backends, { frontends: [frontend] }))
      const send = (bytes: number) => {
        const packet = ip(client, a.address)
        const ports = { from: 5000, to: 30_080 }
        const layer =
          protocol === 'UDP' ? packet.udp(ports) : packet.tcp({ ...ports, flags: 'ACK' })
        b.send(client.port, layer.payload(bytes).bytes())
        for (const frame of b.uplink.take()) a.send(a.uplink, frame)
      }
      send(100)
      const [fits] = a.uplink.take()
      t.equal(opened(fits as Uint8Array).outer.ipv4?.to, node)
      const entries = a.maps.nat.snat.size
      send(1350)
      t.same(a.drops(), [FRAGMENTATION_NEEDED])
      nodes.settle()
      checkPacket(t, client.port.take()[0] as Uint8Array, {
        ipv4: { from: a.uplinkAddress, to: client.address },
        icmp: { type: 3, code: 4, rest: 1250 },
        quoted: { ipv4: { from: client.address, to: a.address } },
      })
      t.equal(a.maps.nat.snat.size, entries)
      t.same([...a.drops(), ...b.drops()], [])
      nodes.close()
    },
  )
}

t.test(
  'a TTL that ends behind the tunnel is told by the node there, through the tunnel',
  async (t) => {
    const nodes = new OverlayNodes()
    const client = nodes.a.pod()
    const server = nodes.b.pod()
    const frame = eth({ from: client.mac, to: NODE_MAC })
      .ipv4({ from: client.address, to: server.address, ttl: 1 })
      .udp({ from: 40000, to: 33434 })
      .payload('probe')
    nodes.a.send(client.port, frame.bytes())
    nodes.settle()
    t.equal(server.port.take().length, 0)
    t.same(nodes.b.drops(), [TTL_EXCEEDED])
    const [error] = client.port.take()
    checkPacket(t, error as Uint8Array, {
      eth: { from: NODE_MAC, to: client.mac },
      ipv4: { from: nodes.b.uplinkAddress, to: client.address },
      icmp: { type: 11, code: 0 },
      quoted: {
        ipv4: { from: client.address, to: server.address },
        udp: { from: 40000, to: 33434 },
      },
    })
    t.same(nodes.a.drops(), [])
    nodes.close()
  },
)

t.test('fragments go through the tunnel, to the pod that their ports are allowed to', async (t) => {
  const nodes = new OverlayNodes()
  const client = nodes.a.pod()
  const server = nodes.b.pod()
  const datagram = eth({ from: client.mac, to: NODE_MAC })
    .ipv4({ from: client.address, to: server.address, id: 9 })
    .udp({ from: 40000, to: 53 })
    .payload(4000)
  for (const frame of fragmentIpv4(datagram.bytes(), 1450)) nodes.a.send(client.port, frame)
  nodes.settle()
  checkPacket(t, reassemble(server.port.take()), { udp: { from: 40000, to: 53 } })
  t.same([...nodes.a.drops(), ...nodes.b.drops()], [])
  nodes.close()
})

t.test('a packet that just fits goes, one byte more does not', async (t) => {
  const nodes = new OverlayNodes()
  const client = nodes.a.pod()
  const server = nodes.b.pod()
  const sized = (bytes: number) =>
    eth({ from: client.mac, to: NODE_MAC })
      .ipv4({ from: client.address, to: server.address })
      .udp({ from: 40000, to: 53 })
      .payload(bytes - 28)
      .bytes()
  nodes.a.send(client.port, sized(1450))
  nodes.settle()
  t.equal(nodes.seen[0]?.length, 1514, 'a full frame of the underlay')
  t.equal(server.port.take().length, 1)
  nodes.a.send(client.port, sized(1451))
  nodes.settle()
  checkPacket(
    t,
    client.port.take()[0] as Uint8Array,
    { icmp: { type: 3, code: 4, rest: 1450 } },
    'though it might be cut: nobody here can',
  )
  t.same(nodes.a.drops(), [FRAGMENTATION_NEEDED])
  t.equal(server.port.take().length, 0)
  nodes.close()
})
