/** Tables that two workers, real threads here, change at once: a flow's directions may meet different ones. */
import { Worker } from 'node:worker_threads'
import t from 'tap'
import { TokenBuckets } from '../../src/base/token-buckets.js'
import { CLOSING_BOTH, CT_TIMEOUTS, Ct, CtDirection } from '../../src/conntrack/ct-entry.js'
import { flowHash } from '../../src/conntrack/flow-hash.js'
import { EventRing } from '../../src/maps/event-ring.js'
import { LruHashMap } from '../../src/maps/lru-hash-map.js'
import type { MakeMap } from '../../src/maps/map.js'
import { EVENT_WORDS, EventWord } from '../../src/monitor/event.js'
import { EventRings } from '../../src/monitor/event-rings.js'
import { NatMaps } from '../../src/nat/nat-maps.js'
import { PORTS_PER_ROW } from '../../src/nat/nat-protocol.js'
import { natProblems } from '../support/nat-model.js'
import { seededPrng } from '../support/seed.js'
import {
  BUCKET,
  BYTES,
  CONNECTIONS_SPEC,
  FLOWS,
  NAT_FLOWS,
  NAT_SIZES,
  NOW,
  natFlow,
  openConntrack,
  openNat,
  PACKETS,
  runJob,
  type TableJob,
  tupleOf,
} from '../support/table-worker.js'

const prng = seededPrng(t)
const MEETING_BYTES = 64

type Buffers = Record<string, SharedArrayBuffer>

/** Runs a job in two threads, this one and another; what each reports. */
async function inTwoThreads(job: TableJob['job'], own: Buffers): Promise<[number, number]> {
  const buffers = { ...own, meeting: new SharedArrayBuffer(MEETING_BYTES) }
  const [here, there] = [prng.nextInt32(), prng.nextInt32()]
  const workerData: TableJob = { job, side: 1, buffers, seed: there }
  const worker = new Worker(new URL('../support/table-worker.js', import.meta.url), { workerData })
  const report = new Promise<number>((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
  })
  await new Promise((resolve) => worker.once('online', resolve))
  const first = runJob({ job, side: 0, buffers, seed: here })
  return [first, await report]
}

/** Memory for all maps of a NAT, made by the first worker. */
function natBuffers(): Buffers {
  const buffers: Buffers = { marks: new SharedArrayBuffer(3 * PORTS_PER_ROW) }
  const make: MakeMap = (kind, spec) => {
    const buffer = new SharedArrayBuffer(kind.bytesFor(spec))
    buffers[spec.name] = buffer
    return kind.create(spec, buffer)
  }
  const maps = new NatMaps(make, NAT_SIZES)
  maps.settings.set(true, false, 40_000, 40_063)
  return buffers
}

t.test(
  'no packet of a connection is lost from its counters, and both closes are seen',
  async (t) => {
    const table = new SharedArrayBuffer(LruHashMap.bytesFor(CONNECTIONS_SPEC))
    LruHashMap.create(CONNECTIONS_SPEC, table)
    const ct = openConntrack(table)
    for (let n = 0; n < FLOWS; n++) {
      const tuple = tupleOf(n, 0)
      ct.beginPacket()
      ct.create(tuple, 0, flowHash(tuple, 0, ct.seed), CtDirection.EGRESS, 1, BYTES, NOW)
    }
    await inTwoThreads('connections', { table })
    const problems: string[] = []
    const packets = 1 + 2 * (PACKETS + 1)
    for (let n = 0; n < FLOWS; n++) {
      const tuple = tupleOf(n, 0)
      ct.lookup(tuple, 0, flowHash(tuple, 0, ct.seed), CtDirection.EGRESS_FORWARD, 0, 0, NOW)
      const value = ct.valueStart(ct.slot)
      const at = (word: number): number => ct.words[value + word] as number
      const bytes = (at(Ct.BYTES_HIGH) >>> 0) * 2 ** 32 + (at(Ct.BYTES_LOW) >>> 0)
      // One more for the look just now.
      if (at(Ct.PACKETS) !== packets + 1) problems.push(`${n}: ${at(Ct.PACKETS)} packets`)
      if (bytes !== packets * BYTES) problems.push(`${n}: ${bytes} bytes`)
      if ((at(Ct.STATE) & CLOSING_BOTH) !== CLOSING_BOTH) problems.push(`${n}: not closed by both`)
      if (at(Ct.EXPIRES) !== NOW + CT_TIMEOUTS.closeSeconds) problems.push(`${n}: lives on`)
    }
    t.same(problems, [])
  },
)

t.test('two workers that begin a flow give it one port, and no port to two flows', async (t) => {
  for (let round = 0; round < 5; round++) {
    const buffers = natBuffers()
    buffers.ports = new SharedArrayBuffer(2 * NAT_FLOWS * 4)
    openNat(buffers, 1, 0)
    await inTwoThreads('flows', buffers)
    const ports = new Int32Array(buffers.ports)
    const owners = new Map<string, number>()
    const problems: string[] = []
    for (let n = 0; n < NAT_FLOWS; n++) {
      const port = ports[n]
      if (port !== ports[NAT_FLOWS + n])
        problems.push(`flow ${n}: ${port}, ${ports[NAT_FLOWS + n]}`)
      const { protocol, destination } = natFlow(n)
      const place = `${protocol} ${destination} ${port}`
      const owner = owners.get(place)
      const isOther =
        owner !== undefined && JSON.stringify(natFlow(owner)) !== JSON.stringify(natFlow(n))
      if (port !== -1 && isOther) problems.push(`flows ${owner} and ${n} have ${place}`)
      owners.set(place, n)
    }
    const { maps } = openNat(buffers, 1, 1)
    problems.push(...natProblems(maps, new Uint8Array(buffers.marks as SharedArrayBuffer)))
    t.same(problems, [])
  }
})

t.test(
  'ports in use and their marks are as the mappings are, however they come and go',
  async (t) => {
    for (let round = 0; round < 3; round++) {
      const buffers = natBuffers()
      openNat(buffers, 1, 0)
      await inTwoThreads('mappings', buffers)
      const { maps } = openNat(buffers, 1, 1)
      t.same(natProblems(maps, new Uint8Array(buffers.marks as SharedArrayBuffer)), [])
    }
  },
)

t.test('a limit is one limit for both workers', async (t) => {
  const buckets = new SharedArrayBuffer(TokenBuckets.bytesFor(BUCKET.count))
  const [here, there] = await inTwoThreads('buckets', { buckets })
  const most = BUCKET.size + BUCKET.perSecond * BUCKET.seconds
  t.ok(here + there <= most, `${here} and ${there} of ${most}`)
  t.ok(here + there > most * 0.7, `${here} and ${there} of ${most}`)
})

t.test('events of several workers come in the order of their times', async (t) => {
  const spec = {
    name: 'e',
    type: 'event-ring',
    keyWords: 0,
    valueWords: EVENT_WORDS,
    maxEntries: 64,
  } as const
  const rings = [0, 1, 2].map(() =>
    EventRing.create(spec, new SharedArrayBuffer(EventRing.bytesFor(spec))),
  )
  const events = new EventRings(rings)
  const times = Array.from({ length: 100 }, (_, i) => i)
  for (const time of times) {
    const ring = rings[prng.below(3)] as EventRing
    const at = ring.reserve()
    ring.words[at + EventWord.SECONDS] = Math.floor(time / 10)
    ring.words[at + EventWord.NANOSECONDS] = time % 10
    ring.commit()
  }
  t.equal(events.size, 100)
  const event = new Int32Array(EVENT_WORDS)
  const seen: number[] = []
  while (events.read(event)) {
    seen.push((event[EventWord.SECONDS] ?? 0) * 10 + (event[EventWord.NANOSECONDS] ?? 0))
  }
  t.same(seen, times)
})
