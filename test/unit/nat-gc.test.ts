/** Collection of NAT entries: a mapping lives as long as its connection, and sweeps are bounded. */
import t from 'tap'
import { Conntrack } from '../../src/conntrack/conntrack.js'
import { CtDirection, conntrack4Spec } from '../../src/conntrack/ct-entry.js'
import { ConntrackGc } from '../../src/conntrack/ct-gc.js'
import { flowHash } from '../../src/conntrack/flow-hash.js'
import { LruHashMap } from '../../src/maps/lru-hash-map.js'
import { Revisions } from '../../src/maps/revision.js'
import { NatGc } from '../../src/nat/nat-gc.js'
import { SnatDirection } from '../../src/nat/snat-entry.js'
import { Protocol } from '../../src/wire/protocols.js'
import { type Flow, flow, NatUnderTest, requestOf } from '../support/nat-model.js'

const { TCP, UDP, ICMPV4 } = Protocol
const POD = '10.0.1.1'
const STEP_SLOTS = 256

class Collected {
  readonly under = new NatUnderTest(1)
  readonly connections: LruHashMap
  readonly conntrack: Conntrack
  readonly conntrackGc: ConntrackGc
  readonly gc: NatGc

  constructor() {
    const spec = conntrack4Spec(1024)
    const buffer = new SharedArrayBuffer(LruHashMap.bytesFor(spec))
    this.connections = LruHashMap.create(spec, buffer)
    this.conntrack = new Conntrack(this.connections)
    this.conntrackGc = new ConntrackGc(this.connections)
    this.gc = new NatGc(this.under.nat, this.connections, this.conntrackGc)
  }

  /** A mapping, and its connection on that side of the node. */
  open(f: Flow, direction: CtDirection = CtDirection.EGRESS): void {
    const words = requestOf(f)
    const hash = flowHash(words, 0, this.conntrack.seed)
    this.conntrack.beginPacket()
    this.conntrack.create(words, 0, hash, direction, 301, 100, this.under.now)
    this.under.forward(f)
  }

  steps(count: number): void {
    for (let i = 0; i < count; i++) {
      this.conntrackGc.step(this.under.now)
      this.gc.step(this.under.now)
    }
  }

  /** Takes a connection away, not by its age. */
  lose(): void {
    for (const slot of [...this.connections.slots()]) this.connections.deleteSlot(slot)
  }

  sweep(): void {
    this.conntrackGc.request()
    this.steps(SWEEP)
  }

  get revision(): number {
    return new Revisions([this.under.maps.snat]).sum
  }

  get size(): number {
    return this.under.maps.snat.size
  }
}

/** Enough steps for a sweep of both tables. */
const SWEEP = 60

t.test('mappings of TCP, UDP and ping stay with their connections and go after them', async (t) => {
  const c = new Collected()
  c.open(flow(TCP, POD, 40_000))
  c.open(flow(UDP, POD, 40_000))
  c.open(flow(ICMPV4, POD, 77))
  c.open(flow(UDP, POD, 40_001), CtDirection.INGRESS)
  c.under.forward(flow(UDP, POD, 40_002))
  t.equal(c.size, 10)
  c.conntrackGc.request()
  c.steps(SWEEP)
  t.equal(c.size, 8, 'the one without a connection is gone')
  c.under.now += 61
  c.conntrackGc.request()
  c.steps(SWEEP)
  t.equal(c.connections.size, 0)
  t.equal(c.size, 0)
  t.equal(c.gc.deleted, 10)
  t.same(c.under.problems(), [])
})

t.test('a flow that begins anew as its mapping is collected keeps it', async (t) => {
  const c = new Collected()
  const sender = flow(UDP, POD, 40_000)
  c.under.forward(sender)
  const { snat } = c.under.maps
  const deleteSlot = snat.deleteSlot.bind(snat)
  snat.deleteSlot = (slot, generation) => {
    snat.deleteSlot = deleteSlot
    c.open(sender)
    return deleteSlot(slot, generation)
  }
  c.sweep()
  t.equal(c.size, 2)
  t.equal(c.gc.deleted, 0)
  t.equal(c.under.reverse(sender, 40_000), `${sender.source}:${sender.sourcePort}`)
  t.same(c.under.problems(), [])
})

t.test('half a mapping is collected like a whole one, and kept like one', async (t) => {
  const c = new Collected()
  c.open(flow(UDP, POD, 40_000))
  c.under.drop(SnatDirection.OUT, () => true)
  c.conntrackGc.request()
  c.steps(SWEEP)
  t.equal(c.size, 1)
  c.under.now += 61
  c.conntrackGc.request()
  c.steps(SWEEP)
  t.equal(c.size, 0)
})

t.test('a sweep follows a sweep of the connection table, in bounded steps', async (t) => {
  const c = new Collected()
  for (let i = 0; i < 2000; i++) c.under.forward(flow(UDP, POD, 30_000 + i))
  c.steps(SWEEP)
  t.equal(c.size, 4000, 'nothing is due')
  c.conntrackGc.request()
  while (c.conntrackGc.sweeps === 0) c.conntrackGc.step(c.under.now)
  c.gc.step(c.under.now)
  let before = c.size
  let steps = 0
  for (; c.gc.sweeps === 0; steps++) {
    c.gc.step(c.under.now)
    t.ok(before - c.size <= STEP_SLOTS)
    before = c.size
  }
  t.equal(steps, c.under.maps.snat.slotCount / STEP_SLOTS)
  t.equal(c.size, 0)
})

t.test(
  'scarce ports force a sweep, at most one a second, and leave the interval alone',
  async (t) => {
    const c = new Collected()
    c.open(flow(TCP, POD, 40_000))
    const { intervalSeconds } = c.conntrackGc
    for (let second = 0; second < 3; second++) {
      for (let i = 0; i < 5; i++) {
        c.under.nat.isFillingUp = true
        c.steps(SWEEP)
      }
      t.equal(c.conntrackGc.sweeps, second + 1)
      c.under.now++
    }
    t.equal(c.conntrackGc.intervalSeconds, intervalSeconds, 'sweeps out of turn found nothing')
    t.equal(c.size, 2)
  },
)

t.test('an evicted connection takes its mapping along', async (t) => {
  const c = new Collected()
  c.open(flow(UDP, POD, 40_000))
  c.connections.deleteSlot(c.conntrack.slot)
  c.conntrackGc.request()
  c.steps(SWEEP)
  t.equal(c.size, 0)
})

t.test(
  'a mapping that the lane may still use, and only such a one, is told of: once',
  async (t) => {
    const c = new Collected()
    for (let i = 0; i < 3; i++) c.open(flow(UDP, POD, 40_000 + i))
    const before = c.revision
    c.sweep()
    t.equal(c.revision, before, 'nothing was deleted')
    c.lose()
    c.sweep()
    t.equal(c.size, 0)
    t.equal(c.revision, before + 1)
    c.sweep()
    t.equal(c.revision, before + 1)
  },
)

t.test('of a mapping that died of old age nobody is told, nor of a ping’s', async (t) => {
  const c = new Collected()
  c.open(flow(UDP, POD, 40_000))
  const before = c.revision
  c.under.now += 61
  c.open(flow(ICMPV4, POD, 77))
  c.lose()
  c.sweep()
  t.equal(c.size, 0)
  t.equal(c.revision, before)
})

t.test(
  'a closed TCP connection’s mapping is told of only when connections are evicted',
  async (t) => {
    const c = new Collected()
    const before = c.revision
    c.open(flow(TCP, POD, 40_000))
    c.lose()
    c.sweep()
    t.equal(c.size, 0)
    t.equal(c.revision, before, 'its connection ended before, and with it what the lane knew')
    for (let i = 0; i < 1500; i++) c.open(flow(TCP, POD, 30_000 + i))
    t.ok(c.connections.evictions > 0)
    c.sweep()
    t.equal(c.revision, before + 1)
  },
)

t.test('where connections were evicted, a mapping counts as in use for 72 seconds', async (t) => {
  for (const protocol of [TCP, UDP]) {
    for (const [seconds, told] of [
      [65, 1],
      [73, 0],
    ] as const) {
      const c = new Collected()
      const before = c.revision
      for (let i = 0; i < 1500; i++) c.open(flow(protocol, POD, 30_000 + i))
      t.ok(c.connections.evictions > 0)
      c.under.now += seconds
      c.sweep()
      t.ok(c.gc.deleted > 0)
      t.equal(c.revision - before, told, `protocol ${protocol}, ${seconds} s ago`)
    }
  }
})

t.end()
