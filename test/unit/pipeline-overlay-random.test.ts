/**
 * The overlay with random traffic: whatever pods of two nodes send each other arrives as it was, or
 * is a counted drop; and whatever comes to the tunnel port, no frame is lost and nothing breaks.
 */
import t from 'tap'
import type { Prng } from '../../src/base/prng.js'
import { fromPeer, OverlayNodes } from '../support/overlay-nodes.js'
import { eth, fragmentIpv4, type PacketBuilder } from '../support/packet-builder.js'
import { checkPacket } from '../support/packet-checker.js'
import { parseFrame } from '../support/packet-parser.js'
import { seededPrng } from '../support/seed.js'
import { NODE_MAC, type TestNode, type TestPod } from '../support/test-node.js'
import { opened } from '../support/vxlan.js'

const ROUNDS = 300
const HOSTILE_ROUNDS = 3000
const INNER_MTU = 1450
const FRAGMENTATION_NEEDED = 136

const below = (prng: Prng, bound: number) => prng.below(bound)

function transport(prng: Prng, head: PacketBuilder, bytes: number, flow: number): PacketBuilder {
  const [from, to] = [20_000 + flow, 1 + below(prng, 60_000)]
  const partialChecksum = below(prng, 2) === 0
  switch (below(prng, 3)) {
    case 0:
      return head.tcp({ from, to, flags: 'SYN', partialChecksum }).payload(Math.max(0, bytes - 20))
    case 1:
      return head.udp({ from, to, partialChecksum }).payload(Math.max(0, bytes - 8))
    default:
      return head.icmpEcho({ id: flow }).payload(Math.max(0, bytes - 8))
  }
}

t.test('pods of two nodes get what was sent to them, or a counted drop is why not', async (t) => {
  const prng = seededPrng(t)
  const nodes = new OverlayNodes()
  const ends = [
    { node: nodes.a, pods: [nodes.a.pod(), nodes.a.pod()] },
    { node: nodes.b, pods: [nodes.b.pod(), nodes.b.pod()] },
  ] as const
  for (let round = 0; round < ROUNDS; round++) {
    const side = below(prng, 2)
    const [near, far] = side === 0 ? ends : [ends[1], ends[0]]
    const from = near.pods[below(prng, 2)] as TestPod
    const to = far.pods[below(prng, 2)] as TestPod
    const bytes = 8 + below(prng, 1480 - 8)
    const tos = below(prng, 256)
    const head = eth({ from: from.mac, to: NODE_MAC }).ipv4({
      from: from.address,
      to: to.address,
      ttl: 2 + below(prng, 254),
      tos,
      flags: below(prng, 2) === 0 ? 'DF' : '',
    })
    const frame = transport(prng, head, bytes, round).bytes()
    nodes.seen.length = 0
    near.node.send(from.port, frame)
    nodes.settle()
    const got = to.port.take()
    const ipBytes = parseFrame(frame).ipv4?.totalLength ?? 0
    if (ipBytes > INNER_MTU) {
      t.same(near.node.drops(), [FRAGMENTATION_NEEDED], `round ${round}`)
      from.port.take()
      continue
    }
    t.equal(got.length, 1, `round ${round}: ${frame.length} bytes`)
    const sent = parseFrame(frame)
    const { inner, vni, outer } = opened(nodes.seen[0] as Uint8Array)
    t.equal(vni, from.identity)
    t.equal(outer.ipv4?.tos, tos & 3)
    t.same(outer.problems, [])
    checkPacket(t, inner, { payload: sent.payload })
    checkPacket(t, got[0] as Uint8Array, {
      ipv4: { from: from.address, to: to.address, ttl: (sent.ipv4?.ttl ?? 0) - 1, tos },
      payload: sent.payload,
    })
  }
  t.same([...nodes.a.drops(), ...nodes.b.drops()], [])
  nodes.close()
})

/** A frame from another node with something wrong somewhere, or cut, or in pieces. */
function hostile(prng: Prng, pod: TestPod): Uint8Array[] {
  const to = [pod.address, '10.0.0.1', '192.0.2.2', '198.51.100.1'][below(prng, 4)] ?? ''
  const head = eth().ipv4({ from: '10.0.2.1', to, ttl: below(prng, 4) })
  const inner = transport(prng, head, below(prng, 200), below(prng, 1000)).bytes()
  const frame = fromPeer(inner, below(prng, 1 << 24), below(prng, 8) === 0 ? 0 : 8)
  for (let i = below(prng, 4); i > 0; i--) {
    // Mostly in the headers; the outer addresses stay, or the frame would not be for the tunnel.
    const at = below(prng, 2) === 0 ? 34 + below(prng, 70) : 12 + below(prng, 14)
    if (at < frame.length) frame[at] = below(prng, 256)
  }
  if (below(prng, 4) === 0) return [frame.subarray(0, below(prng, frame.length))]
  if (below(prng, 8) === 0 && frame.length > 100) return fragmentIpv4(frame, 76)
  return [frame]
}

t.test('nothing that comes to the tunnel port breaks anything', async (t) => {
  const prng = seededPrng(t)
  const node: TestNode = new OverlayNodes().a
  const pod = node.pod()
  for (let round = 0; round < HOSTILE_ROUNDS; round++) {
    for (const frame of hostile(prng, pod)) node.send(node.uplink, frame)
    for (const port of [pod.port, node.host, node.uplink]) port.take()
  }
  t.equal(node.exchange.pool.freeCount, node.exchange.pool.frameCount, 'no frame was lost')
  // It still works.
  const hello = eth().ipv4({ from: '10.0.2.1', to: pod.address }).udp().payload('hello')
  node.drops()
  node.send(node.uplink, fromPeer(hello.bytes(), 601))
  const [got] = pod.port.take()
  checkPacket(t, got as Uint8Array, { ipv4: { ttl: 63 }, payload: 'hello' })
  node.close()
})
