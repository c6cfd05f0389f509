/**
 * The other worker of workers-tables.test.ts: does the same as the first one, or its counterpart, on
 * the same tables, at the same time.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { Prng } from '../../src/base/prng.js'
import { TokenBuckets } from '../../src/base/token-buckets.js'
import { Conntrack } from '../../src/conntrack/conntrack.js'
import { CT_TIMEOUTS, CtDirection, conntrack4Spec } from '../../src/conntrack/ct-entry.js'
import { flowHash } from '../../src/conntrack/flow-hash.js'
import { LruHashMap } from '../../src/maps/lru-hash-map.js'
import type { MakeMap } from '../../src/maps/map.js'
import { isBlank } from '../../src/maps/map-header.js'
import { NatMaps } from '../../src/nat/nat-maps.js'
import type { SourceNat } from '../../src/nat/source-nat.js'
import { IPV4_MAPPED } from '../../src/wire/tuple.js'
import { requestOf } from './nat-model.js'

export const NOW = 1000
const ACK = 0x10
const FIN = 0x01
const TCP = 6
const UDP = 17

/** Rounds of packets by each side of each connection. */
export const FLOWS = 64
export const PACKETS = 40
export const BYTES = 0x0400_0001
const CLIENT4 = 0x0a00_0101
const SERVER4 = 0x0a00_0102

/** What both threads have. */
export interface TableJob {
  readonly job: 'connections' | 'flows' | 'mappings' | 'buckets'
  /** 0 or 1. */
  readonly side: number
  /** By name, all of them shared. */
  readonly buffers: Readonly<Record<string, SharedArrayBuffer>>
  readonly seed: number
}

/** Both threads leave it together. Word 0 counts those who came. */
export class Meeting {
  readonly #words: Int32Array
  #next = 0

  constructor(buffer: ArrayBufferLike) {
    this.#words = new Int32Array(buffer)
  }

  await(): void {
    this.#next += 2
    Atomics.add(this.#words, 0, 1)
    Atomics.notify(this.#words, 0)
    for (;;) {
      const come = Atomics.load(this.#words, 0)
      if (come >= this.#next) return
      Atomics.wait(this.#words, 0, come, 1)
    }
  }
}

export const CONNECTIONS_SPEC = conntrack4Spec(1024)

export function openConntrack(buffer: ArrayBufferLike): Conntrack {
  const table = LruHashMap.open(buffer, CONNECTIONS_SPEC)
  return new Conntrack(table, CT_TIMEOUTS, true)
}

/** Of flow `n`, as its client sends (side 0) or its server answers (side 1). */
export function tupleOf(n: number, side: number): Int32Array {
  const client = 1000 + n
  return side === 0
    ? Int32Array.of(
        0,
        0,
        IPV4_MAPPED,
        CLIENT4,
        0,
        0,
        IPV4_MAPPED,
        SERVER4,
        (client << 16) | 80,
        TCP,
      )
    : Int32Array.of(
        0,
        0,
        IPV4_MAPPED,
        SERVER4,
        0,
        0,
        IPV4_MAPPED,
        CLIENT4,
        (80 << 16) | client,
        TCP,
      )
}

/** One side of all connections: data, and then both sides close at once. */
function converse(job: TableJob, meeting: Meeting): number {
  const ct = openConntrack(job.buffers.table as SharedArrayBuffer)
  const direction = job.side === 0 ? CtDirection.EGRESS : CtDirection.INGRESS
  const see = (n: number, flags: number): void => {
    const tuple = tupleOf(n, job.side)
    ct.beginPacket()
    ct.lookup(tuple, 0, flowHash(tuple, 0, ct.seed), direction, flags, BYTES, NOW)
  }
  meeting.await()
  for (let round = 0; round < PACKETS; round++) for (let n = 0; n < FLOWS; n++) see(n, ACK)
  for (let n = 0; n < FLOWS; n++) {
    meeting.await()
    see(n, FIN | ACK)
  }
  return FLOWS * (PACKETS + 1)
}

export function openNat(buffers: TableJob['buffers'], seed: number, worker: number) {
  const make: MakeMap = (kind, spec) => {
    const buffer = buffers[spec.name]
    if (buffer === undefined) throw new Error(`no memory for ${spec.name}`)
    return isBlank(buffer) ? kind.create(spec, buffer) : kind.open(buffer, spec)
  }
  const maps = new NatMaps(make, NAT_SIZES)
  const nat = maps.sourceNat(worker, new Prng(seed))
  nat.portUse.attach(new Uint8Array(buffers.marks as SharedArrayBuffer))
  return { maps, nat }
}

export const NAT_SIZES = { snat: 4096, destinations: 256 }
export const NAT_ADDRESS4 = 0x5000_0001
const DESTINATION4 = 0x5100_0000
export const NAT_FLOWS = 120
const NAT_STEPS = 6_000

/** Flows of six pods to two destinations, all from a few ports. */
export const natFlow = (n: number) => ({
  protocol: n & 1 ? TCP : UDP,
  source: CLIENT4 + (n % 6),
  sourcePort: 40_000 + (n % 20),
  destination: DESTINATION4 + (n % 2),
  port: 53,
})

function forward(nat: SourceNat, n: number): number {
  const mapped = nat.forward(requestOf(natFlow(n)), 0, NAT_ADDRESS4, 0, ACK, NOW)
  return mapped ? nat.port : -1
}

/** Begins all flows, in an order of its own; the ports it got go into its half of `ports`. */
function begin(job: TableJob, meeting: Meeting): number {
  const { nat } = openNat(job.buffers, job.seed, job.side)
  const ports = new Int32Array(job.buffers.ports as SharedArrayBuffer)
  meeting.await()
  for (let n = 0; n < NAT_FLOWS; n++) {
    // Both begin the same flow in the same moment, as often as the machine lets them.
    if (n % 8 === 0) meeting.await()
    ports[job.side * NAT_FLOWS + n] = forward(nat, n)
  }
  return NAT_FLOWS
}

/** Begins flows, drops the packets of some, and takes halves away, at random. */
function churn(job: TableJob, meeting: Meeting): number {
  const { nat, maps } = openNat(job.buffers, job.seed, job.side)
  const prng = new Prng(job.seed)
  const key = new Int32Array(maps.snat.spec.keyWords)
  const value = new Int32Array(maps.snat.spec.valueWords)
  meeting.await()
  for (let step = 0; step < NAT_STEPS; step++) {
    if (prng.chance(0.6)) {
      nat.beginPacket()
      forward(nat, prng.below(NAT_FLOWS))
      if (prng.chance(0.3)) nat.undo()
      continue
    }
    const slot = prng.below(maps.snat.slotCount)
    const generation = maps.snat.generation(slot)
    if (generation !== 0 && maps.snat.read(slot, key, value))
      nat.mappings.remove(slot, generation, key)
  }
  return NAT_STEPS
}

export const BUCKET = { count: 2, perSecond: 1000, size: 500, seconds: 20 }

/** Takes as much as there is, in the time of a clock that both threads see alike. */
function drain(job: TableJob, meeting: Meeting): number {
  const buckets = new TokenBuckets(BUCKET.count, job.buffers.buckets as SharedArrayBuffer)
  let taken = 0
  meeting.await()
  for (let second = 1; second <= BUCKET.seconds; second++) {
    for (let tenth = 0; tenth < 10; tenth++) {
      const nanoseconds = tenth * 100_000_000
      for (let i = 0; i < 200; i++) {
        if (buckets.take(1, BUCKET.perSecond, BUCKET.size, second, nanoseconds)) taken++
      }
    }
    meeting.await()
  }
  return taken
}

const JOBS = { connections: converse, flows: begin, mappings: churn, buckets: drain }

/** What each of the two threads does. */
export function runJob(job: TableJob): number {
  const meeting = new Meeting(job.buffers.meeting as SharedArrayBuffer)
  return JOBS[job.job](job, meeting)
}

if (parentPort !== null) parentPort.postMessage(runJob(workerData as TableJob))
