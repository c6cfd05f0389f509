/**
 * What one worker does between two steps of another, step by step and on one thread: see docs/adr/0015
 * for what may happen, and what may not.
 */
import t from 'tap'
import type { Prng } from '../../src/base/prng.js'
import { Conntrack } from '../../src/conntrack/conntrack.js'
import {
  CT_TIMEOUTS,
  Ct,
  CtDirection,
  CtResult,
  type CtTimeouts,
  conntrack4Spec,
} from '../../src/conntrack/ct-entry.js'
import { flowHash } from '../../src/conntrack/flow-hash.js'
import { Balance, LoadBalancer } from '../../src/lb/load-balancer.js'
import { Scope } from '../../src/lb/service-layout.js'
import { ServiceWriter } from '../../src/lb/service-writer.js'
import { LruHashMap } from '../../src/maps/lru-hash-map.js'
import { UpdateFlag } from '../../src/maps/map.js'
import { HEADER_WORDS } from '../../src/maps/map-header.js'
import { DestinationUse, natDestinationsSpec } from '../../src/nat/destination-use.js'
import { NatRow } from '../../src/nat/nat-protocol.js'
import { parseIpv4 } from '../../src/wire/address.js'
import { Protocol } from '../../src/wire/protocols.js'
import { Flag } from '../../src/wire/tcp.js'
import { NatUnderTest, flow as natFlow } from '../support/nat-model.js'
import { serviceMaps } from '../support/service-model.js'

const NOW = 1000
const BYTES = 100
const CLIENT = parseIpv4('10.0.9.9')
const SERVICE = parseIpv4('10.96.0.1')
const { TCP, UDP } = Protocol

const connections = (entries = 1024): LruHashMap => {
  const spec = conntrack4Spec(entries)
  return LruHashMap.create(spec, new SharedArrayBuffer(LruHashMap.bytesFor(spec)))
}

const tuple = (protocol: number, from: number, to: number): Int32Array =>
  Int32Array.of(0, 0, 0xffff, CLIENT, 0, 0, 0xffff, SERVICE, (from << 16) | to, protocol)

const turned = (flow: Int32Array): Int32Array => {
  const ports = flow[8] as number
  const swapped = (ports << 16) | (ports >>> 16)
  return Int32Array.of(...flow.slice(4, 8), ...flow.slice(0, 4), swapped, flow[9] as number)
}

/** A worker, by its table. */
class Worker {
  readonly ct: Conntrack

  constructor(map: LruHashMap, timeouts: CtTimeouts = CT_TIMEOUTS) {
    this.ct = new Conntrack(map, timeouts, true)
  }

  see(flow: Int32Array, direction: CtDirection, flags = 0): void {
    const hash = flowHash(flow, 0, this.ct.seed)
    this.ct.beginPacket()
    this.ct.lookup(flow, 0, hash, direction, flags, BYTES, NOW)
  }

  open(flow: Int32Array, direction: CtDirection, flags = 0, backend = 0, revNat = 0): void {
    this.see(flow, direction, flags)
    const hash = flowHash(flow, 0, this.ct.seed)
    this.ct.create(flow, 0, hash, direction, 301, BYTES, NOW, revNat, 0, backend)
  }
}

t.test(
  'a connection that closes while a packet of it is counted elsewhere ends soon',
  async (t) => {
    const map = connections()
    const there = new Worker(map)
    const flow = tuple(TCP, 1000, 80)
    let meanwhile = (): void => undefined
    // Asked for between the look at the connection's flags and the store of its end.
    const timeouts = {
      ...CT_TIMEOUTS,
      get tcpSeconds() {
        meanwhile()
        return CT_TIMEOUTS.tcpSeconds
      },
    }
    const here = new Worker(map, timeouts)
    here.open(flow, CtDirection.EGRESS, Flag.SYN)
    here.see(flow, CtDirection.EGRESS, Flag.ACK | Flag.FIN)
    meanwhile = () => {
      meanwhile = () => undefined
      there.see(turned(flow), CtDirection.INGRESS, Flag.ACK | Flag.FIN)
    }
    here.see(flow, CtDirection.EGRESS, Flag.ACK)
    const expires = map.valueStart(here.ct.slot) + Ct.EXPIRES
    t.equal((map.words[expires] as number) - NOW, CT_TIMEOUTS.closeSeconds)
    map.words[expires] = NOW + CT_TIMEOUTS.tcpSeconds
    here.see(flow, CtDirection.EGRESS, Flag.ACK)
    t.equal(
      (map.words[expires] as number) - NOW,
      CT_TIMEOUTS.closeSeconds,
      'at the next packet, too',
    )
    const other = tuple(TCP, 2000, 80)
    here.open(other, CtDirection.EGRESS, Flag.SYN)
    here.see(other, CtDirection.EGRESS, Flag.ACK | Flag.FIN)
    const { slot } = here.ct
    meanwhile = () => {
      meanwhile = () => undefined
      there.see(turned(other), CtDirection.INGRESS, Flag.ACK | Flag.FIN)
    }
    here.ct.account(slot, map.words[map.keyStart(slot) - 1] as number, 3, 300, NOW)
    const end = map.words[map.valueStart(slot) + Ct.EXPIRES] as number
    t.equal(end - NOW, CT_TIMEOUTS.closeSeconds, 'and when the lane counts')
  },
)

t.test(
  'what a policy allows is not noted in the entry of a service that took the slot',
  async (t) => {
    const map = connections(8)
    const [mine, theirs] = [new Worker(map), new Worker(map)]
    mine.open(tuple(UDP, 1000, 53), CtDirection.EGRESS)
    const { slot } = mine.ct
    mine.ct.allowBy(3, 9)
    t.ok(mine.ct.isAllowedBy(3, 9, 0))
    mine.ct.allowBy(4, 9)
    t.ok(mine.ct.isAllowedBy(4, 9, 0), 'and a later policy')
    t.ok(map.deleteSlot(slot, map.generation(slot)))
    for (let from = 1001; theirs.ct.slot !== slot; from++) {
      if (theirs.ct.slot >= 0) map.deleteSlot(theirs.ct.slot, map.generation(theirs.ct.slot))
      theirs.open(tuple(UDP, from, 53), CtDirection.SERVICE, 0, 7)
    }
    mine.ct.allowBy(3, 9)
    t.equal(map.words[map.valueStart(slot) + Ct.BACKEND], 7)
  },
)

t.test('a reply is turned back by the service that its connection went through', async (t) => {
  const map = connections(8)
  const [mine, theirs] = [new Worker(map), new Worker(map)]
  const flow = tuple(UDP, 1000, 53)
  mine.open(flow, CtDirection.EGRESS, 0, 0, 5)
  const { slot } = mine.ct
  mine.see(turned(flow), CtDirection.INGRESS)
  t.equal(mine.ct.slot, slot)
  t.ok(map.deleteSlot(slot, map.generation(slot)))
  for (let from = 1001; theirs.ct.slot !== slot; from++) {
    if (theirs.ct.slot >= 0) map.deleteSlot(theirs.ct.slot, map.generation(theirs.ct.slot))
    theirs.open(tuple(UDP, from, 53), CtDirection.EGRESS, 0, 0, 9)
  }
  t.equal(mine.ct.revNatIndex, 5, 'whoever has its slot by now')
})

t.test('what a dropped packet changed is not put back into the entry of another', async (t) => {
  const map = connections(8)
  const [mine, theirs] = [new Worker(map), new Worker(map)]
  const flow = tuple(UDP, 1000, 53)
  mine.open(flow, CtDirection.SERVICE, 0, 7, 5)
  mine.see(flow, CtDirection.SERVICE)
  mine.ct.setBackend(8, 5)
  const { slot } = mine.ct
  const words = (): Int32Array => {
    const start = map.valueStart(slot)
    return map.words.slice(start, start + map.spec.valueWords)
  }
  t.equal(words()[Ct.BACKEND], 8)
  mine.ct.undo()
  t.equal(words()[Ct.BACKEND], 7, 'nobody came')
  mine.see(flow, CtDirection.SERVICE)
  mine.ct.setBackend(8, 5)
  let expected = words()
  expected[Ct.BACKEND] = 7
  const generation = map.generation.bind(map)
  // Another worker is quicker, as soon as it has been looked whether the entry is still there.
  map.generation = (asked) => {
    const found = generation(asked)
    // Behind the header is the only segment's lock: whoever holds it need not be quick.
    if (asked !== slot || map.words[HEADER_WORDS] !== 0) return found
    map.generation = generation
    t.ok(map.deleteSlot(slot, found))
    for (let from = 1001; theirs.ct.slot !== slot; from++) {
      if (theirs.ct.slot >= 0) map.deleteSlot(theirs.ct.slot, generation(theirs.ct.slot))
      theirs.open(tuple(UDP, from, 53), CtDirection.EGRESS)
    }
    expected = words()
    return found
  }
  mine.ct.undo()
  t.same(words(), expected, 'the entry is whole, whosever it is')
})

t.test('a connection that begins anew while it is looked for is found', async (t) => {
  const map = connections()
  const [mine, theirs] = [new Worker(map), new Worker(map)]
  const flow = tuple(UDP, 1000, 53)
  mine.open(flow, CtDirection.EGRESS)
  const again = map.stateAgain.bind(map)
  map.stateAgain = (at) => {
    map.stateAgain = again
    theirs.open(flow, CtDirection.EGRESS)
    return again(at)
  }
  const reply = turned(flow)
  const hash = flowHash(reply, 0, mine.ct.seed)
  const found = mine.ct.lookup(reply, 0, hash, CtDirection.INGRESS, 0, BYTES, NOW)
  t.equal(found, CtResult.REPLY)
})

t.test('connections that a new client opens at once have one backend', async (t) => {
  const maps = serviceMaps()
  new ServiceWriter(maps, {
    node: { isLocalAddress: () => false, addresses: () => [] },
    maglevTableSize: 251,
  }).set({
    name: 'web',
    frontends: [{ address: '10.96.0.1', port: 80, protocol: 'TCP', type: 'ClusterIP' }],
    backends: [1, 2].map((n) => ({ address: `10.0.1.${n}`, port: 8080 })),
    algorithm: 'random',
    sessionAffinitySeconds: 60,
  })
  const map = connections()
  const balance = (lb: LoadBalancer, from: number): number => {
    const flow = tuple(TCP, from, 80)
    const hash = flowHash(flow, 0, map.seed)
    lb.beginPacket()
    t.equal(lb.balance(flow, 0, hash, Flag.SYN, BYTES, NOW, Scope.INTERNAL), Balance.TO_BACKEND)
    return lb.backend.address4
  }
  const workerWith = (below: () => number): LoadBalancer =>
    new LoadBalancer(maps, new Conntrack(map, CT_TIMEOUTS, true), { below } as unknown as Prng)
  const there = workerWith(() => 1)
  let theirs = 0
  // Chance is asked between the look for what the client had before and the note of the new choice.
  const here = workerWith(() => {
    if (theirs === 0) theirs = balance(there, 2000)
    return 0
  })
  t.equal(balance(here, 1000), theirs)
  t.equal(balance(there, 3000), theirs, 'and so have those that it opens later')
})

t.test('a destination that took the place of another keeps its count', async (t) => {
  const spec = natDestinationsSpec(8)
  const buffer = new SharedArrayBuffer(LruHashMap.bytesFor(spec))
  const mine = LruHashMap.create(spec, buffer)
  const theirs = LruHashMap.open(buffer)
  const [here, there] = [new DestinationUse(mine), new DestinationUse(theirs)]
  const towards = (n: number): Int32Array => Int32Array.of(n, SERVICE, (53 << 16) | 40_000, UDP)
  here.take(towards(1))
  let other = 1
  const find = mine.lookup.bind(mine)
  mine.lookup = (key, start) => {
    mine.lookup = find
    const slot = find(key, start)
    theirs.deleteSlot(slot, theirs.generation(slot))
    do {
      if (other > 1) there.release(towards(other))
      there.take(towards(++other))
    } while (!theirs.isLive(slot))
    return slot
  }
  here.release(towards(1))
  t.equal(there.count(towards(other)), 1)
  there.take(towards(other))
  t.equal(there.count(towards(other)), 2)
  there.release(towards(other))
  there.release(towards(other))
  t.equal(mine.size, 0, 'and goes with the last one')
})

t.test('a flow keeps its port when its other half is evicted as it is looked at', async (t) => {
  const under = new NatUnderTest(1, 8)
  const sender = natFlow(UDP, '10.0.1.10', 40_000)
  // Any port but the sender's own, which it would have by choice again.
  under.useByHost(NatRow.UDP, 40_000)
  const port = under.forward(sender)
  t.ok(port > 0 && port !== 40_000)
  const { snat } = under.maps
  const theirs = LruHashMap.open(snat.words.buffer)
  const find = snat.lookupHashed.bind(snat)
  let looks = 0
  snat.lookupHashed = (key, hash, start) => {
    const slot = find(key, hash, start)
    // The second look is for the other half, in whose place another flow's comes.
    if (++looks !== 2) return slot
    t.ok(theirs.deleteSlot(slot))
    for (let n = 1; !theirs.isLive(slot); n++) {
      const other = Int32Array.of(n, SERVICE, (53 << 16) | 1000, UDP)
      const at = theirs.update(other, Int32Array.of(n, 1000, NOW, NOW, 0), UpdateFlag.NO_EXIST)
      if (at !== slot) theirs.delete(other)
    }
    return slot
  }
  t.equal(under.forward(sender), port)
  t.equal(under.reverse(sender, port), `${sender.source}:${sender.sourcePort}`)
})
