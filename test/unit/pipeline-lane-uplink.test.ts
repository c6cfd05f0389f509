/**
 * The flow lane against the chain, as pipeline-lane.test.ts, where packets leave the node and come
 * back: masqueraded flows, NodePorts with backends here and elsewhere, the node's own processes. What
 * comes out is answered by the same packet turned round.
 */
import t from 'tap'
import type { Prng } from '../../src/base/prng.js'
import { readMetrics } from '../../src/monitor/metrics.js'
import type { MemoryPort } from '../../src/port/memory-port.js'
import { eth } from '../support/packet-builder.js'
import { seededPrng } from '../support/seed.js'
import { ip, service, VIP } from '../support/service-node.js'
import {
  GATEWAY_MAC,
  HOST_MAC,
  NODE_ADDRESS,
  NODE_MAC,
  OUTSIDE_ADDRESS,
  TestNode,
  type TestPod,
  UPLINK_ADDRESS,
  UPLINK_MAC,
} from '../support/test-node.js'

const ROUNDS = 1500
const PODS = 3
const NODE_PORT = 30080
const REMOTE_BACKEND = '198.51.100.77'
const FLAGS = ['ACK', 'ACK', 'PSH ACK', 'ACK', 'SYN', 'FIN ACK', 'RST']
const KEPT = 24
const EMPTY = new Uint8Array(0)

/** A node, its pods, and its ports by one number for both twins. */
class Side {
  readonly node: TestNode
  readonly pods: readonly TestPod[]
  readonly ports: readonly MemoryPort[]

  constructor(repeatsFlows: boolean) {
    this.node = new TestNode({ hasUplink: true, repeatsFlows })
    this.pods = Array.from({ length: PODS }, () => this.node.pod())
    this.ports = [...this.pods.map((pod) => pod.port), this.node.uplink, this.node.host]
    this.node.controller.setMasquerade({ enabled: true })
    this.setService(true)
  }

  setService(hasRemote: boolean): void {
    const remote = hasRemote ? [{ address: REMOTE_BACKEND, port: 8080 }] : []
    const frontends = (['TCP', 'UDP'] as const).flatMap((protocol) => [
      { address: UPLINK_ADDRESS, port: NODE_PORT, protocol, type: 'NodePort' as const },
      { address: VIP, port: 80, protocol, type: 'ClusterIP' as const },
    ])
    const [first, second] = this.pods as [TestPod, TestPod]
    this.node.controller.setService(service([first, second, ...remote], { frontends }))
  }
}

const UPLINK = PODS
const HOST = PODS + 1

const pick = <T>(prng: Prng, from: readonly T[]): T => from[prng.below(from.length)] as T

interface Sent {
  readonly port: number
  readonly bytes: Uint8Array
}

function randomPacket(prng: Prng, pods: readonly TestPod[]): Sent {
  const port = prng.below(PODS + 2)
  const from = 40000 + prng.below(3)
  const pod = pick(prng, pods)
  let layer = ip(pod, pick(prng, [OUTSIDE_ADDRESS, VIP, NODE_ADDRESS]))
  let to = 80
  if (port < PODS)
    layer = ip(pods[port] as TestPod, pick(prng, [OUTSIDE_ADDRESS, VIP, NODE_ADDRESS]))
  else if (port === UPLINK) {
    to = NODE_PORT
    layer = eth({ from: GATEWAY_MAC, to: UPLINK_MAC }).ipv4({
      from: OUTSIDE_ADDRESS,
      to: UPLINK_ADDRESS,
    })
  } else {
    const target = pick(prng, [VIP, pod.address])
    layer = eth({ from: HOST_MAC, to: NODE_MAC }).ipv4({ from: NODE_ADDRESS, to: target })
  }
  const options = { from, to, ...(prng.chance(0.1) ? { partialChecksum: true } : {}) }
  const packet = prng.chance(0.5)
    ? layer.udp(options)
    : layer.tcp({ ...options, flags: pick(prng, FLAGS), seq: prng.nextInt32() })
  return { port, bytes: packet.payload('x'.repeat(prng.below(30))).bytes() }
}

/** What answers a frame, so far as addresses and ports go; checksums stay right. */
function turned(bytes: Uint8Array): Uint8Array {
  const answer = bytes.slice()
  const swap = (first: number, second: number, length: number): void => {
    answer.set(bytes.subarray(second, second + length), first)
    answer.set(bytes.subarray(first, first + length), second)
  }
  swap(0, 6, 6)
  swap(26, 30, 4)
  swap(34, 36, 2)
  return answer
}

t.test('what leaves the node and comes back is repeated as the chain did it', async (t) => {
  const prng = seededPrng(t)
  const sides = [new Side(true), new Side(false)] as const
  const [repeating, chaining] = sides
  const kept: Sent[] = []
  for (let round = 0; round < ROUNDS; round++) {
    if (prng.chance(0.01)) {
      const hasRemote = prng.chance(0.5)
      for (const side of sides) side.setService(hasRemote)
    }
    if (prng.chance(0.1)) {
      const seconds = prng.below(500) / 1000
      for (const { node } of sides) node.clock.advanceSeconds(seconds)
    }
    const answered = prng.chance(0.5) && kept.length > 0 ? pick(prng, kept) : undefined
    const sent =
      answered === undefined
        ? randomPacket(prng, repeating.pods)
        : { port: answered.port, bytes: turned(answered.bytes) }
    const copies = 1 + prng.below(4)
    for (const side of sides) {
      for (let i = 0; i < copies; i++) side.ports[sent.port]?.inject(sent.bytes)
      side.node.run()
    }
    for (let port = 0; port <= HOST; port++) {
      const [got, wanted] = [
        repeating.ports[port]?.take() ?? [],
        chaining.ports[port]?.take() ?? [],
      ]
      const isEqual = (f: Uint8Array, i: number) => Buffer.compare(f, wanted[i] ?? EMPTY) === 0
      if (got.length !== wanted.length || !got.every(isEqual)) {
        t.same(got, wanted, `round ${round}, port ${port}`)
        return
      }
      const last = got.at(-1)
      if (last !== undefined) kept.push({ port, bytes: last })
    }
    while (kept.length > KEPT) kept.shift()
  }
  t.same(
    readMetrics(repeating.node.maps.metrics),
    readMetrics(chaining.node.maps.metrics),
    'counters',
  )
  const { framesRepeated } = repeating.node.pipeline
  t.ok(framesRepeated > ROUNDS / 4, `repeated ${framesRepeated} frames`)
  for (const { node } of sides) node.close()
})
