/** IPv4 fragments, frame by frame: which ports a later one has, and who gets it. */
import t from 'tap'
import {
  FRAGMENT_SECONDS,
  FragmentTable,
  fragmentsSpec,
} from '../../src/conntrack/fragment-table.js'
import { LruHashMap } from '../../src/maps/lru-hash-map.js'
import { NotedReason } from '../../src/monitor/metrics.js'
import { Direction } from '../../src/packet/verdict.js'
import { assertConserved } from '../../src/port/conservation.js'
import { MTU, pieces, reassemble } from '../support/fragments.js'
import { eth, fragmentIpv4 } from '../support/packet-builder.js'
import { checkPacket } from '../support/packet-checker.js'
import { parseFrame } from '../support/packet-parser.js'
import { seededPrng } from '../support/seed.js'
import { CLOSED, frontend, ip, service, VIP } from '../support/service-node.js'
import { HOST_MAC, NODE_ADDRESS, NODE_MAC, TestNode } from '../support/test-node.js'

const INVALID = 134
const UNSUPPORTED = 157
const NOT_FOUND = 175
const DENIED = 133
const UDP = 17

const onlyPort = (firstPort: number) => ({
  ...CLOSED,
  rules: [
    {
      direction: Direction.INGRESS,
      action: 'allow' as const,
      ports: [{ protocol: UDP, firstPort }],
    },
  ],
})

t.test('all fragments of a datagram reach the pod that its ports are allowed to', async (t) => {
  const node = new TestNode()
  const [client, server] = [node.pod(), node.pod(onlyPort(53))]
  for (const frame of pieces(client, server.address)) node.send(client.port, frame)
  const got = server.port.take()
  t.equal(got.length, 3)
  for (const frame of got) checkPacket(t, frame, { ipv4: { ttl: 63 }, eth: { to: server.mac } })
  checkPacket(t, reassemble(got), { udp: { from: 5000, to: 53 } })
  t.same(node.drops(), [])
  t.equal(node.maps.conntrackTable.size, 2, 'one flow: an entry for each side')
  t.equal(node.counted(NotedReason.FRAGMENT, Direction.EGRESS), 3)

  for (const frame of pieces(client, server.address, 54, 8)) node.send(client.port, frame)
  t.same(server.port.take(), [])
  t.same(node.drops(), [DENIED, DENIED, DENIED], 'later fragments are held against the same rule')
  node.close()
})

t.test('every order of fragments: one that comes before the first drops with 175', async (t) => {
  const orders = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
  ]
  for (const order of orders) {
    const node = new TestNode()
    const [client, server] = [node.pod(), node.pod()]
    const frames = pieces(client, server.address)
    for (const i of order) node.send(client.port, frames[i] as Uint8Array)
    const late = order.indexOf(0)
    t.equal(server.port.take().length, 3 - late, order.join())
    t.same(node.drops(), new Array(late).fill(NOT_FOUND))
    node.close()
  }
})

t.test('one burst with all fragments is as good as one after another', async (t) => {
  const node = new TestNode()
  const [client, server] = [node.pod(), node.pod()]
  for (const frame of pieces(client, server.address)) client.port.inject(frame)
  node.run()
  t.equal(server.port.take().length, 3)
  node.close()
})

t.test('duplicates and overlaps pass, with the ports of the last first fragment', async (t) => {
  const node = new TestNode()
  const [client, server] = [node.pod(), node.pod(onlyPort(53))]
  const [first, second] = pieces(client, server.address) as [Uint8Array, Uint8Array]
  const [denied] = pieces(client, server.address, 54) as [Uint8Array]
  for (const frame of [first, first, second, second]) node.send(client.port, frame)
  t.equal(server.port.take().length, 4)
  t.equal(node.maps.fragmentsMap.size, 1)
  node.send(client.port, denied)
  node.send(client.port, second)
  t.same(node.drops(), [DENIED, DENIED], 'a first fragment with other ports takes over')
  const short = eth({ from: client.mac, to: NODE_MAC })
    .ipv4({ from: client.address, to: server.address, id: 7, protocol: UDP, fragmentOffset: 8 })
    .payload(64)
  node.send(client.port, first)
  node.send(client.port, short.bytes())
  t.equal(server.port.take().length, 2, 'bytes 8 to 72 again: for the receiver to judge')
  node.close()
})

t.test('a datagram is told by addresses, identification and protocol', async (t) => {
  const node = new TestNode()
  const [client, server, other] = [node.pod(), node.pod(), node.pod()]
  node.send(client.port, pieces(client, server.address)[0] as Uint8Array)
  server.port.take()
  const strange = [
    pieces(client, server.address, 53, 8),
    pieces(client, other.address),
    pieces(other, server.address),
  ]
  for (const frames of strange) {
    const from = frames === strange[2] ? other : client
    node.send(from.port, frames[1] as Uint8Array)
  }
  const tcp = (pieces(client, server.address)[1] as Uint8Array).slice()
  tcp[23] = 6
  node.send(client.port, tcp)
  // The header checksum of a changed frame is not the point here: routers do not verify ours.
  t.same(node.drops(), [NOT_FOUND, NOT_FOUND, NOT_FOUND, NOT_FOUND])
  node.send(client.port, pieces(client, server.address)[1] as Uint8Array)
  t.equal(server.port.take().length, 1)
  node.close()
})

t.test('ports are remembered for 30 s from the first fragment on, and no longer', async (t) => {
  const node = new TestNode()
  const [client, server] = [node.pod(), node.pod()]
  const [first, second] = pieces(client, server.address) as [Uint8Array, Uint8Array]
  node.send(client.port, first)
  node.clock.advanceSeconds(FRAGMENT_SECONDS - 1)
  node.send(client.port, second)
  t.equal(server.port.take().length, 2)
  node.clock.advanceSeconds(1)
  node.send(client.port, second)
  t.same(node.drops(), [NOT_FOUND], 'the second one did not prolong it')
  node.send(client.port, first)
  node.send(client.port, second)
  t.equal(server.port.take().length, 2)
  node.close()
})

t.test('a full table forgets the datagram that expires first', async (t) => {
  const entries = 64
  const spec = fragmentsSpec(entries)
  const map = LruHashMap.create(spec, new SharedArrayBuffer(LruHashMap.bytesFor(spec)))
  const table = new FragmentTable(map)
  const words = Int32Array.of(0, 0, 0xffff, 1, 0, 0, 0xffff, 2, (5 << 16) | 6, UDP)
  for (let id = 0; id < 10 * entries; id++) t.ok(table.store(words, 0, id, 1000 + id))
  t.equal(map.size, entries)
  t.equal(map.evictions, 9 * entries)
  const last = 10 * entries - 1
  t.ok(table.find(words, 0, last, 1000 + last))
  t.equal(table.ports, (5 << 16) | 6)
  t.notOk(table.find(words, 0, 0, 1000))
})

t.test('with tracking off every fragment drops with 157', async (t) => {
  const node = new TestNode()
  const [client, server] = [node.pod(), node.pod()]
  node.controller.setNodeOptions({ fragmentTracking: false })
  for (const frame of pieces(client, server.address)) node.send(client.port, frame)
  t.same(node.drops(), [UNSUPPORTED, UNSUPPORTED, UNSUPPORTED])
  const fromNode = eth({ from: HOST_MAC, to: NODE_MAC })
    .ipv4({ from: NODE_ADDRESS, to: client.address })
    .udp({ from: 1, to: 2 })
    .payload(2000)
  for (const frame of fragmentIpv4(fromNode.bytes(), MTU)) node.send(node.host, frame)
  t.same(node.drops(), [UNSUPPORTED, UNSUPPORTED])
  t.equal(node.maps.fragmentsMap.size, 0)
  node.controller.setNodeOptions({ fragmentTracking: true })
  for (const frame of pieces(client, server.address)) node.send(client.port, frame)
  t.equal(server.port.take().length, 3)
  node.close()
})

t.test('ICMP in fragments drops with 134, an unknown protocol with 137', async (t) => {
  const node = new TestNode()
  const [client, server] = [node.pod(), node.pod()]
  const echo = ip(client, server.address).icmpEcho({ id: 1, seq: 1 }).payload(2000)
  for (const frame of fragmentIpv4(echo.bytes(), MTU)) node.send(client.port, frame)
  t.same(node.drops(), [INVALID, INVALID])
  const gre = eth({ from: client.mac, to: NODE_MAC })
    .ipv4({ from: client.address, to: server.address, protocol: 47 })
    .payload(2000)
  for (const frame of fragmentIpv4(gre.bytes(), MTU)) node.send(client.port, frame)
  t.same(node.drops(), [137, 137])
  node.close()
})

t.test('nothing is remembered of a fragment with another pod’s address', async (t) => {
  const node = new TestNode()
  const [client, server, intruder] = [node.pod(), node.pod(), node.pod()]
  const spoofed = { ...intruder, address: client.address }
  const [first] = pieces(spoofed, server.address, 22) as [Uint8Array]
  const [, second] = pieces(client, server.address) as [Uint8Array, Uint8Array]
  node.send(intruder.port, first)
  t.same(node.drops(), [132])
  t.equal(node.maps.fragmentsMap.size, 0)
  node.send(client.port, second)
  t.same(node.drops(), [NOT_FOUND])
  node.close()
})

t.test('a first fragment too short for its header drops with 135 and stores nothing', async (t) => {
  const node = new TestNode()
  const [client, server] = [node.pod(), node.pod()]
  const short = eth({ from: client.mac, to: NODE_MAC })
    .ipv4({ from: client.address, to: server.address, protocol: 6, flags: 'MF' })
    .payload(16)
  node.send(client.port, short.bytes())
  t.same(node.drops(), [135])
  t.equal(node.maps.fragmentsMap.size, 0)
  node.close()
})

t.test(
  'a datagram to a service goes to one backend whole, and its answer comes back',
  async (t) => {
    const node = new TestNode()
    const client = node.pod()
    const backends = [node.pod(), node.pod(), node.pod()]
    node.controller.setService(service(backends, { frontends: [frontend('UDP', 53)] }))
    for (let id = 0; id < 30; id++) {
      for (const frame of pieces(client, VIP, 53, id, 6000 + id)) client.port.inject(frame)
      node.run()
      const got = backends.map((pod) => ({ pod, frames: pod.port.take() }))
      const [one] = got.filter(({ frames }) => frames.length > 0)
      if (one === undefined) throw new Error(`no backend got datagram ${id}: ${node.drops()}`)
      t.equal(one.frames.length, 3, 'all fragments at one backend')
      checkPacket(t, reassemble(one.frames), {
        ipv4: { from: client.address, to: one.pod.address },
        udp: { from: 6000 + id, to: 8080 },
      })
      for (const frame of pieces(one.pod, client.address, 6000 + id, id, 8080)) {
        node.send(one.pod.port, frame)
      }
      const back = client.port.take()
      t.equal(back.length, 3)
      checkPacket(t, reassemble(back), {
        ipv4: { from: VIP, to: client.address },
        udp: { from: 53, to: 6000 + id },
      })
    }
    t.same(node.drops(), [])
    node.close()
  },
)

t.test('a pod reaches itself through a service in fragments', async (t) => {
  const node = new TestNode()
  const pod = node.pod(CLOSED)
  node.controller.setService(service([pod], { frontends: [frontend('UDP', 53)] }))
  for (const frame of pieces(pod, VIP)) node.send(pod.port, frame)
  const got = pod.port.take()
  t.equal(got.length, 3)
  checkPacket(t, reassemble(got), { ipv4: { from: '169.254.42.1' }, udp: { to: 8080 } })
  node.close()
})

t.test('SCTP in fragments to a service drops with 154: its sum is over the whole', async (t) => {
  const node = new TestNode()
  const [client, server] = [node.pod(), node.pod()]
  node.controller.setService(service([server], { frontends: [frontend('SCTP', 53)] }))
  const packet = eth({ from: client.mac, to: NODE_MAC })
    .ipv4({ from: client.address, to: VIP, protocol: 132 })
    .payload(Uint8Array.from([0x13, 0x88, 0, 53, ...new Array<number>(2000).fill(0)]))
  for (const frame of fragmentIpv4(packet.bytes(), MTU)) node.send(client.port, frame)
  t.same(node.drops(), [154, 154])
  node.close()
})

t.test('random fragments never throw, lose a frame, or leave with a wrong checksum', async (t) => {
  const random = seededPrng(t)
  const node = new TestNode()
  const client = node.pod()
  const backends = [node.pod(), node.pod()]
  node.controller.setService(service(backends, { frontends: [frontend('UDP', 53)] }))
  const pending: Uint8Array[] = []
  for (let i = 0; i < 400; i++) {
    pending.push(...pieces(client, random.below(2) === 0 ? VIP : NODE_ADDRESS, 53, random.below(9)))
    const frame = pending.splice(random.below(pending.length), 1)[0] as Uint8Array
    if (random.below(4) === 0) {
      const mutated = frame.slice(0, 15 + random.below(frame.length - 15))
      mutated[14 + random.below(mutated.length - 14)] = random.below(256)
      node.send(client.port, mutated)
      for (const { port } of [client, ...backends, { port: node.host }]) port.take()
    }
    node.send(client.port, frame)
    for (const { port } of [...backends, { port: node.host }]) {
      for (const out of port.take()) {
        const { problems } = parseFrame(out)
        if (problems.length > 0) t.same(problems, [])
      }
    }
    node.clock.advanceSeconds(random.below(3))
  }
  assertConserved(node.exchange, node.loop.burst)
  node.close()
})
