/**
 * The other thread of maps-threads.test.ts: does one job on shared maps until it is told to stop,
 * and reports a count.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { Prng } from '../../src/base/prng.js'
import { EventRing, NO_ROOM } from '../../src/maps/event-ring.js'
import { HashMap } from '../../src/maps/hash-map.js'
import { LpmMap } from '../../src/maps/lpm-map.js'
import { LruHashMap } from '../../src/maps/lru-hash-map.js'
import { FULL, UpdateFlag } from '../../src/maps/map.js'
import { fillKey } from './map-model.js'

export interface MapJob {
  readonly job: keyof typeof JOBS
  readonly buffer: SharedArrayBuffer
  /** [0] told to stop, [1] has begun. */
  readonly control: SharedArrayBuffer
  readonly seed: number
  /** Keys are taken from this many. */
  readonly kinds: number
}

const BURST = 100

/** A value that tells its key, and is the same word over and over, so that a mixture shows. */
export function fillOwnValue(value: Int32Array, kind: number, version: number): Int32Array {
  value[0] = kind
  for (let i = 1; i < value.length; i++) value[i] = version
  return value
}

/** Inserts, updates and deletes entries of any key at random. */
export function churn(map: HashMap | LruHashMap, prng: Prng, kinds: number, count: number): void {
  const key = new Int32Array(map.spec.keyWords)
  const value = new Int32Array(map.spec.valueWords)
  for (let i = 0; i < count; i++) {
    const kind = prng.below(kinds)
    fillKey(key, kind)
    if (prng.chance(0.4)) map.delete(key)
    else map.update(key, fillOwnValue(value, kind, prng.nextInt32()), UpdateFlag.ANY)
  }
}

/**
 * Addresses of 10.0.0.0/16 get longer prefixes and lose them; other prefixes take the tables they
 * leave.
 */
export const LpmTruth = { SHORT: 16, MIDDLE: 24, LONG: 32, OTHER: 666 } as const

export function churnPrefixes(map: LpmMap, prng: Prng, count: number): number {
  const value = new Int32Array(2)
  let refused = 0
  const change = (word: number, bits: number, truth: number): void => {
    const address = Int32Array.of(0, 0, 0xffff, word)
    if (prng.chance(0.5)) map.delete(address, 96 + bits)
    else if (map.update(address, 96 + bits, value.fill(truth)) === FULL) refused++
  }
  for (let i = 0; i < count; i++) {
    change(0x0a000000 | (prng.below(2) << 8), 24, LpmTruth.MIDDLE)
    change(0x0a000000 | (prng.below(2) << 8) | prng.below(4), 32, LpmTruth.LONG)
    change((prng.below(100) + 20) << 24, 32, LpmTruth.OTHER)
  }
  return refused
}

function produce(ring: EventRing, from: number, count: number): number {
  for (let number = from; number < from + count; number++) {
    const at = ring.reserve()
    if (at === NO_ROOM) continue
    for (let i = 0; i < ring.spec.valueWords; i++) ring.words[at + i] = number
    ring.commit()
  }
  return from + count
}

const JOBS = {
  hash: (data: MapJob, prng: Prng) => {
    const map = HashMap.open(data.buffer)
    return () => churn(map, prng, data.kinds, BURST)
  },
  lru: (data: MapJob, prng: Prng) => {
    const map = LruHashMap.open(data.buffer)
    return () => churn(map, prng, data.kinds, BURST)
  },
  lpm: (data: MapJob, prng: Prng) => {
    const map = LpmMap.open(data.buffer)
    return () => churnPrefixes(map, prng, BURST)
  },
  ring: (data: MapJob) => {
    const ring = EventRing.open(data.buffer)
    let next = 0
    return () => {
      next = produce(ring, next, BURST)
    }
  },
}

if (parentPort !== null) {
  const data = workerData as MapJob
  const control = new Int32Array(data.control)
  const step = JOBS[data.job](data, new Prng(data.seed))
  let done = 0
  while (Atomics.load(control, 0) === 0) {
    step()
    done += BURST
    Atomics.store(control, 1, 1)
  }
  parentPort.postMessage(done)
}
