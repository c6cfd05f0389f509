/** Places of the flow lane's table: who finds room, who is found, and who has to go. */
import t from 'tap'
import type { Conntrack } from '../../src/conntrack/conntrack.js'
import { VisitedEntries } from '../../src/conntrack/ct-traffic.js'
import { flowAccess } from '../../src/pipeline/flow-access.js'
import { FLOW_SHIFT, NO_FLOW, WAYS } from '../../src/pipeline/flow-layout.js'
import { FlowTable } from '../../src/pipeline/flow-table.js'
import { packA, packB, packC } from '../../src/wire/plain4.js'

const HOME = 0
const INGRESS = (3 << 8) | 17
const NOTHING = new VisitedEntries()

/** Flows that differ in one word of their ends, all with the same home. */
function tableWith(flows: number): FlowTable {
  const table = new FlowTable(4096)
  for (let n = 0; n < flows; n++) {
    table.setTime(100 + n, 0)
    table.insert(HOME, n, 7, 9, INGRESS, NOTHING)
  }
  return table
}

const isKnown = (table: FlowTable, n: number): boolean =>
  table.access.find(HOME, n, 7, 9, INGRESS) !== NO_FLOW

const known = (table: FlowTable, flows: number): number[] =>
  Array.from({ length: flows }, (_, n) => n).filter((n) => isKnown(table, n))

t.test('as many flows as there are ways share a home, and each is found', async (t) => {
  const table = tableWith(WAYS)
  t.equal(known(table, WAYS).length, WAYS)
  t.notOk(isKnown(table, WAYS))
  t.equal(table.access.find(HOME, 0, 7, 9, INGRESS ^ (1 << 8)), NO_FLOW, 'by another port')
})

t.test('one more takes the place of the one that was learned first', async (t) => {
  const table = tableWith(WAYS + 1)
  t.same(known(table, WAYS + 1), [1, 2, 3, 4, 5, 6, 7, 8])
})

t.test('a forgotten flow leaves its place to the next, and hides nobody behind it', async (t) => {
  const table = tableWith(4)
  table.forget(table.access.find(HOME, 1, 7, 9, INGRESS))
  t.same(known(table, 5), [0, 2, 3])
  table.insert(HOME, 4, 7, 9, INGRESS, NOTHING)
  t.same(known(table, 5), [0, 2, 3, 4])
})

t.test('nobody looks behind a place that was never used', async (t) => {
  const table = tableWith(2)
  // By another home: a flow of ours is never put behind a place that was free.
  table.insert(HOME + 3 * 16, 5, 7, 9, INGRESS, NOTHING)
  t.same(known(table, 6), [0, 1])
})

t.test('a flow is looked at again before its count of bytes wraps', async (t) => {
  const { access } = tableWith(1)
  const flow = access.find(HOME, 0, 7, 9, INGRESS)
  access.count(flow, 2 ** 31 - 1)
  t.ok(access.isFresh(flow))
  access.count(flow, 1)
  t.notOk(access.isFresh(flow))
})

/** A flow with one connection, learned at second 100, whose connections answer as told. */
function renewable(relearnedMax: number, home = HOME) {
  const table = new FlowTable(4096)
  const told: number[] = []
  const connections = { isAlive: true }
  const account = (_slot: number, _state: number, packets: number, _b: number, seconds: number) => {
    told.push(packets, seconds)
    return connections.isAlive
  }
  table.serve({ account } as unknown as Conntrack)
  table.relearnedMax = relearnedMax
  const visited = new VisitedEntries()
  visited.add(Int32Array.of(77), 0, 5)
  table.setTime(100, 0)
  const flow = table.insert(home, 1, 2, 3, INGRESS, visited)
  table.access.count(flow, 60)
  return { table, flow, told, connections }
}

t.test('an old flow is renewed when enough others are learned again', async (t) => {
  const { table, flow, told } = renewable(1)
  table.setTime(109, 0)
  t.notOk(table.access.isFresh(flow))
  t.notOk(table.renew(flow), 'the first one of a millisecond is for the chain')
  t.same(told, [])
  t.ok(table.renew(flow))
  t.same(told, [1, 109], 'its connection has heard of its packet, and of the present one')
  t.ok(table.access.isFresh(flow))
})

t.test('a flow is renewed seven times, and after as long as its connections live', async (t) => {
  const { table, flow, connections } = renewable(0)
  for (let n = 1; n <= 7; n++) {
    table.setTime(100 + 9 * n, 0)
    t.ok(table.renew(flow), `${n}`)
  }
  table.setTime(172, 0)
  t.notOk(table.renew(flow), 'then the chain sees it')
  const other = renewable(0)
  other.table.setTime(131, 0)
  t.notOk(other.table.renew(other.flow), 'silent for half a minute')
  other.table.setTime(110, 0)
  other.table.invalidate()
  t.notOk(other.table.renew(other.flow), 'a map has changed')
  const dead = renewable(0)
  dead.connections.isAlive = false
  dead.table.setTime(110, 0)
  t.notOk(dead.table.renew(dead.flow), 'its connection was evicted')
  t.ok(connections.isAlive)
})

t.test('flows that grow old together do so apart the next time, and take turns', async (t) => {
  const flows = 1000
  const { table } = renewable(4)
  const visited = new VisitedEntries()
  visited.add(Int32Array.of(77), 0, 5)
  const learn = (n: number): number =>
    table.insert(table.access.homeOf(n, 2, 3, INGRESS), n, 2, 3, INGRESS, visited)
  const known = Array.from({ length: flows }, (_, n) => learn(n))
  let [inTurn, together] = [0, 0]
  // Each has a packet every five milliseconds.
  for (let now = 108_000; now < 140_000; now++) {
    table.setTime(Math.trunc(now / 1000), (now % 1000) * 1e6)
    let [learned, old] = [0, 0]
    for (let n = now % 5; n < flows; n += 5) {
      if (table.access.isFresh(known[n] as number)) continue
      old++
      if (table.renew(known[n] as number)) continue
      known[n] = learn(n)
      learned++
    }
    inTurn = Math.max(inTurn, learned)
    if (now > 108_005) together = Math.max(together, old)
  }
  t.equal(inTurn, 4)
  t.ok(together <= 20, `${together} in one millisecond, of 200 at first`)
})

t.test('the chain sees a flow once in 72 seconds, however seldom its packets come', async (t) => {
  for (const seconds of [9, 17, 29]) {
    // What the place adds to a flow's age must not add to how long it is renewed.
    for (const place of [0, 1, 77, 1234, 4000]) {
      const { table, flow } = renewable(0, place << FLOW_SHIFT)
      let now = 100
      do {
        now += seconds
        table.setTime(now, 0)
      } while (table.renew(flow) && now < 1000)
      const repeated = now - seconds - 100
      t.ok(repeated > 0 && repeated + 8 <= 72, `${seconds} s apart: repeated until ${repeated} s`)
    }
  }
})

/** Of `flows` between two pods, from one port after the other, in twice as many homes. */
function unplaced(flows: number, seed: number): number {
  const homes = 2 * flows
  const { homeOf } = flowAccess(new Int32Array(0), new Int32Array(0), homes - 1, seed)
  const used = new Uint8Array(homes + WAYS - 1)
  const [client, server] = [0x0a00_0002, 0x0a00_0003]
  let count = 0
  for (let n = 0; n < flows; n++) {
    const [a, b, c] = [packA(client, 53), packB(client, server), packC(server, 1024 + n)]
    const home = homeOf(a, b, c, INGRESS) >> FLOW_SHIFT
    const free = used.subarray(home, home + WAYS).indexOf(0)
    if (free < 0) count++
    else used[home + free] = 1
  }
  return count
}

t.test('flows from neighbouring ports find as much room as any', async (t) => {
  const flows = 2048
  const worst = Math.max(...Array.from({ length: 64 }, (_, n) => unplaced(flows, n * 33_333_333)))
  t.ok(worst < flows * 0.02, `${worst} of ${flows} found none, of random ones 10 to 25 do`)
})

t.test('what nobody hears of is forgotten, and not young when the clock comes round', async (t) => {
  const { table, flow } = renewable(4)
  const sweepAll = (): void => {
    for (let step = 0; step < 300; step++) table.sweep()
  }
  const isKnown = (): boolean => table.access.find(HOME, 1, 2, 3, INGRESS) !== -1
  table.setTime(120, 0)
  sweepAll()
  t.ok(isKnown(), 'it may be renewed yet')
  table.setTime(131, 0)
  sweepAll()
  t.notOk(isKnown())
  table.setTime(100 + 4_294_967, 300_000_000)
  t.notOk(table.access.isFresh(flow))
})
