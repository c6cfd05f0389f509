/**
 * HashMap and LruHashMap against a plain Map by random operations; fill, overflow, churn, eviction.
 */
import assert from 'node:assert/strict'
import t from 'tap'
import { GENERATION_MASK } from '../../src/maps/hash-layout.js'
import { HashMap } from '../../src/maps/hash-map.js'
import { LruHashMap } from '../../src/maps/lru-hash-map.js'
import { EXISTS, FULL, type MapSpec, MapType, NOT_FOUND, UpdateFlag } from '../../src/maps/map.js'
import { HEADER_WORDS } from '../../src/maps/map-header.js'
import { LockRow } from '../../src/maps/segment-lock.js'
import { contentsOf, countStates, fillKey, fillValue, keyText } from '../support/map-model.js'
import { seededPrng } from '../support/seed.js'

const prng = seededPrng(t)

function specOf(type: MapType, maxEntries: number, keyWords = 3, valueWords = 2): MapSpec {
  return { name: 'test', type, keyWords, valueWords, maxEntries }
}

function hashOf(maxEntries: number, keyWords = 3, valueWords = 2): HashMap {
  const spec = specOf(MapType.HASH, maxEntries, keyWords, valueWords)
  return HashMap.create(spec, new SharedArrayBuffer(HashMap.bytesFor(spec)), { seed: 1 })
}

function lruOf(maxEntries: number, stampWord = 0): LruHashMap {
  const spec = { ...specOf(MapType.LRU_HASH, maxEntries), stampWord }
  return LruHashMap.create(spec, new SharedArrayBuffer(LruHashMap.bytesFor(spec)), { seed: 1 })
}

/** A random operation on a map and on its model; compares the answers. */
function operate(map: HashMap, model: Map<string, string>, kinds: number): string {
  const key = fillKey(new Int32Array(map.spec.keyWords), prng.below(kinds))
  const name = keyText(key)
  const action = prng.below(8)
  if (action < 3) {
    const isThere = map.delete(key)
    return isThere === model.delete(name) ? '' : `delete ${name}`
  }
  if (action < 4) {
    const slot = map.lookup(key)
    if ((slot !== NOT_FOUND) !== model.has(name)) return `lookup ${name}`
    if (slot === NOT_FOUND) return ''
    const start = map.valueStart(slot)
    const value = map.words.subarray(start, start + map.spec.valueWords)
    return keyText(value) === model.get(name) ? '' : `value ${name}`
  }
  const flag = (action - 4) % 3
  const value = fillValue(new Int32Array(map.spec.valueWords), prng)
  const slot = map.update(key, value, flag as UpdateFlag)
  const isThere = model.has(name)
  if (isThere && flag === UpdateFlag.NO_EXIST) return slot === EXISTS ? '' : `exists ${name}`
  if (!isThere && flag === UpdateFlag.EXIST) return slot === NOT_FOUND ? '' : `absent ${name}`
  if (!isThere && model.size === map.capacity) return slot === FULL ? '' : `full ${name}`
  model.set(name, keyText(value))
  return slot >= 0 ? '' : `update ${name}: ${slot}`
}

for (const [maxEntries, keyWords, valueWords] of [
  [1, 1, 1],
  [7, 2, 0],
  [100, 3, 2],
  [100, 5, 8],
  [600, 10, 11],
  [1000, 4, 1],
] as const) {
  const shape = `${maxEntries} entries, ${keyWords} + ${valueWords} words`
  t.test(`a hash map answers as a plain map does: ${shape}`, async (t) => {
    const map = hashOf(maxEntries, keyWords, valueWords)
    const model = new Map<string, string>()
    for (let i = 0; i < 60_000; i++) {
      const wrong = operate(map, model, Math.ceil(maxEntries * 1.3))
      assert.equal(wrong, '', `operation ${i}`)
    }
    t.equal(map.size, model.size)
    t.same(contentsOf(map), model)
  })
}

t.test('a hash map takes maxEntries entries and then says FULL', async (t) => {
  for (const maxEntries of [1, 2, 128, 129, 5000]) {
    const map = hashOf(maxEntries)
    const key = new Int32Array(3)
    const value = new Int32Array(2)
    for (let i = 0; i < maxEntries; i++) {
      if (map.update(fillKey(key, i), value, UpdateFlag.ANY) < 0) t.fail(`refused ${i}`)
    }
    t.equal(map.update(fillKey(key, maxEntries), value, UpdateFlag.ANY), FULL)
    t.equal(map.size, maxEntries)
    t.equal(map.pressure, 1)
    t.ok(map.update(fillKey(key, 0), value, UpdateFlag.ANY) >= 0, 'an entry there is updated')
    t.ok(map.delete(fillKey(key, 0)))
    t.ok(map.update(fillKey(key, maxEntries), value, UpdateFlag.ANY) >= 0, 'room again')
  }
})

t.test('a slot stays with its entry through churn of all the others', async (t) => {
  const map = hashOf(300)
  const key = new Int32Array(3)
  const value = Int32Array.of(1, 2)
  const slots = new Map<number, number>()
  for (let kind = 0; kind < 50; kind++) {
    slots.set(kind, map.update(fillKey(key, kind), value, UpdateFlag.ANY))
  }
  for (let i = 0; i < 200_000; i++) {
    fillKey(key, 50 + prng.below(400))
    if (!map.delete(key)) map.update(key, value, UpdateFlag.ANY)
  }
  for (const [kind, slot] of slots) t.equal(map.lookup(fillKey(key, kind)), slot)
})

t.test(
  'two million insertions and deletions at full load leave free slots for misses',
  async (t) => {
    const map = hashOf(128)
    const key = new Int32Array(3)
    const value = new Int32Array(2)
    const present: number[] = []
    let deletedMax = 0
    for (let kind = 0; kind < 1_000_000; kind++) {
      if (present.length === map.capacity) {
        const victim = prng.below(present.length)
        assert.ok(map.delete(fillKey(key, present[victim] ?? 0)), `lost ${victim}`)
        present[victim] = kind
      } else present.push(kind)
      assert.ok(map.update(fillKey(key, kind), value, UpdateFlag.NO_EXIST) >= 0, `no ${kind}`)
      if (kind % 1000 === 0) deletedMax = Math.max(deletedMax, countStates(map).deleted)
    }
    t.ok(
      deletedMax < map.slotCount * 0.4,
      `at most ${deletedMax} of ${map.slotCount} slots deleted`,
    )
    for (const kind of present) if (map.lookup(fillKey(key, kind)) < 0) t.fail(`lost ${kind}`)
    for (const kind of present) map.delete(fillKey(key, kind))
    t.equal(map.size, 0)
  },
)

t.test('a hash of the caller decides where probing begins, for every operation', async (t) => {
  const map = hashOf(200)
  const value = Int32Array.of(7, 8)
  const key = new Int32Array(3)
  for (let i = 0; i < 100; i++) {
    t.ok(map.updateHashed(fillKey(key, i), value, UpdateFlag.ANY, 5) >= 0)
  }
  t.equal(map.lookupHashed(fillKey(key, 0), 5), 5, 'the first one lies at its home')
  t.equal(map.touch(5), map.words[map.keyStart(5) - 1], 'touch reads the state at home')
  t.equal(map.lookupHashed(fillKey(key, 99), 5), 104)
  t.equal(map.lookupHashed(fillKey(key, 99), 105), NOT_FOUND)
  t.ok(map.deleteHashed(fillKey(key, 50), 5))
  t.equal(map.lookupHashed(fillKey(key, 99), 5), 104, 'a deleted slot does not end the probe')
  const packed = new Int32Array(20)
  packed.set(fillKey(key, 99), 11)
  t.equal(map.lookupHashed(packed, 5, 11), 104, 'the key may lie inside other words')
})

t.test('FULL is also the answer when one segment is full of one hash', async (t) => {
  const map = hashOf(1000)
  const key = new Int32Array(3)
  const value = new Int32Array(2)
  for (let i = 0; i < 256; i++) map.updateHashed(fillKey(key, i), value, UpdateFlag.ANY, 9)
  t.equal(map.updateHashed(fillKey(key, 256), value, UpdateFlag.ANY, 9), FULL)
  t.equal(map.size, 256)
  t.equal(map.lookupHashed(fillKey(key, 300), 9), NOT_FOUND, 'a miss in a full segment ends')
})

t.test('no two values in a row have one generation, when its bits come round either', async (t) => {
  const map = hashOf(10)
  const key = Int32Array.of(1, 1, 1)
  const sequence = HEADER_WORDS + LockRow.SEQUENCE
  for (const begin of [0, GENERATION_MASK - 3, -3]) {
    map.words[sequence] = begin
    const seen = new Set<number>()
    for (let i = 0; i < 6; i++) {
      seen.add(map.generation(map.update(key, Int32Array.of(i, i), UpdateFlag.ANY)))
    }
    t.equal(seen.size, 6, `from ${begin}`)
    t.notOk(seen.has(0))
  }
})

t.test('deleteSlot deletes only the generation it was told', async (t) => {
  const map = hashOf(10)
  const value = Int32Array.of(1, 2)
  const slot = map.updateHashed(Int32Array.of(1, 1, 1), value, UpdateFlag.ANY, 3)
  const generation = map.generation(slot)
  map.lookupHashed(Int32Array.of(1, 1, 1), 3)
  t.equal(map.foundGeneration, generation)
  map.deleteHashed(Int32Array.of(1, 1, 1), 3)
  t.equal(map.generation(slot), 0)
  t.equal(map.updateHashed(Int32Array.of(2, 2, 2), value, UpdateFlag.ANY, 3), slot, 'reused')
  t.notOk(map.deleteSlot(slot, generation))
  t.equal(map.size, 1)
  t.ok(map.deleteSlot(slot))
  t.notOk(map.deleteSlot(slot), 'nothing left')
  t.equal(map.size, 0)
})

t.test('nextLive walks all entries in bounded steps', async (t) => {
  const map = hashOf(500)
  const key = new Int32Array(3)
  for (let i = 0; i < 400; i++) map.update(fillKey(key, i), Int32Array.of(i, 0), UpdateFlag.ANY)
  let seen = 0
  for (let from = 0; from < map.slotCount; from += 100) {
    let slot = map.nextLive(from, from + 100)
    for (; slot !== NOT_FOUND; slot = map.nextLive(slot + 1, from + 100)) seen++
  }
  t.equal(seen, 400)
})

t.test(
  'an LRU map never refuses, keeps to its size, and loses one entry per insertion',
  async (t) => {
    for (const maxEntries of [1, 2, 20, 128, 129, 1000]) {
      const map = lruOf(maxEntries)
      const model = new Map<string, string>()
      const key = new Int32Array(3)
      for (let i = 0; i < 30_000; i++) {
        fillKey(key, prng.below(maxEntries * 4))
        if (prng.below(4) === 0) {
          assert.equal(map.delete(key), model.delete(keyText(key)))
          continue
        }
        const value = Int32Array.of(i, prng.nextInt32())
        assert.ok(map.update(key, value, UpdateFlag.ANY) >= 0, `refused at ${i}`)
        if (map.hasEvicted) assert.ok(model.delete(keyText(map.evictedKey)), 'evicted twice')
        model.set(keyText(key), keyText(value))
        assert.ok(map.size === model.size && map.size <= maxEntries, `size ${map.size}`)
      }
      t.same(contentsOf(map), model, `${maxEntries} entries`)
    }
  },
)

t.test('an LRU map evicts from another segment when the key has none to give', async (t) => {
  const map = lruOf(400)
  const key = new Int32Array(3)
  for (let i = 0; i < 400; i++) {
    // 1024 slots in four segments; the last one stays empty.
    map.updateHashed(fillKey(key, i), Int32Array.of(i, 0), UpdateFlag.ANY, i % 768)
  }
  t.equal(map.size, 400)
  t.ok(map.updateHashed(fillKey(key, 900), Int32Array.of(9, 9), UpdateFlag.ANY, 1000) >= 0)
  t.ok(map.hasEvicted)
  t.equal(map.size, 400)
  t.equal(map.evictions, 1)
})

t.test('an LRU map evicts when a segment is full though the map is not', async (t) => {
  const map = lruOf(1000)
  const key = new Int32Array(3)
  for (let i = 0; i < 300; i++) {
    const slot = map.updateHashed(fillKey(key, i), Int32Array.of(i, i), UpdateFlag.ANY, 9)
    if (slot < 0) t.fail(`refused ${i}`)
    t.equal(map.hasEvicted, i >= 256)
  }
  t.equal(map.size, 256)
})

t.test('the lowest stamp nearby goes first, across the wrap of int32', async (t) => {
  const map = lruOf(8, 1)
  const newest = -(2 ** 31) + 3
  const key = new Int32Array(3)
  for (let i = 0; i < 8; i++) {
    map.update(fillKey(key, i), Int32Array.of(i, (newest - i) | 0), UpdateFlag.ANY)
  }
  for (let i = 7; i > 0; i--) {
    map.update(fillKey(key, 100 + i), Int32Array.of(0, newest + 1), UpdateFlag.ANY)
    t.same(map.evictedKey, fillKey(key, i))
  }
})

t.test('an LRU map obeys the flags without evicting', async (t) => {
  const map = lruOf(2)
  const value = Int32Array.of(1, 1)
  map.update(Int32Array.of(1, 0, 0), value, UpdateFlag.ANY)
  map.update(Int32Array.of(2, 0, 0), value, UpdateFlag.ANY)
  t.equal(map.update(Int32Array.of(1, 0, 0), value, UpdateFlag.NO_EXIST), EXISTS)
  t.equal(map.update(Int32Array.of(3, 0, 0), value, UpdateFlag.EXIST), NOT_FOUND)
  t.notOk(map.hasEvicted)
  t.equal(map.size, 2)
})
