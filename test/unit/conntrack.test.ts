/**
 * Connection tracking, state by state (Cilium: bpf/lib/conntrack.h; lookup order, lifetimes, closing,
 * reopening, collection).
 */
import t from 'tap'
import { Conntrack } from '../../src/conntrack/conntrack.js'
import {
  Ct,
  CtDirection,
  CtResult,
  CtState,
  conntrack4Spec,
  RX_FLAGS_SHIFT,
} from '../../src/conntrack/ct-entry.js'
import { ConntrackGc, nextInterval } from '../../src/conntrack/ct-gc.js'
import { flowHash } from '../../src/conntrack/flow-hash.js'
import { LruHashMap } from '../../src/maps/lru-hash-map.js'
import { seededPrng } from '../support/seed.js'

const TCP = 6
const UDP = 17
const SYN = 2
const ACK = 16
const FIN = 1
const RST = 4
const NOW = 1000

const table = (entries = 1024): LruHashMap => {
  const spec = conntrack4Spec(entries)
  return LruHashMap.create(spec, new SharedArrayBuffer(LruHashMap.bytesFor(spec)))
}

function tuple(protocol: number, from: number, to: number): Int32Array {
  return Int32Array.of(
    0,
    0,
    0xffff,
    0x0a000101,
    0,
    0,
    0xffff,
    0x0a000102,
    (from << 16) | to,
    protocol,
  )
}

function turned(t: Int32Array): Int32Array {
  const ports = t[8] as number
  return Int32Array.of(
    ...t.slice(4, 8),
    ...t.slice(0, 4),
    (ports << 16) | (ports >>> 16),
    t[9] as number,
  )
}

class Side {
  readonly map = table()
  readonly ct = new Conntrack(this.map)
  now = NOW

  see(flow: Int32Array, direction: CtDirection, flags = 0): CtResult {
    const hash = flowHash(flow, 0, this.ct.seed)
    return this.ct.lookup(flow, 0, hash, direction, flags, 100, this.now)
  }

  open(flow: Int32Array, direction: CtDirection, flags = 0): void {
    this.see(flow, direction, flags)
    const hash = flowHash(flow, 0, this.ct.seed)
    this.ct.create(flow, 0, hash, direction, 301, 100, this.now)
  }

  value(word: number): number {
    return this.map.words[this.map.valueStart(this.ct.slot) + word] as number
  }

  get lifetime(): number {
    return this.value(Ct.EXPIRES) - this.now
  }
}

t.test(
  'the hash of a flow is the same in both directions, and differs between flows',
  async (t) => {
    const prng = seededPrng(t)
    const hashes = new Set<number>()
    for (let i = 0; i < 1000; i++) {
      const flow = Int32Array.from({ length: 10 }, () => prng.nextInt32())
      flow[9] = TCP
      t.equal(flowHash(flow, 0, 7), flowHash(turned(flow), 0, 7))
      hashes.add(flowHash(flow, 0, 7))
    }
    t.ok(hashes.size > 995)
  },
)

t.test('a new flow is NEW, its next packet ESTABLISHED, the other direction REPLY', async (t) => {
  const side = new Side()
  const flow = tuple(UDP, 1000, 53)
  t.equal(side.see(flow, CtDirection.EGRESS), CtResult.NEW)
  side.open(flow, CtDirection.EGRESS)
  t.equal(side.see(flow, CtDirection.EGRESS), CtResult.ESTABLISHED)
  t.equal(side.see(turned(flow), CtDirection.INGRESS), CtResult.REPLY)
  t.equal(side.value(Ct.PACKETS), 3)
  t.equal(
    side.see(turned(flow), CtDirection.EGRESS),
    CtResult.NEW,
    'the other side is another entry',
  )
})

t.test('a SYN lives 60 s, an answered connection 8000 s, other protocols 60 s', async (t) => {
  const side = new Side()
  const flow = tuple(TCP, 1000, 80)
  side.open(flow, CtDirection.EGRESS, SYN)
  t.equal(side.lifetime, 60)
  side.see(turned(flow), CtDirection.INGRESS, SYN | ACK)
  t.equal(side.lifetime, 60, 'a SYN+ACK still has a SYN')
  side.see(flow, CtDirection.EGRESS, ACK)
  t.equal(side.lifetime, 8000)
  const datagrams = tuple(UDP, 1, 2)
  side.open(datagrams, CtDirection.EGRESS)
  t.equal(side.lifetime, 60)
})

t.test('FIN of one side keeps the connection, of both gives it 10 s', async (t) => {
  const side = new Side()
  const flow = tuple(TCP, 1000, 80)
  side.open(flow, CtDirection.EGRESS, SYN)
  side.see(turned(flow), CtDirection.INGRESS, SYN | ACK)
  side.see(flow, CtDirection.EGRESS, ACK)
  side.see(flow, CtDirection.EGRESS, FIN | ACK)
  t.equal(side.value(Ct.STATE) & CtState.TX_CLOSING, CtState.TX_CLOSING)
  t.equal(side.lifetime, 8000, 'half closed is alive')
  side.see(turned(flow), CtDirection.INGRESS, ACK)
  t.equal(side.lifetime, 8000)
  side.see(turned(flow), CtDirection.INGRESS, FIN | ACK)
  t.equal(side.lifetime, 10)
  side.now += 5
  side.see(flow, CtDirection.EGRESS, ACK)
  t.equal(side.lifetime, 5, 'the last ACK does not extend it')
})

t.test('a RST before both sides sent a SYN closes at once; later it closes its side', async (t) => {
  const refused = new Side()
  const flow = tuple(TCP, 1000, 80)
  refused.open(flow, CtDirection.EGRESS, SYN)
  refused.see(turned(flow), CtDirection.INGRESS, RST | ACK)
  t.equal(refused.lifetime, 10)

  const running = new Side()
  running.open(flow, CtDirection.EGRESS, SYN)
  running.see(turned(flow), CtDirection.INGRESS, SYN | ACK)
  running.see(flow, CtDirection.EGRESS, ACK)
  running.see(turned(flow), CtDirection.INGRESS, RST)
  t.equal(running.value(Ct.STATE) & CtState.RX_CLOSING, CtState.RX_CLOSING)
  t.equal(running.lifetime, 8000)
})

t.test('a SYN on a closing connection is NEW again', async (t) => {
  const side = new Side()
  const flow = tuple(TCP, 1000, 80)
  side.open(flow, CtDirection.EGRESS, SYN)
  side.see(turned(flow), CtDirection.INGRESS, RST | ACK)
  t.equal(side.see(flow, CtDirection.EGRESS, SYN), CtResult.NEW)
  t.equal(side.value(Ct.STATE) & (CtState.RX_CLOSING | CtState.TX_CLOSING), 0)
  t.equal(side.lifetime, 60)
  t.equal(side.see(flow, CtDirection.EGRESS, ACK), CtResult.ESTABLISHED)
})

t.test(
  'an event is due for the first packet, new flags, and once per report interval',
  async (t) => {
    const side = new Side()
    const flow = tuple(TCP, 1000, 80)
    side.open(flow, CtDirection.EGRESS, SYN)
    t.ok(side.ct.isMonitored)
    side.see(flow, CtDirection.EGRESS, ACK)
    t.notOk(side.ct.isMonitored)
    side.now += 6
    side.see(flow, CtDirection.EGRESS, ACK)
    t.ok(side.ct.isMonitored)
    side.see(flow, CtDirection.EGRESS, FIN)
    t.ok(side.ct.isMonitored)
  },
)

t.test('byte counters carry over 2^32', async (t) => {
  const side = new Side()
  const flow = tuple(UDP, 1, 2)
  side.open(flow, CtDirection.EGRESS)
  side.map.words[side.map.valueStart(side.ct.slot) + Ct.BYTES_LOW] = -50
  side.see(flow, CtDirection.EGRESS)
  t.equal(side.value(Ct.BYTES_LOW), 50)
  t.equal(side.value(Ct.BYTES_HIGH), 1)
})

t.test('a quoted packet finds its connection from either side', async (t) => {
  const side = new Side()
  const flow = tuple(UDP, 1000, 53)
  side.open(flow, CtDirection.EGRESS)
  t.equal(side.ct.lookupRelated(flow, 0, CtDirection.INGRESS), CtResult.RELATED)
  t.equal(side.ct.lookupRelated(turned(flow), 0, CtDirection.EGRESS), CtResult.RELATED)
  t.equal(side.ct.lookupRelated(tuple(UDP, 1000, 54), 0, CtDirection.INGRESS), CtResult.NEW)
})

t.test('a full table takes new connections by evicting what would expire first', async (t) => {
  const map = table(64)
  const ct = new Conntrack(map)
  const established = tuple(TCP, 1, 80)
  ct.create(established, 0, flowHash(established, 0, ct.seed), CtDirection.EGRESS, 1, 1, NOW)
  map.words[map.valueStart(ct.slot) + Ct.EXPIRES] = NOW + 8000
  for (let port = 2; port < 1000; port++) {
    ct.beginPacket()
    const flow = tuple(UDP, port, 53)
    t.ok(ct.create(flow, 0, flowHash(flow, 0, ct.seed), CtDirection.EGRESS, 1, 1, NOW))
  }
  t.ok(map.size <= 64)
  t.equal(
    ct.lookup(established, 0, flowHash(established, 0, ct.seed), CtDirection.EGRESS, ACK, 1, NOW),
    CtResult.ESTABLISHED,
  )
})

t.test('the collector deletes what is expired and nothing else, in bounded steps', async (t) => {
  const side = new Side()
  side.open(tuple(UDP, 1, 53), CtDirection.EGRESS)
  side.open(tuple(TCP, 1, 80), CtDirection.EGRESS, SYN)
  side.see(tuple(TCP, 1, 80), CtDirection.EGRESS, ACK)
  const gc = new ConntrackGc(side.map)
  gc.request()
  for (let i = 0; i < 10 && gc.sweeps === 0; i++) gc.step(NOW + 61)
  t.equal(gc.deleted, 1)
  t.equal(side.map.size, 1)
})

t.test('the collection interval adapts within its bounds', async (t) => {
  t.equal(nextInterval(300, 0.5), 150)
  t.equal(nextInterval(300, 1), 30)
  t.equal(nextInterval(12, 1), 10)
  t.equal(nextInterval(300, 0.01), 450)
  t.equal(nextInterval(43_000, 0), 43_200)
  t.equal(nextInterval(300, 0.1), 300)
})

t.test('what another worker clears in the same moment stays cleared', async (t) => {
  const side = new Side()
  const flow = tuple(TCP, 1000, 80)
  side.open(flow, CtDirection.EGRESS, SYN)
  side.see(flow, CtDirection.EGRESS, FIN | ACK)
  t.not(side.value(Ct.STATE) & CtState.TX_CLOSING, 0)
  const or = Atomics.or
  t.teardown(() => {
    Atomics.or = or
  })
  Atomics.or = ((words: Int32Array, index: number, bits: number) => {
    Atomics.or = or
    // The client's SYN, there, begins the connection anew when this worker has read the state.
    Atomics.and(words, index, ~CtState.TX_CLOSING)
    return or(words, index, bits)
  }) as typeof Atomics.or
  side.see(turned(flow), CtDirection.INGRESS, SYN | ACK)
  t.equal(side.value(Ct.STATE) & CtState.TX_CLOSING, 0)
  t.not(side.value(Ct.STATE) & (SYN << RX_FLAGS_SHIFT), 0, 'and what is new was noted')
})

t.test('a connection that took the slot of a service entry gets no backend of it', async (t) => {
  const map = table(8)
  const [mine, theirs] = [new Conntrack(map), new Conntrack(map)]
  const make = (ct: Conntrack, from: number, direction: CtDirection): void => {
    const flow = tuple(UDP, from, 53)
    const hash = flowHash(flow, 0, ct.seed)
    ct.beginPacket()
    ct.lookup(flow, 0, hash, direction, 0, 100, NOW)
    ct.create(flow, 0, hash, direction, 301, 100, NOW)
  }
  make(mine, 1000, CtDirection.SERVICE)
  const { slot } = mine
  t.ok(map.deleteSlot(slot, map.generation(slot)))
  for (let from = 1001; theirs.slot !== slot; from++) {
    if (theirs.slot >= 0) map.deleteSlot(theirs.slot, map.generation(theirs.slot))
    make(theirs, from, CtDirection.EGRESS)
  }
  mine.setBackend(7, 9)
  const entry = map.valueStart(slot)
  t.equal(map.words[entry + Ct.POLICY], 0, 'where a service has its backend')
  t.equal(map.words[entry + Ct.REV_NAT], 0)
})
