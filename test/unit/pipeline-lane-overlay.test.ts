/**
 * The flow lane against the chain, as pipeline-lane.test.ts, where packets leave by the tunnel: two
 * pairs of nodes carry the same traffic between their pods, one pair without the lane.
 */
import t from 'tap'
import { readMetrics } from '../../src/monitor/metrics.js'
import { OverlayNodes } from '../support/overlay-nodes.js'
import { eth } from '../support/packet-builder.js'
import { parseFrame } from '../support/packet-parser.js'
import { seededPrng } from '../support/seed.js'
import { service, VIP } from '../support/service-node.js'
import { NODE_MAC, type TestPod } from '../support/test-node.js'
import { opened } from '../support/vxlan.js'

const ROUNDS = 1500
const COPIES_MAX = 6
const PODS = 2
const FLAGS = ['ACK', 'ACK', 'ACK', 'PSH ACK', 'SYN', 'FIN ACK', 'RST']

class Pair {
  readonly nodes: OverlayNodes
  readonly pods: readonly TestPod[]

  constructor(repeatsFlows: boolean) {
    this.nodes = new OverlayNodes({}, { repeatsFlows })
    const { a, b } = this.nodes
    this.pods = [a, b].flatMap((node) => Array.from({ length: PODS }, () => node.pod()))
    const backends = this.pods.slice(PODS)
    a.controller.setService(service(backends, { frontends: [UDP, TCP] }))
  }

  nodeOf(pod: number): OverlayNodes['a'] {
    return pod < PODS ? this.nodes.a : this.nodes.b
  }
}
const UDP = { address: VIP, port: 80, protocol: 'UDP', type: 'ClusterIP' } as const
const TCP = { address: VIP, port: 80, protocol: 'TCP', type: 'ClusterIP' } as const

t.test('what goes through the tunnel is repeated as the chain did it', async (t) => {
  const prng = seededPrng(t)
  const pairs = [new Pair(true), new Pair(false)] as const
  const [repeating, chaining] = pairs
  for (let round = 0; round < ROUNDS; round++) {
    const from = prng.below(2 * PODS)
    const to = prng.below(2 * PODS)
    const isToService = from < PODS && prng.chance(0.3)
    const target = isToService ? VIP : (repeating.pods[to] as TestPod).address
    const tos = prng.chance(0.2) ? prng.below(256) : 0
    const ttl = prng.chance(0.05) ? 1 + prng.below(3) : 64
    const pod = repeating.pods[from] as TestPod
    const header = { from: pod.address, to: target, tos, ttl, flags: 'DF' } as const
    const layer = eth({ from: pod.mac, to: NODE_MAC }).ipv4(header)
    const ports = { from: 40000 + prng.below(2), to: 80 }
    const options = { ...ports, ...(prng.chance(0.1) ? { partialChecksum: true } : {}) }
    const packet = prng.chance(0.5)
      ? layer.udp(options)
      : layer.tcp({ ...options, flags: FLAGS[prng.below(FLAGS.length)] as string })
    // A few are larger than what fits through.
    const size = prng.chance(0.03) ? 1400 + prng.below(100) : prng.below(40)
    const bytes = packet.payload('x'.repeat(size)).bytes()
    const copies = 1 + prng.below(COPIES_MAX)
    const milliseconds = prng.chance(0.1) ? prng.below(3000) : 0
    for (const pair of pairs) {
      for (const { clock } of [pair.nodes.a, pair.nodes.b])
        clock.advanceSeconds(milliseconds / 1000)
      for (let i = 0; i < copies; i++) pair.pods[from]?.port.inject(bytes)
      pair.nodeOf(from).run()
      pair.nodes.settle()
    }
    const [seen, wanted] = [repeating.nodes.seen.splice(0), chaining.nodes.seen.splice(0)]
    const [got, expected] = pairs.map((pair) => pair.pods.map((pod) => pod.port.take()))
    if (!isEqual(seen, wanted) || !got?.every((list, i) => isEqual(list, expected?.[i] ?? []))) {
      t.same([seen, got], [wanted, expected], `round ${round}`)
      return
    }
  }
  for (const name of ['a', 'b'] as const) {
    const [with_, without] = pairs.map((pair) => readMetrics(pair.nodes[name].maps.metrics))
    t.same(with_, without, `counters of ${name}`)
  }
  t.ok(repeating.nodes.a.pipeline.framesRepeated > ROUNDS / 4, 'the lane took part')
  t.ok(repeating.nodes.b.pipeline.framesRepeated > ROUNDS / 4)
  for (const pair of pairs) pair.nodes.close()
})

function isEqual(got: readonly Uint8Array[], wanted: readonly Uint8Array[]): boolean {
  if (got.length !== wanted.length) return false
  return got.every((frame, i) => Buffer.compare(frame, wanted[i] as Uint8Array) === 0)
}

t.test('a pod’s MAC address inside the tunnel is the node’s idea of it', async (t) => {
  for (const repeatsFlows of [true, false]) {
    const { a, b } = new OverlayNodes({}, { repeatsFlows })
    const [pod, remote] = [a.pod(), b.pod()]
    for (const mac of [pod.mac, pod.mac, pod.mac, '02:aa:aa:aa:aa:aa', '02:aa:aa:aa:aa:aa']) {
      const frame = eth({ from: mac, to: '02:bb:bb:bb:bb:bb' })
      const ends = { from: pod.address, to: remote.address }
      a.send(pod.port, frame.ipv4(ends).udp({ from: 2000, to: 53 }).bytes())
      const { inner } = opened(a.uplink.take()[0] as Uint8Array)
      t.same(parseFrame(inner).eth, { from: pod.mac, to: NODE_MAC, type: 0x0800 })
    }
  }
})
