/** How full tables are, who fills them, and what is done about it. */
import t from 'tap'
import { Conntrack } from '../../src/conntrack/conntrack.js'
import { Ct, CtDirection, conntrack4Spec } from '../../src/conntrack/ct-entry.js'
import { ConntrackGc } from '../../src/conntrack/ct-gc.js'
import { flowHash } from '../../src/conntrack/flow-hash.js'
import { FragmentTable, fragmentsSpec } from '../../src/conntrack/fragment-table.js'
import { EventRing } from '../../src/maps/event-ring.js'
import { HashMap } from '../../src/maps/hash-map.js'
import { LpmMap } from '../../src/maps/lpm-map.js'
import { LruHashMap } from '../../src/maps/lru-hash-map.js'
import { type FixedMap, type MapKind, type MapSpec, UpdateFlag } from '../../src/maps/map.js'
import { readPressure, type TablePressure } from '../../src/monitor/pressure.js'
import { connectionSource, mappingSource, readTopSources } from '../../src/monitor/top-sources.js'
import { SnatDirection, snat4Spec } from '../../src/nat/snat-entry.js'
import { seededPrng } from '../support/seed.js'
import { ip } from '../support/service-node.js'
import { TestNode } from '../support/test-node.js'

const UDP = 17
const NOW = 1000

const made = <M>(kind: MapKind<M>, spec: MapSpec): M =>
  kind.create(spec, new SharedArrayBuffer(kind.bytesFor(spec)))

const of = (map: FixedMap): TablePressure => {
  const [pressure] = readPressure([map])
  if (pressure === undefined) throw new Error('nothing was read')
  return pressure
}

function open(ct: Conntrack, source: number, port: number): void {
  const flow = Int32Array.of(0, 0, 0xffff, source, 0, 0, 0xffff, 9, (port << 16) | 53, UDP)
  ct.beginPacket()
  ct.create(flow, 0, flowHash(flow, 0, ct.seed), CtDirection.EGRESS, 1, 1, NOW)
}

t.test(
  'a full hash refuses, an LRU evicts, a ring loses: each counted under its name',
  async (t) => {
    const shape = { keyWords: 1, valueWords: 1, maxEntries: 8 } as const
    const hash = made(HashMap, { ...shape, name: 'policy', type: 'hash' })
    const lru = made(LruHashMap, { ...shape, name: 'ct4', type: 'lru-hash' })
    const lpm = made(LpmMap, { ...shape, keyWords: 4, name: 'ipcache', type: 'lpm' })
    const ring = made(EventRing, { ...shape, keyWords: 0, name: 'events', type: 'event-ring' })
    const value = Int32Array.of(1)
    for (let i = 0; i < 10; i++) {
      hash.update(Int32Array.of(i), value, UpdateFlag.ANY)
      lru.update(Int32Array.of(i), value, UpdateFlag.ANY)
      lpm.update(Int32Array.of(0, 0, 0xffff, i << 24), 128, value)
      if (ring.reserve() >= 0) ring.commit()
    }
    const full = { entries: 8, capacity: 8, pressure: 1 }
    t.match(of(hash), { name: 'policy', ...full, refused: 2, evicted: 0 })
    t.match(of(lru), { name: 'ct4', ...full, refused: 0, evicted: 2 })
    t.match(of(lpm), { name: 'ipcache', ...full, refused: 2 })
    t.match(of(ring), { name: 'events', ...full, refused: 2 })
    hash.delete(Int32Array.of(1))
    t.match(of(hash), { entries: 7, pressure: 7 / 8, refused: 2 })
  },
)

t.test('a node’s tables all tell their pressure, from another handle as well', async (t) => {
  const node = new TestNode()
  const [client, server] = [node.pod(), node.pod()]
  node.send(client.port, ip(client, server.address).udp({ from: 1, to: 2 }).bytes())
  const names = readPressure(node.maps.tables).map(({ name }) => name)
  for (const name of ['ct4', 'snat4', 'policy', 'ipcache', 'fragments', 'events', 'routes']) {
    t.ok(names.includes(name), name)
  }
  const again = LruHashMap.open(node.maps.conntrackTable.words.buffer)
  t.match(of(again), { name: 'ct4', entries: 2, capacity: 4096 })
  node.close()
})

t.test(
  'a table that begins to evict is swept at once: the dead go before the living',
  async (t) => {
    const map = made(LruHashMap, conntrack4Spec(64))
    const ct = new Conntrack(map)
    const gc = new ConntrackGc(map)
    const sweep = (now: number) => {
      for (let i = 0; i < 5; i++) gc.step(now)
    }
    for (let port = 0; port < 64; port++) open(ct, 1, port)
    sweep(NOW)
    t.equal(gc.sweeps, 0, 'full is not yet a reason')
    open(ct, 1, 64)
    t.equal(map.evictions, 1)
    for (const slot of map.slots()) {
      if (slot % 2 === 0) map.words[map.valueStart(slot) + Ct.EXPIRES] = NOW - 1
    }
    const dead = [...map.slots()].filter((slot) => slot % 2 === 0).length
    sweep(NOW)
    t.equal(gc.sweeps, 1)
    t.equal(map.size, 64 - dead)
    t.match(of(map), { sweeps: 1, collected: dead, sweepSeconds: gc.intervalSeconds })
    t.ok(gc.intervalSeconds < 300, 'and the next comes sooner')

    for (let port = 100; port < 200; port++) open(ct, 1, port)
    sweep(NOW + 9)
    t.equal(gc.sweeps, 1, 'not again within ten seconds')
    sweep(NOW + 10)
    t.equal(gc.sweeps, 2)
    sweep(NOW + 11)
    t.equal(gc.sweeps, 2)
  },
)

t.test('a step looks at no more than 1024 slots, however large the table', async (t) => {
  const map = made(LruHashMap, conntrack4Spec(8192))
  const gc = new ConntrackGc(map)
  gc.request()
  let steps = 0
  while (gc.sweeps === 0) {
    gc.step(NOW)
    steps++
  }
  t.equal(steps, map.slotCount / 1024)
})

t.test('ports of fragments are collected when their time is over', async (t) => {
  const map = made(LruHashMap, fragmentsSpec(64))
  const table = new FragmentTable(map)
  const gc = new ConntrackGc(map)
  const flow = Int32Array.of(0, 0, 0xffff, 1, 0, 0, 0xffff, 2, (5 << 16) | 6, UDP)
  table.store(flow, 0, 1, NOW)
  table.store(flow, 0, 2, NOW + 300)
  gc.step(NOW)
  gc.step(NOW + 300)
  t.equal(map.size, 1)
  t.ok(table.find(flow, 0, 2, NOW + 301))
})

t.test('who fills the connection table is told, with the exact numbers', async (t) => {
  const map = made(LruHashMap, conntrack4Spec(4096))
  const ct = new Conntrack(map)
  for (let port = 0; port < 500; port++) open(ct, 0x0a000101, port)
  for (let port = 0; port < 200; port++) open(ct, 0x0a000102, port)
  for (let source = 0; source < 700; source++) open(ct, 0x0a010000 + source, 1)
  const all = await readTopSources(map, connectionSource, { limit: 2 })
  const expected = [
    { address4: 0x0a000101, entries: 500 },
    { address4: 0x0a000102, entries: 200 },
  ]
  t.same(all, { entries: 1400, sources: expected })
  const few = await readTopSources(map, connectionSource, { limit: 2, candidates: 16 })
  t.same(few, { entries: 1400, sources: expected }, 'with 16 candidates for 702 sources as well')
})

t.test('no source with more than its share is missed, whatever the others are', async (t) => {
  const random = seededPrng(t)
  const map = made(LruHashMap, conntrack4Spec(2048))
  const ct = new Conntrack(map)
  const counts = new Map<number, number>()
  for (let i = 0; i < 1500; i++) {
    const source = 1 + random.below(1 + random.below(300))
    open(ct, source, i)
    counts.set(source, (counts.get(source) ?? 0) + 1)
  }
  const candidates = 20
  const { sources, entries } = await readTopSources(map, connectionSource, {
    limit: 99,
    candidates,
  })
  t.equal(entries, 1500)
  for (const { address4, entries } of sources) t.equal(entries, counts.get(address4))
  for (const [source, count] of counts) {
    if (count <= 1500 / candidates) continue
    t.ok(
      sources.some(({ address4 }) => address4 === source),
      `${source} has ${count}`,
    )
  }
})

t.test('of a NAT mapping both halves are the sender’s behind it', async (t) => {
  const map = made(LruHashMap, snat4Spec(64))
  const key = (from: number, to: number, direction: number) =>
    Int32Array.of(from, to, 7, UDP | direction)
  const [pod, world, nat] = [1, 2, 3]
  map.update(key(pod, world, SnatDirection.OUT), Int32Array.of(nat, 9, 0, 0, 0), UpdateFlag.ANY)
  map.update(key(world, nat, SnatDirection.IN), Int32Array.of(pod, 9, 0, 0, 0), UpdateFlag.ANY)
  const { sources } = await readTopSources(map, mappingSource)
  t.same(sources, [{ address4: pod, entries: 2 }])
})
