/**
 * The flow lane against the chain: two nodes get the same frames at the same times, one of them
 * with every packet through the chain, and nobody may be able to tell which is which.
 */
import t, { type Test } from 'tap'
import type { Prng } from '../../src/base/prng.js'
import { Ct, CtKey, CtState } from '../../src/conntrack/ct-entry.js'
import { readMetrics } from '../../src/monitor/metrics.js'
import { DropReason } from '../../src/packet/drop-reason.js'
import { Direction } from '../../src/packet/verdict.js'
import type { EndpointPolicy } from '../../src/policy/policy-rule.js'
import { eth } from '../support/packet-builder.js'
import { checkPacket } from '../support/packet-checker.js'
import { seededPrng } from '../support/seed.js'
import { CLOSED, frontend, ip, service, VIP } from '../support/service-node.js'
import {
  GATEWAY_MAC,
  OUTSIDE_ADDRESS,
  TestNode,
  type TestPod,
  UPLINK_ADDRESS,
  UPLINK_MAC,
} from '../support/test-node.js'

const PODS = 4
const ROUNDS = 1500
const FRAMES_MAX = 12
const PORTS = [8080, 53]
const EMPTY = new Uint8Array(0)
const STEADY_FLAGS = ['ACK', 'PSH ACK'] as const
const ALL_FLAGS = [...STEADY_FLAGS, 'SYN', 'SYN ACK', 'FIN ACK', 'RST'] as const

class Twins {
  readonly nodes = [new TestNode(), new TestNode({ repeatsFlows: false })] as const
  readonly pods: (readonly [TestPod, TestPod])[] = []

  pod(policy?: EndpointPolicy): void {
    this.pods.push([this.nodes[0].pod(policy), this.nodes[1].pod(policy)])
  }

  each(action: (node: TestNode, which: 0 | 1) => void): void {
    action(this.nodes[0], 0)
    action(this.nodes[1], 1)
  }
}

const pick = <T>(prng: Prng, from: readonly T[]): T => from[prng.below(from.length)] as T

/** A run's kind of traffic. */
interface Kind {
  readonly flags: readonly string[]
  /** Now and then the ports of a service's flow are those of a direct one. */
  readonly sharesPorts: boolean
  readonly framesMax: number
}

const KINDS: readonly Kind[] = [
  { flags: STEADY_FLAGS, sharesPorts: false, framesMax: FRAMES_MAX },
  { flags: ALL_FLAGS, sharesPorts: false, framesMax: FRAMES_MAX },
  // Within a burst the lane's packets come before the chain's: who spoke last is another one then.
  { flags: ALL_FLAGS, sharesPorts: true, framesMax: 1 },
]

/** A packet of one of few flows, so that most have been seen before. */
function randomFrame(
  prng: Prng,
  from: TestPod,
  peers: readonly TestPod[],
  { flags, sharesPorts }: Kind,
): Uint8Array {
  const isToService = prng.chance(0.3)
  const to = isToService ? VIP : pick(prng, peers).address
  const ttl = prng.chance(0.9) ? 64 : prng.below(3)
  const first = isToService || (sharesPorts && prng.chance(0.02)) ? 40000 : 41000
  const ports = [first + prng.below(2), isToService ? pick(prng, [80, 53]) : pick(prng, PORTS)]
  // Answers of what may be a server, and direct packets to it, in the same ports.
  const isTurned = prng.chance(0.4)
  const [source, destination] = (isTurned ? [ports[1], ports[0]] : ports) as [number, number]
  const checksum = prng.chance(0.1) ? { partialChecksum: true } : {}
  const wrong = prng.chance(0.03) ? { checksum: prng.below(0x10000) } : {}
  const layer = ip(from, to, ttl)
  const options = { from: source, to: destination, ...checksum, ...wrong }
  const packet = prng.chance(0.5)
    ? layer.udp(options)
    : layer.tcp({
        ...options,
        flags: pick(prng, prng.chance(0.2) ? flags : STEADY_FLAGS),
        seq: prng.nextInt32(),
      })
  const bytes = packet.payload('x'.repeat(prng.below(40))).bytes()
  if (prng.chance(0.02)) bytes[prng.below(bytes.length)] = prng.below(256)
  return bytes
}

/** Entries by key, without what may lag behind by a second. */
function connections(node: TestNode, isExact: boolean): Map<string, number[]> {
  node.pipeline.settle()
  const table = node.maps.conntrackTable
  const found = new Map<string, number[]>()
  const key = new Int32Array(table.spec.keyWords)
  const value = new Int32Array(table.spec.valueWords)
  for (const slot of table.slots()) {
    if (!table.read(slot, key, value)) continue
    value[Ct.EXPIRES] = 0
    value[Ct.LAST_TX_REPORT] = 0
    value[Ct.LAST_RX_REPORT] = 0
    // Numbers of policies differ where one has been asked more often.
    value[Ct.POLICY] = (key[CtKey.PROTOCOL] as number) & 0x400 ? (value[Ct.POLICY] as number) : 0
    if (!isExact) {
      value.fill(0, Ct.PACKETS, Ct.BYTES_HIGH + 1)
      value[Ct.STATE] = (value[Ct.STATE] as number) & ~CtState.SEEN_NON_SYN
    }
    found.set([...key].join(), [...value])
  }
  return found
}

const allow = (id: number): EndpointPolicy => ({
  ...CLOSED,
  rules: [{ direction: Direction.INGRESS, action: 'allow', identities: [300 + id] }],
})

/** Something that the control plane might do between two packets. */
function change(prng: Prng, twins: Twins): void {
  const id = 1 + prng.below(PODS)
  const backends = twins.pods.filter((_, i) => i !== prng.below(PODS))
  const policy = prng.chance(0.5) ? allow(1 + prng.below(PODS)) : CLOSED
  const isPolicy = prng.chance(0.5)
  const frontends = [frontend(), frontend('UDP', 53)]
  twins.each((node, which) => {
    if (isPolicy) node.controller.setPolicy(id, policy)
    else {
      node.controller.setService(
        service(
          backends.map((pair) => pair[which]),
          { frontends },
        ),
      )
    }
  })
}

/** Runs both nodes on random traffic; false when the frames that came out differ. */
function run(t: Test, prng: Prng, twins: Twins, kind: Kind): boolean {
  change(prng, twins)
  for (let round = 0; round < ROUNDS; round++) {
    if (prng.chance(0.02)) change(prng, twins)
    if (prng.chance(0.1)) {
      const seconds = prng.below(400) / 1000
      twins.each((node) => node.clock.advanceSeconds(seconds))
    }
    // One sender a burst: across senders, packets of one burst may be counted in another order.
    const pair = pick(prng, twins.pods)
    const peers = twins.pods.map((pods) => pods[0]).filter((pod) => pod !== pair[0])
    const count = 1 + prng.below(kind.framesMax)
    for (let i = 0; i < count; i++) {
      const frame = randomFrame(prng, pair[0], peers, kind)
      for (const pod of pair) pod.port.inject(frame)
    }
    twins.each((node) => node.run())
    for (const [repeating, chaining] of twins.pods) {
      const [got, wanted] = [repeating.port.take(), chaining.port.take()]
      const isEqual = (frame: Uint8Array, n: number) =>
        Buffer.compare(frame, wanted[n] ?? EMPTY) === 0
      if (got.length === wanted.length && got.every(isEqual)) continue
      t.same(got, wanted, `round ${round}, pod ${repeating.id}`)
      return false
    }
  }
  const [repeating, chaining] = twins.nodes
  t.same(readMetrics(repeating.maps.metrics), readMetrics(chaining.maps.metrics), 'counters')
  const { framesRepeated } = repeating.pipeline
  t.ok(framesRepeated > kind.framesMax && framesRepeated > 10, `repeated ${framesRepeated} frames`)
  t.equal(chaining.pipeline.framesRepeated, 0)
  return true
}

t.test('nobody can tell whether a packet was repeated or went through the chain', async (t) => {
  const prng = seededPrng(t)
  for (const kind of KINDS) {
    const twins = new Twins()
    for (let i = 0; i < PODS; i++) twins.pod()
    if (!run(t, prng, twins, kind)) return
    // When the same ports begin a new connection, replies repeated within two seconds are still
    // counted for the one before.
    const isExact = kind.flags === STEADY_FLAGS
    const [got, wanted] = twins.nodes.map((node) => connections(node, isExact))
    t.same(got, wanted, 'connections')
    twins.each((node) => node.close())
  }
})

t.test(
  'a changed policy holds for the next packet of a flow that was being repeated',
  async (t) => {
    const node = new TestNode()
    const [client, server] = [node.pod(), node.pod()]
    const frame = ip(client, server.address).udp({ from: 5000, to: 53 }).bytes()
    for (let i = 0; i < 3; i++) node.send(client.port, frame)
    t.equal(server.port.take().length, 3)
    t.equal(node.pipeline.framesRepeated, 1)
    node.controller.setPolicy(server.id, CLOSED)
    node.send(client.port, frame)
    t.equal(server.port.take().length, 0)
    t.same(node.drops(), [-DropReason.POLICY_DENIED])
    node.close()
  },
)

t.test(
  'where frames begin elsewhere than at multiples of eight bytes the chain handles all',
  async (t) => {
    for (const headroomBytes of [250, 252, 256, 264]) {
      const node = new TestNode({ headroomBytes })
      const [client, server] = [node.pod(), node.pod()]
      const frame = ip(client, server.address).udp({ from: 5000, to: 53 }).bytes()
      for (let n = 0; n < 3; n++) node.send(client.port, frame)
      const [first, ...others] = server.port.take()
      t.same(others, [first, first], `the same with a headroom of ${headroomBytes}`)
      t.equal(node.pipeline.framesRepeated, headroomBytes % 8 === 0 ? 1 : 0)
      node.close()
    }
  },
)

t.test('every eight seconds a packet of a flow goes through the chain', async (t) => {
  const node = new TestNode()
  const [client, server] = [node.pod(), node.pod()]
  const frame = ip(client, server.address).udp({ from: 5000, to: 53 }).bytes()
  node.send(client.port, frame)
  for (let second = 0; second < 81; second++) {
    node.clock.advanceSeconds(1)
    node.send(client.port, frame)
  }
  t.equal(node.pipeline.framesRepeated, 70, 'of eight packets, seven')
  t.equal(node.maps.conntrackTable.size, 2)
  t.equal(server.port.take().length, 82)
  node.close()
})

t.test('of very many old flows only four a millisecond go through the chain again', async (t) => {
  // So many that each flow finds a place in the lane.
  const node = new TestNode({ connections: 131_072 })
  const [client, server] = [node.pod(), node.pod()]
  const flows = 5000
  const sendAll = () => {
    for (let flow = 0; flow < flows; flow++) {
      node.send(
        client.port,
        ip(client, server.address)
          .udp({ from: 1024 + flow, to: 53 })
          .bytes(),
      )
      server.port.take()
    }
  }
  sendAll()
  sendAll()
  t.equal(node.pipeline.framesRepeated, 0, 'learned by their second packet')
  node.clock.advanceSeconds(9)
  sendAll()
  t.equal(node.pipeline.framesRepeated, flows - 4, 'in the first')
  t.equal(node.maps.conntrackTable.size, 2 * flows)
  node.close()
})

t.test(
  'a connection lives a minute from its last packet on, though the lane carried it',
  async (t) => {
    const node = new TestNode()
    const [client, server] = [node.pod(), node.pod()]
    const frame = ip(client, server.address).udp({ from: 5000, to: 53 }).bytes()
    for (let i = 0; i < 2; i++) node.send(client.port, frame)
    const lifetimes = (): number[] => {
      const table = node.maps.conntrackTable
      return [...table.slots()].map(
        (slot) => table.words[table.valueStart(slot) + Ct.EXPIRES] as number,
      )
    }
    const [before] = lifetimes() as [number]
    node.clock.advanceSeconds(7)
    node.send(client.port, frame)
    t.equal(node.pipeline.framesRepeated, 1)
    node.clock.advanceSeconds(3)
    node.pipeline.settle()
    t.same(lifetimes(), [before + 7, before + 7])
    node.close()
  },
)

t.test('a repeated packet has right checksums and addresses through a service', async (t) => {
  const node = new TestNode()
  const [client, server] = [node.pod(), node.pod()]
  node.controller.setService(service([server], { frontends: [frontend('UDP', 53)] }))
  for (const payload of ['one', 'three', '', 'a longer payload']) {
    const query = ip(client, VIP).udp({ from: 5000, to: 53 }).payload(payload)
    node.send(client.port, query.bytes())
    checkPacket(t, server.port.take()[0] as Uint8Array, {
      ipv4: { from: client.address, to: server.address, ttl: 63 },
      udp: { from: 5000, to: 8080 },
    })
    const answer = ip(server, client.address).udp({ from: 8080, to: 5000 }).payload(payload)
    node.send(server.port, answer.bytes())
    checkPacket(t, client.port.take()[0] as Uint8Array, {
      ipv4: { from: VIP, to: client.address, ttl: 63 },
      udp: { from: 53, to: 5000 },
    })
  }
  t.equal(node.pipeline.framesRepeated, 5)
  node.close()
})

t.test('what a new connection makes void is not repeated from a second note of it', async (t) => {
  const node = new TestNode({ hasUplink: true })
  const pod = node.pod()
  node.controller.setMasquerade({ enabled: true })
  const answer = eth({ from: GATEWAY_MAC, to: UPLINK_MAC })
    .ipv4({ from: OUTSIDE_ADDRESS, to: UPLINK_ADDRESS })
    .udp({ from: 53, to: 40000 })
    .bytes()
  // Nobody's yet, so the node's stack gets them; both go through the chain in one burst.
  node.uplink.inject(answer)
  node.uplink.inject(answer)
  node.run()
  t.equal(node.host.take().length, 2)
  node.send(pod.port, ip(pod, OUTSIDE_ADDRESS).udp({ from: 40000, to: 53 }).bytes())
  checkPacket(t, node.uplink.take()[0] as Uint8Array, { udp: { from: 40000, to: 53 } })
  node.send(node.uplink, answer)
  t.equal(node.host.take().length, 0)
  t.equal(pod.port.take().length, 1)
  node.close()
})
