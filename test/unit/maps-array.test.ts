/** ArrayMap, CounterMap and EventRing in one thread; the ring against a plain queue. */
import assert from 'node:assert/strict'
import t from 'tap'
import { ArrayMap } from '../../src/maps/array-map.js'
import { CounterMap } from '../../src/maps/counter-map.js'
import { EventRing, NO_ROOM } from '../../src/maps/event-ring.js'
import { type MapSpec, MapType, NOT_FOUND } from '../../src/maps/map.js'
import { HEADER_WORDS, Header } from '../../src/maps/map-header.js'
import { seededPrng } from '../support/seed.js'

const prng = seededPrng(t)

t.test('an array has every entry from the start, and none outside', async (t) => {
  const spec: MapSpec = {
    name: 'ports',
    type: MapType.ARRAY,
    keyWords: 0,
    valueWords: 3,
    maxEntries: 5,
  }
  const map = ArrayMap.create(spec, new SharedArrayBuffer(ArrayMap.bytesFor(spec)))
  t.equal(map.lookup(4), 4)
  t.equal(map.lookup(5), NOT_FOUND)
  t.equal(map.lookup(-1), NOT_FOUND)
  t.equal(map.update(5, Int32Array.of(1, 2, 3)), NOT_FOUND)
  for (let i = 0; i < 5; i++) t.equal(map.update(i, Int32Array.of(i, -i, i * 100)), i)
  const again = ArrayMap.open(map.words.buffer, spec)
  for (let i = 0; i < 5; i++) {
    const start = again.valueStart(i)
    t.same([...again.words.subarray(start, start + 3)], [i, -i, i * 100])
  }
})

t.test('counters are exact beyond 32 bits and added up over the workers', async (t) => {
  const spec: MapSpec = {
    name: 'metrics',
    type: MapType.COUNTER,
    keyWords: 0,
    valueWords: 2,
    maxEntries: 13,
    workers: 3,
  }
  const map = CounterMap.create(spec, new SharedArrayBuffer(CounterMap.bytesFor(spec)))
  const expected = new Array<number>(13).fill(0)
  const rows = [map.row(0), map.row(1), map.row(2)]
  for (const row of rows) t.equal(row.length, 13)
  for (let i = 0; i < 10_000; i++) {
    const row = rows[prng.below(3)] as Float64Array
    const index = prng.below(13)
    const by = prng.below(2 ** 31 - 1) * 64
    row[index] = (row[index] as number) + by
    expected[index] = (expected[index] as number) + by
  }
  const reader = CounterMap.open(map.words.buffer, spec)
  for (let i = 0; i < 13; i++) t.equal(reader.sum(i), expected[i])
  t.ok(reader.sum(0) > 2 ** 40)
  const firstRow = rows[0] as Float64Array
  t.equal(firstRow.byteOffset % 64, 0)
  t.equal((rows[1] as Float64Array).byteOffset % 64, 0, 'each worker has lines of its own')
})

const RING: MapSpec = {
  name: 'events',
  type: MapType.EVENT_RING,
  keyWords: 0,
  valueWords: 3,
  maxEntries: 8,
}

function put(ring: EventRing, number: number): boolean {
  const at = ring.reserve()
  if (at === NO_ROOM) return false
  for (let i = 0; i < 3; i++) ring.words[at + i] = number * 10 + i
  ring.commit()
  return true
}

t.test('a ring gives records in order, and tells how many were lost and where', async (t) => {
  const buffer = new SharedArrayBuffer(EventRing.bytesFor(RING))
  const producer = EventRing.create(RING, buffer)
  let consumer = EventRing.open(buffer, RING)
  const queue: { number: number; lostBefore: number }[] = []
  const record = new Int32Array(3)
  let lostNow = 0
  let lost = 0
  for (let number = 0; number < 100_000; number++) {
    if (prng.chance(0.55)) {
      const isPut = put(producer, number)
      assert.equal(isPut, queue.length < 8)
      if (isPut) queue.push({ number, lostBefore: lostNow })
      lostNow = isPut ? 0 : lostNow + 1
      if (!isPut) lost++
    } else {
      const expected = queue.shift()
      assert.equal(consumer.read(record), expected !== undefined)
      if (expected === undefined) continue
      assert.deepEqual(
        [...record],
        [0, 1, 2].map((i) => expected.number * 10 + i),
      )
      assert.equal(consumer.lostBefore, expected.lostBefore)
    }
    // Consumers come and go.
    if (prng.chance(0.01)) consumer = EventRing.open(buffer, RING)
    assert.equal(consumer.size, queue.length)
  }
  t.equal(consumer.lost, lost)
  t.ok(lost > 0)
})

t.test('cursors wrap at 2^31 and at 2^32', async (t) => {
  for (const start of [2 ** 31 - 20, -20]) {
    const buffer = new SharedArrayBuffer(EventRing.bytesFor(RING))
    const words = EventRing.create(RING, buffer).words
    words[Header.OWN] = start
    words[HEADER_WORDS] = start
    const ring = EventRing.open(buffer, RING)
    const record = new Int32Array(3)
    for (let number = 0; number < 200; number++) {
      for (let i = 0; i < 8; i++) t.ok(put(ring, number + i))
      t.notOk(put(ring, 0), 'full')
      t.equal(ring.size, 8)
      for (let i = 0; i < 8; i++) {
        ring.read(record)
        t.equal(record[0], (number + i) * 10)
        t.equal(ring.lostBefore, i === 0 && number > 0 ? 1 : 0)
      }
      t.notOk(ring.read(record), 'empty')
    }
  }
})

t.test('a record reserved and never committed is not seen; its place is used again', async (t) => {
  const buffer = new SharedArrayBuffer(EventRing.bytesFor(RING))
  const killed = EventRing.create(RING, buffer)
  killed.words[killed.reserve()] = 666
  const ring = EventRing.open(buffer, RING)
  const record = new Int32Array(3)
  t.notOk(ring.read(record))
  put(ring, 5)
  t.ok(ring.read(record))
  t.equal(record[0], 50)
})

t.test('a consumer that skips begins with the present', async (t) => {
  const buffer = new SharedArrayBuffer(EventRing.bytesFor(RING))
  const ring = EventRing.create(RING, buffer)
  for (let i = 0; i < 10; i++) put(ring, i)
  const consumer = EventRing.open(buffer, RING)
  t.equal(consumer.skip(), 8)
  put(ring, 77)
  const record = new Int32Array(3)
  t.ok(consumer.read(record))
  t.equal(record[0], 770)
  t.equal(consumer.lostBefore, 0, 'what was lost before the skip is not told')
})
