/**
 * What it costs that several workers have the tables (docs/adr/0015): locks and atomic counting, by one
 * thread alone. With another thread on the same words each costs the transfer of a cache line more.
 */
import { TokenBuckets } from '../src/base/token-buckets.js'
import { countTraffic, countTrafficShared } from '../src/conntrack/ct-traffic.js'
import { ArrayMap } from '../src/maps/array-map.js'
import { HEADER_WORDS } from '../src/maps/map-header.js'
import { SegmentLocks } from '../src/maps/segment-lock.js'
import { NatRow } from '../src/nat/nat-protocol.js'
import { NAT_PORT_USE_SPEC, PortUse } from '../src/nat/port-use.js'
import type { Measure } from './micro-maps.js'

const OPERATIONS = 1_000
/** Entries that take turns, all in the first-level cache. */
const ENTRIES = 256
const ENTRY_WORDS = 16
const BYTES = 1_500

export function sharingMeasures(): Measure[] {
  return [lockMeasure(), flagMeasure(), ...trafficMeasures(), portMeasure(), bucketMeasure()]
}

function repeated(name: string, step: (i: number) => number): Measure {
  const pass = (): number => {
    let sum = 0
    for (let i = 0; i < OPERATIONS; i++) sum = (sum + step(i)) | 0
    return sum
  }
  return { name, operations: OPERATIONS, pass }
}

function lockMeasure(): Measure {
  const words = new Int32Array(new SharedArrayBuffer((HEADER_WORDS + 4 * ENTRIES) * 4))
  const locks = new SegmentLocks(words, HEADER_WORDS, {})
  return repeated('sharing/segment lock', (i) => {
    const segment = i & (ENTRIES - 1)
    locks.acquire(segment)
    return locks.release(segment) ? 1 : 0
  })
}

const entries = (): Int32Array => new Int32Array(new SharedArrayBuffer(ENTRIES * ENTRY_WORDS * 4))

function flagMeasure(): Measure {
  const words = entries()
  return repeated('sharing/flag', (i) => Atomics.or(words, (i & (ENTRIES - 1)) * ENTRY_WORDS, i))
}

function trafficMeasures(): Measure[] {
  const words = entries()
  const entry = (i: number): number => (i & (ENTRIES - 1)) * ENTRY_WORDS
  return [
    repeated('sharing/count alone', (i) => {
      countTraffic(words, entry(i), 1, BYTES)
      return i
    }),
    repeated('sharing/count shared', (i) => {
      countTrafficShared(words, entry(i), 1, BYTES)
      return i
    }),
  ]
}

function portMeasure(): Measure {
  const memory = new SharedArrayBuffer(ArrayMap.bytesFor(NAT_PORT_USE_SPEC))
  const use = new PortUse(ArrayMap.create(NAT_PORT_USE_SPEC, memory))
  return repeated('sharing/port taken and given', (i) => {
    use.take(NatRow.TCP, i)
    use.release(NatRow.TCP, i)
    return i
  })
}

function bucketMeasure(): Measure {
  const memory = new SharedArrayBuffer(TokenBuckets.bytesFor(ENTRIES))
  const buckets = new TokenBuckets(ENTRIES, memory)
  return repeated('sharing/bucket', (i) =>
    buckets.take(i & (ENTRIES - 1), 1e9, 1e9, 1, 0, BYTES) ? 1 : 0,
  )
}
