/**
 * The maps by themselves: nanoseconds per operation, one thread, nobody else on the map. Keys are
 * taken in order and lie at random places of the map, so that at many entries each operation pays
 * its own cache misses; the datapath overlaps them (`touch`).
 *
 * Entries are those of connection tracking at their widest: ten words of key, 128 bytes in all.
 */
import { performance } from 'node:perf_hooks'
import { Prng } from '../src/base/prng.js'
import { CounterMap } from '../src/maps/counter-map.js'
import { EventRing } from '../src/maps/event-ring.js'
import { HashMap } from '../src/maps/hash-map.js'
import { LpmMap } from '../src/maps/lpm-map.js'
import { LruHashMap } from '../src/maps/lru-hash-map.js'
import { type MapSpec, MapType, NOT_FOUND, UpdateFlag } from '../src/maps/map.js'
import type { Benchmark, BenchOptions } from './lib/benchmark.js'
import { type BenchResult, summarize } from './lib/result.js'
import { sharingMeasures } from './micro-sharing.js'

const ENTRIES = {
  full: [1, 1000, 100_000, 1_000_000],
  quick: [1, 1000, 100_000],
  smoke: [1, 100],
} as const
/** Operations of one run, at least; whole passes over the keys. */
const OPERATIONS = { full: 2_000_000, quick: 500_000, smoke: 1000 } as const
const KEY_WORDS = 10
const VALUE_WORDS = 21
const ADDRESS_WORDS = 4
const EVENT_WORDS = 64
const EVENTS = 1024
const COUNTERS = 2048
const SEED = 1
/** Operations of a pass at least, where the same one may be repeated. */
const REPEATS_MIN = 500
const NANOSECONDS = 1e6

const value = new Int32Array(VALUE_WORDS)
const scratch = new Int32Array(KEY_WORDS)

/** One measure: `pass` does so many operations and answers with something that needs them all. */
export interface Measure {
  readonly name: string
  readonly operations: number
  pass(): number
  /** Untimed, before each pass. */
  prepare?(): void
}

export const mapsBenchmark: Benchmark = {
  name: 'maps',
  isLong: true,

  problem: () => Promise.resolve(undefined),

  async run(options: BenchOptions): Promise<BenchResult[]> {
    const results: BenchResult[] = []
    // One size after the other, so that the memory of only one is held; within it they take turns.
    for (const entries of ENTRIES[options.size]) {
      results.push(...runMeasures([...hashMeasures(entries), ...lpmMeasures(entries)], options))
    }
    results.push(...runMeasures([counterMeasure(), eventMeasure(), ...sharingMeasures()], options))
    return results
  },
}

function runMeasures(measures: readonly Measure[], options: BenchOptions): BenchResult[] {
  const operations = OPERATIONS[options.size]
  for (const measure of measures) time(measure, operations / 4)
  const values = measures.map(() => [] as number[])
  const sums = measures.map(() => 0)
  for (let round = 0; round < options.rounds; round++) {
    for (const [i, measure] of measures.entries()) {
      const { nanoseconds, sum } = time(measure, operations)
      values[i]?.push(nanoseconds)
      sums[i] = sum
    }
  }
  return measures.map(({ name }, i) =>
    summarize({
      name: `maps/${name}`,
      unit: 'ns/op',
      values: values[i] ?? [],
      note: `sum ${sums[i]}`,
    }),
  )
}

/** Nanoseconds per operation, over as many passes as make `operations`. */
function time(measure: Measure, operations: number): { nanoseconds: number; sum: number } {
  const passes = Math.ceil(operations / measure.operations)
  const { prepare } = measure
  let sum = 0
  let milliseconds = 0
  if (prepare === undefined) {
    const begin = performance.now()
    for (let pass = 0; pass < passes; pass++) sum = (sum + measure.pass()) | 0
    milliseconds = performance.now() - begin
  } else {
    for (let pass = 0; pass < passes; pass++) {
      prepare()
      const begin = performance.now()
      sum = (sum + measure.pass()) | 0
      milliseconds += performance.now() - begin
    }
    milliseconds = Math.max(0, milliseconds - clockMilliseconds(passes))
  }
  return { nanoseconds: (milliseconds * NANOSECONDS) / (passes * measure.operations), sum }
}

/** What reading the clock adds to that many passes; it counts where a pass is one operation. */
function clockMilliseconds(passes: number): number {
  let milliseconds = 0
  for (let pass = 0; pass < passes; pass++) {
    const begin = performance.now()
    milliseconds += performance.now() - begin
  }
  return milliseconds
}

const sizeName = (count: number): string =>
  count >= 1_000_000 ? `${count / 1_000_000}M` : count >= 1000 ? `${count / 1000}k` : `${count}`

/** Keys such as flows have: few bits differ, none repeats; odd `side` gives others than even. */
function flowKeys(count: number, side: number): Int32Array {
  const keys = new Int32Array(count * KEY_WORDS)
  for (let i = 0; i < count; i++) {
    const at = i * KEY_WORDS
    keys[at + 2] = 0xffff
    keys[at + 3] = 0x0a000000 | (i >>> 10)
    keys[at + 6] = 0xffff
    keys[at + 7] = 0x0a010001
    keys[at + 8] = ((1024 + (i & 0x3ff)) << 16) | 443
    keys[at + 9] = 6 | (side << 8)
  }
  return keys
}

function flowSpec(type: MapType, maxEntries: number): MapSpec {
  return { name: 'bench', type, keyWords: KEY_WORDS, valueWords: VALUE_WORDS, maxEntries }
}

/** The same again and again where it is short, so that the loop around it does not count. */
function repeated(words: Int32Array, stride: number): Int32Array {
  const times = Math.ceil((REPEATS_MIN * stride) / words.length)
  const all = new Int32Array(times * words.length)
  for (let i = 0; i < times; i++) all.set(words, i * words.length)
  return all
}

function insertAll(map: HashMap | LruHashMap, keys: Int32Array): number {
  let sum = 0
  for (let at = 0; at < keys.length; at += KEY_WORDS) {
    for (let i = 0; i < KEY_WORDS; i++) scratch[i] = keys[at + i] as number
    value[0] = at
    sum = (sum + map.update(scratch, value, UpdateFlag.ANY)) | 0
  }
  return sum
}

function deleteAll(map: HashMap, keys: Int32Array): number {
  let deleted = 0
  for (let at = 0; at < keys.length; at += KEY_WORDS) if (map.delete(keys, at)) deleted++
  return deleted
}

/** Looks every key up; each must be there, or none. */
function lookupAll(map: HashMap, keys: Int32Array, isThere: boolean): number {
  let sum = 0
  let found = 0
  for (let at = 0; at < keys.length; at += KEY_WORDS) {
    const slot = map.lookup(keys, at)
    if (slot !== NOT_FOUND) {
      found++
      sum = (sum + (map.words[map.valueStart(slot)] as number)) | 0
    }
  }
  if (found !== (isThere ? keys.length / KEY_WORDS : 0)) throw new Error(`found ${found}`)
  return sum
}

function hashMeasures(entries: number): Measure[] {
  const keys = flowKeys(entries, 0)
  const others = flowKeys(entries, 1)
  const spec = flowSpec(MapType.HASH, entries)
  const map = HashMap.create(spec, new SharedArrayBuffer(HashMap.bytesFor(spec)), { seed: SEED })
  const lruSpec = flowSpec(MapType.LRU_HASH, entries)
  const lruBuffer = new SharedArrayBuffer(LruHashMap.bytesFor(lruSpec))
  const lru = LruHashMap.create(lruSpec, lruBuffer, { seed: SEED })
  insertAll(lru, keys)
  insertAll(map, keys)
  let turn = 0
  const fill = () => {
    if (map.size === 0) insertAll(map, keys)
  }
  const clear = () => {
    if (map.size > 0) deleteAll(map, keys)
  }
  const asked = repeated(keys, KEY_WORDS)
  const missed = repeated(others, KEY_WORDS)
  const measure = (
    name: string,
    operations: number,
    pass: () => number,
    prepare?: () => void,
  ): Measure => ({
    name: `${name}/${sizeName(entries)}`,
    operations,
    pass,
    ...(prepare === undefined ? {} : { prepare }),
  })
  const repeats = asked.length / KEY_WORDS
  // The order matters: the map is full of `keys` before the first and after the last.
  return [
    measure('hash/hit', repeats, () => lookupAll(map, asked, true)),
    measure('hash/miss', repeats, () => lookupAll(map, missed, false)),
    measure('hash/update', repeats, () => insertAll(map, asked)),
    measure('hash/delete', entries, () => deleteAll(map, keys), fill),
    measure('hash/insert', entries, () => insertAll(map, keys), clear),
    // Each insertion of a key that is not there evicts an entry of the turn before.
    measure('lru-hash/evict', entries, () => insertAll(lru, turn++ % 2 === 0 ? others : keys)),
  ]
}

/** Prefixes as a cluster has: /24 (of pods), every fourth a single address; IPv6 likewise. */
function addPrefixes(map: LpmMap, count: number, isIpv4: boolean): Int32Array {
  const prng = new Prng(SEED)
  const prefix = new Int32Array(ADDRESS_WORDS)
  const asked = new Int32Array(count * ADDRESS_WORDS)
  for (let i = 0; i < count; i++) {
    const isSingle = i % 4 === 3
    prefix[0] = isIpv4 ? 0 : 0x20010db8
    prefix[1] = isIpv4 ? 0 : i
    prefix[2] = isIpv4 ? 0xffff : 0
    // 2^20 networks /24 below 16.0.0.0, in an order that has nothing to do with their numbers.
    prefix[3] = isIpv4 ? (Math.imul(i, 0x9e3779b1) & 0xfffff) << 8 : 0
    if (isSingle) prefix[3] = (prefix[3] as number) | 7
    const length = isIpv4 ? 96 + (isSingle ? 32 : 24) : isSingle ? 128 : 64
    value[0] = i
    if (map.update(prefix, length, value) < 0) throw new Error(`no room for prefix ${i}`)
    asked.set(prefix, i * ADDRESS_WORDS)
    if (!isSingle) asked[i * ADDRESS_WORDS + 3] = (prefix[3] as number) | prng.below(256)
  }
  return asked
}

function matchAll(map: LpmMap, addresses: Int32Array): number {
  let sum = 0
  for (let at = 0; at < addresses.length; at += ADDRESS_WORDS) {
    const slot = map.lookup(addresses, at)
    if (slot === NOT_FOUND) throw new Error('no prefix covers an address that one was made for')
    sum = (sum + slot) | 0
  }
  return sum
}

function lpmMeasures(entries: number): Measure[] {
  return [true, false].map((isIpv4) => {
    const spec: MapSpec = {
      name: 'bench',
      type: MapType.LPM,
      keyWords: ADDRESS_WORDS,
      valueWords: 1,
      maxEntries: entries,
      tables: isIpv4 ? entries + 4096 : 1,
    }
    const map = LpmMap.create(spec, new SharedArrayBuffer(LpmMap.bytesFor(spec)), { seed: SEED })
    const addresses = repeated(addPrefixes(map, entries, isIpv4), ADDRESS_WORDS)
    return {
      name: `lpm/${isIpv4 ? 'v4' : 'v6'}/${sizeName(entries)}`,
      operations: addresses.length / ADDRESS_WORDS,
      pass: () => matchAll(map, addresses),
    }
  })
}

function counterMeasure(): Measure {
  const spec: MapSpec = {
    name: 'bench',
    type: MapType.COUNTER,
    keyWords: 0,
    valueWords: 2,
    maxEntries: COUNTERS,
  }
  const row = CounterMap.create(spec, new SharedArrayBuffer(CounterMap.bytesFor(spec))).row(0)
  return {
    name: 'counter/add',
    operations: COUNTERS,
    pass: () => {
      for (let i = 0; i < COUNTERS; i++) row[i] = (row[i] as number) + 1
      return row[COUNTERS - 1] as number
    },
  }
}

/** Events of 64 words, written whole; the consumer makes room untimed. */
function eventMeasure(): Measure {
  const spec: MapSpec = {
    name: 'bench',
    type: MapType.EVENT_RING,
    keyWords: 0,
    valueWords: EVENT_WORDS,
    maxEntries: EVENTS,
  }
  const ring = EventRing.create(spec, new SharedArrayBuffer(EventRing.bytesFor(spec)))
  return {
    name: 'event-ring/write',
    operations: EVENTS,
    prepare: () => {
      ring.skip()
    },
    pass: () => {
      for (let n = 0; n < EVENTS; n++) {
        const at = ring.reserve()
        for (let i = 0; i < EVENT_WORDS; i++) ring.words[at + i] = n + i
        ring.commit()
      }
      return ring.size
    },
  }
}
