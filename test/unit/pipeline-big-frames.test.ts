/** Packets of several buffers through the chain, frame by frame (docs/adr/0018). */
import t from 'tap'
import { assertConserved } from '../../src/port/conservation.js'
import { eth } from '../support/packet-builder.js'
import { checkPacket } from '../support/packet-checker.js'
import { seededPrng } from '../support/seed.js'
import { frontend, service, VIP } from '../support/service-node.js'
import { NODE_ADDRESS, NODE_MAC, TestNode, type TestPod } from '../support/test-node.js'

const FRAGMENTATION_NEEDED = 136
const LARGE = { frameBytesMax: 20_000, hasUplink: true } as const

const ip = (from: TestPod, to: string, dontFragment = true) =>
  eth({ from: from.mac, to: NODE_MAC }).ipv4({
    from: from.address,
    to,
    ttl: 64,
    flags: dontFragment ? 'DF' : '',
  })

const data = (bytes: number): Uint8Array =>
  Uint8Array.from({ length: bytes }, (_, i) => (i * 7 + Math.trunc(i / 251)) & 0xff)

const ends = (node: TestNode): void => {
  assertConserved(node.exchange, node.loop.burst)
  node.close()
}

for (const repeatsFlows of [false, true]) {
  const place = repeatsFlows ? 'lane' : 'chain'
  t.test(`the ${place} completes checksums that a sender left undone, over all buffers`, (t) => {
    const prng = seededPrng(t)
    const node = new TestNode({ ...LARGE, repeatsFlows })
    const [client, server] = [node.pod(), node.pod()]
    const to = ip(client, server.address)
    for (let round = 0; round < 60; round++) {
      const payload = data(round < 12 ? 1780 + round * 7 : 1 + prng.below(15_000))
      const partial = { partialChecksum: prng.chance(0.8) }
      const isTcp = prng.chance(0.7)
      const packet = isTcp
        ? to.tcp({ from: 40000, to: 80, flags: 'ACK', ...partial })
        : to.udp({ from: 40000, to: 53, ...partial })
      node.send(client.port, packet.payload(payload).bytes())
      const sent = server.port.take()
      t.equal(sent.length, 1)
      checkPacket(t, sent[0] as Uint8Array, { ipv4: { ttl: 63 }, payload })
    }
    t.equal(node.pipeline.framesRepeated > 0, repeatsFlows)
    ends(node)
    t.end()
  })
}

t.test('a service takes large packets, both ways', (t) => {
  const node = new TestNode(LARGE)
  const [client, server] = [node.pod(), node.pod()]
  node.controller.setService(service([server], { frontends: [frontend('UDP', 53)] }))
  const payload = data(8001)
  for (let round = 0; round < 5; round++) {
    const query = ip(client, VIP).udp({ from: 40000, to: 53, partialChecksum: true })
    node.send(client.port, query.payload(payload).bytes())
    const got = server.port.take()[0] as Uint8Array
    checkPacket(t, got, { ipv4: { to: server.address }, udp: { to: 8080 }, payload })
    const answer = ip(server, client.address).udp({ from: 8080, to: 40000, partialChecksum: true })
    node.send(server.port, answer.payload(payload).bytes())
    const back = client.port.take()[0] as Uint8Array
    checkPacket(t, back, { ipv4: { from: VIP }, udp: { from: 53 }, payload })
  }
  ends(node)
  t.end()
})

t.test('what a pod’s device does not carry is told its sender, who may not be cut', (t) => {
  const node = new TestNode(LARGE)
  const [client, server] = [node.pod(), node.pod()]
  node.maps.endpoints.setMtu(node.controller.portOf(server.id), 1500)
  const packet = ip(client, server.address).udp({ from: 40000, to: 53 }).payload(data(6000))
  node.send(client.port, packet.bytes())
  t.same(server.port.take(), [])
  t.same(node.drops(), [FRAGMENTATION_NEEDED])
  const told = client.port.take()
  t.equal(told.length, 1)
  checkPacket(t, told[0] as Uint8Array, {
    ipv4: { to: client.address },
    icmp: { type: 3, code: 4, rest: 1500 },
    quoted: { ipv4: { from: client.address, to: server.address }, udp: { to: 53 } },
  })
  t.ok((told[0] as Uint8Array).length < 700, 'it quotes of the first buffer')
  const cut = ip(client, server.address, false).udp({ from: 40000, to: 53 }).payload(data(6000))
  node.send(client.port, cut.bytes())
  t.same([client.port.take(), server.port.take()], [[], []], 'nobody cuts it')
  t.same(node.drops(), [FRAGMENTATION_NEEDED])
  ends(node)
  t.end()
})

t.test('the lane, too, stops what is larger than the pod’s device carries', (t) => {
  const node = new TestNode(LARGE)
  const [client, server] = [node.pod(), node.pod()]
  node.maps.endpoints.setMtu(node.controller.portOf(server.id), 4000)
  const send = (bytes: number) => {
    const packet = ip(client, server.address).udp({ from: 40000, to: 53 }).payload(data(bytes))
    node.send(client.port, packet.bytes())
    return server.port.take().length
  }
  for (let round = 0; round < 4; round++) t.equal(send(3000), 1)
  t.ok(node.pipeline.framesRepeated > 0)
  t.equal(send(4000 - 28), 1)
  t.equal(send(4001 - 28), 0)
  t.same(node.drops(), [FRAGMENTATION_NEEDED])
  ends(node)
  t.end()
})

t.test('so is what the host pair does not carry, to the node and beyond', (t) => {
  const node = new TestNode({ frameBytesMax: 20_000 })
  const client = node.pod()
  const host = node.maps.node.hostPort
  node.maps.endpoints.setMtu(host, 1500)
  for (const to of [NODE_ADDRESS, '203.0.113.9']) {
    node.send(client.port, ip(client, to).udp({ from: 40000, to: 53 }).payload(data(6000)).bytes())
    t.same(node.host.take(), [])
    const told = client.port.take()[0] as Uint8Array
    checkPacket(t, told, { icmp: { type: 3, code: 4, rest: 1500 } })
  }
  t.same(node.drops(), [FRAGMENTATION_NEEDED, FRAGMENTATION_NEEDED])
  node.maps.endpoints.setMtu(host, 9000)
  const packet = ip(client, NODE_ADDRESS).udp({ from: 40000, to: 53 }).payload(data(6000))
  node.send(client.port, packet.bytes())
  t.equal(node.host.take().length, 1)
  ends(node)
  t.end()
})
