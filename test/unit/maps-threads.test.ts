/**
 * Two threads on the same maps at once; and writers that die, or stand still, in the middle of a
 * write.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { Worker } from 'node:worker_threads'
import t from 'tap'
import { EventRing } from '../../src/maps/event-ring.js'
import { KEY_BUSY } from '../../src/maps/hash-layout.js'
import { HashMap } from '../../src/maps/hash-map.js'
import { LpmMap } from '../../src/maps/lpm-map.js'
import { LruHashMap } from '../../src/maps/lru-hash-map.js'
import { type MapSpec, MapType, NOT_FOUND, UpdateFlag } from '../../src/maps/map.js'
import { HEADER_WORDS, Header } from '../../src/maps/map-header.js'
import { answerOf, contentsOf, fillKey, keyText } from '../support/map-model.js'
import { churn, fillOwnValue, LpmTruth, type MapJob } from '../support/map-worker.js'
import { seededPrng } from '../support/seed.js'

const prng = seededPrng(t)
const MILLISECONDS = 400

const HASH: MapSpec = {
  name: 'shared',
  type: MapType.HASH,
  keyWords: 5,
  valueWords: 12,
  maxEntries: 100,
}

/**
 * Runs `step` here while another thread does the job; what the other one reports is how much it
 * did.
 */
async function together(
  job: MapJob['job'],
  buffer: SharedArrayBuffer,
  kinds: number,
  step: () => void,
): Promise<number> {
  const control = new SharedArrayBuffer(8)
  const words = new Int32Array(control)
  const workerData: MapJob = { job, buffer, control, kinds, seed: prng.nextInt32() }
  const worker = new Worker(new URL('../support/map-worker.js', import.meta.url), { workerData })
  const result = new Promise<number>((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
  })
  try {
    while (Atomics.load(words, 1) === 0) await new Promise((resolve) => setTimeout(resolve, 1))
    const end = Date.now() + MILLISECONDS
    while (Date.now() < end) step()
  } finally {
    Atomics.store(words, 0, 1)
  }
  return result
}

const prefixesSpec = (more: Partial<MapSpec> = {}): MapSpec => {
  const spec = { name: 'prefixes', type: MapType.LPM, keyWords: 4, valueWords: 1, maxEntries: 20 }
  return { ...spec, ...more }
}

t.test('a reader finds what stays, and every value belongs to its key', async (t) => {
  const buffer = new SharedArrayBuffer(HashMap.bytesFor(HASH))
  const map = HashMap.create(HASH, buffer)
  const key = new Int32Array(5)
  const found = new Int32Array(5)
  const value = new Int32Array(12)
  const kinds = 60
  // Kinds from 1000 on are of this thread alone, and stay.
  for (let kind = 1000; kind < 1030; kind++) {
    map.update(fillKey(key, kind), fillOwnValue(value, kind, kind), UpdateFlag.ANY)
  }
  let hits = 0
  let misses = 0
  const done = await together('hash', buffer, kinds, () => {
    for (let kind = 0; kind < kinds; kind++) {
      const slot = map.lookup(fillKey(key, kind))
      if (slot === NOT_FOUND) {
        misses++
        continue
      }
      const generation = map.foundGeneration
      const start = map.valueStart(slot)
      const owner = map.words[start]
      if (map.generation(slot) === generation) assert.equal(owner, kind)
      if (!map.read(slot, found, value)) continue
      hits++
      assert.deepEqual(found, fillKey(key, value[0] as number))
      for (let i = 2; i < 12; i++) assert.equal(value[i], value[1], 'a value is of one update')
    }
    for (let kind = 1000; kind < 1030; kind++) {
      assert.notEqual(map.lookup(fillKey(key, kind)), NOT_FOUND, 'what stays is always found')
    }
  })
  t.ok(hits > 100 && misses > 100 && done > 1000, `${hits} hits, ${misses} misses, ${done} writes`)
  t.equal(map.locksStolen, 0)
})

t.test('a lookup never matches a key that is half of one entry, half of the next', async (t) => {
  const spec: MapSpec = { ...HASH, keyWords: 8 }
  const map = HashMap.create(spec, new SharedArrayBuffer(HashMap.bytesFor(spec)))
  const value = new Int32Array(12)
  const old = Int32Array.of(0, 0, 0, 0, 1, 1, 1, 1)
  const next = Int32Array.of(2, 2, 2, 2, 0, 0, 0, 0)
  const slot = map.updateHashed(old, value, UpdateFlag.ANY, 5)
  let isTorn = false
  // Words are compared from the last to the first: half way, a writer gives the slot away.
  const mixed = new Proxy(Int32Array.of(2, 2, 2, 2, 1, 1, 1, 1), {
    get(target, property) {
      if (property === '3' && map.deleteHashed(old, 5)) {
        isTorn = map.updateHashed(next, value, UpdateFlag.ANY, 5) === slot
      }
      return Reflect.get(target, property, target)
    },
  })
  t.equal(map.lookupHashed(mixed, 5), NOT_FOUND)
  t.ok(isTorn, 'the writer came in between')
  t.equal(map.lookupHashed(next, 5), slot)
})

t.test('a value being written has no generation, so that a torn one is noticed', async (t) => {
  const map = HashMap.create(HASH, new SharedArrayBuffer(HashMap.bytesFor(HASH)))
  const key = fillKey(new Int32Array(5), 3)
  const slot = map.update(key, fillOwnValue(new Int32Array(12), 3, 1), UpdateFlag.ANY)
  const before = map.generation(slot)
  let during: number | undefined
  // When the sixth word of the new value is read, a reader comes in between.
  const value = new Proxy(fillOwnValue(new Int32Array(12), 3, 2), {
    get(target, property) {
      if (property === '5') {
        t.equal(map.lookup(key), slot, 'the entry is found all the time')
        t.equal(map.foundGeneration, before)
        during = map.generation(slot)
        t.notOk(map.read(slot, new Int32Array(5), new Int32Array(12)), 'and not copied')
      }
      return Reflect.get(target, property, target)
    },
  })
  t.equal(map.update(key, value, UpdateFlag.ANY), slot)
  t.equal(during, 0)
  t.not(map.generation(slot), before)
})

t.test('two writers of the same keys leave each key once, and the size right', async (t) => {
  const buffer = new SharedArrayBuffer(HashMap.bytesFor(HASH))
  const map = HashMap.create(HASH, buffer)
  const done = await together('hash', buffer, 130, () => churn(map, prng, 130, 100))
  const slots = [...map.slots()]
  t.equal(contentsOf(map).size, slots.length, `no key twice after ${done} writes of the other`)
  t.equal(map.size, slots.length)
  t.ok(map.size <= map.capacity)
  map.recount()
  t.equal(map.size, slots.length, 'and the segments counted the same')
  t.equal(map.locksStolen, 0)
})

for (const maxEntries of [5, 100, 300]) {
  t.test(`two writers of an LRU map stay within ${maxEntries} entries`, async (t) => {
    const spec: MapSpec = { ...HASH, type: MapType.LRU_HASH, maxEntries, stampWord: 1 }
    const buffer = new SharedArrayBuffer(LruHashMap.bytesFor(spec))
    const map = LruHashMap.create(spec, buffer)
    const kinds = maxEntries * 3
    await together('lru', buffer, kinds, () => {
      churn(map, prng, kinds, 100)
      assert.ok(map.size <= maxEntries)
    })
    const slots = [...map.slots()]
    t.equal(contentsOf(map).size, slots.length)
    t.equal(map.size, slots.length)
    t.ok(map.evictions > 0)
    map.recount()
    t.equal(map.size, slots.length)
  })
}

t.test('an LPM reader sees answers that were true, whatever the tables are used for', async (t) => {
  const spec = prefixesSpec({ valueWords: 2, maxEntries: 200, tables: 12 })
  const buffer = new SharedArrayBuffer(LpmMap.bytesFor(spec))
  const map = LpmMap.create(spec, buffer)
  const address = Int32Array.of(0, 0, 0xffff, 0)
  const ipv6 = Int32Array.of(0x20010db8, 0, 0, 1)
  map.update(Int32Array.of(0, 0, 0xffff, 0x0a000000), 112, Int32Array.of(LpmTruth.SHORT, 0))
  map.update(ipv6, 64, Int32Array.of(64, 0))
  const seen = new Set<number>()
  await together('lpm', buffer, 0, () => {
    for (let i = 0; i < 100; i++) {
      const isLong = (i & 7) < 4
      address[3] = 0x0a000000 | ((i & 1) << 8) | (i & 7)
      const answer = answerOf(map, address)
      seen.add(answer)
      const mayBe = [LpmTruth.SHORT, LpmTruth.MIDDLE, isLong ? LpmTruth.LONG : LpmTruth.SHORT]
      assert.ok(mayBe.includes(answer as 16), `answer ${answer} for ${i & 7}`)
      assert.equal(answerOf(map, ipv6), 64)
    }
  })
  t.ok(seen.size === 3, `answers ${[...seen].join(' ')}`)
})

t.test('a ring between two threads: all records in order, read and lost are all', async (t) => {
  const spec: MapSpec = {
    name: 'events',
    type: MapType.EVENT_RING,
    keyWords: 0,
    valueWords: 20,
    maxEntries: 64,
  }
  const buffer = new SharedArrayBuffer(EventRing.bytesFor(spec))
  const ring = EventRing.create(spec, buffer)
  const record = new Int32Array(20)
  let next = 0
  let read = 0
  const take = (): void => {
    while (ring.read(record)) {
      assert.equal(record[0], next + ring.lostBefore, 'what is missing was told as lost')
      for (let i = 1; i < 20; i++) assert.equal(record[i], record[0])
      next = (record[0] as number) + 1
      read++
    }
  }
  const done = await together('ring', buffer, 0, take)
  take()
  t.equal(read + ring.lost, done)
  t.ok(read > 1000, `${read} read, ${ring.lost} lost`)
})

/** The id of a process that has ended. */
const deadProcess = (): number => spawnSync(process.execPath, ['--version']).pid
const ownerWord = (processId: number, thread = 0): number => (processId << 9) | thread

t.test(
  'a writer killed in a write: its lock is taken over, its entry dropped, the rest counted',
  async (t) => {
    const buffer = new SharedArrayBuffer(HashMap.bytesFor(HASH))
    const map = HashMap.create(HASH, buffer)
    const key = new Int32Array(5)
    const value = new Int32Array(12)
    for (let kind = 0; kind < 50; kind++) {
      map.update(fillKey(key, kind), fillOwnValue(value, kind, 1), UpdateFlag.ANY)
    }
    const before = contentsOf(map)
    const busy = map.lookup(fillKey(key, 7))
    const state = map.keyStart(busy) - 1
    map.words[state] = (map.words[state] as number) | KEY_BUSY
    map.words[Header.SIZE] = 51
    map.words[HEADER_WORDS] = ownerWord(deadProcess())

    t.equal(map.lookup(fillKey(key, 7)), NOT_FOUND, 'readers pass the busy entry')
    t.not(map.lookup(fillKey(key, 8)), NOT_FOUND)
    const began = Date.now()
    t.ok(map.update(fillKey(key, 60), fillOwnValue(value, 60, 1), UpdateFlag.ANY) >= 0)
    t.ok(Date.now() - began < 200, 'a dead process is not waited for')
    t.equal(map.locksStolen, 1)
    t.equal(map.entriesDropped, 1)
    t.equal(map.size, 50)
    before.delete(keyText(fillKey(key, 7)))
    before.set(keyText(fillKey(key, 60)), keyText(fillOwnValue(value, 60, 1)))
    t.same(contentsOf(map), before)
  },
)

t.test('a lock held by a thread of this process is taken over after the patience', async (t) => {
  const buffer = new SharedArrayBuffer(HashMap.bytesFor(HASH))
  HashMap.create(HASH, buffer)
  const map = HashMap.open(buffer, HASH, { lockPatienceMilliseconds: 40 })
  map.words[HEADER_WORDS] = ownerWord(process.pid, 300)
  const began = Date.now()
  t.ok(map.update(new Int32Array(5), new Int32Array(12), UpdateFlag.ANY) >= 0)
  t.ok(Date.now() - began >= 39)
  t.equal(map.locksStolen, 1)
})

t.test('a writer that stood still until its lock was taken over writes again, once', async (t) => {
  const buffer = new SharedArrayBuffer(HashMap.bytesFor(HASH))
  const slow = HashMap.create(HASH, buffer)
  const impatient = HashMap.open(buffer, HASH, { lockPatienceMilliseconds: 0 })
  const key = fillKey(new Int32Array(5), 3)
  const other = fillKey(new Int32Array(5), 4)
  const ownValue = fillOwnValue(new Int32Array(12), 3, 3)
  let isFirst = true
  // When the value's first word is read, the other writer comes in between and takes the same slot.
  const value = new Proxy(ownValue, {
    get(target, property) {
      if (property === '0' && isFirst) {
        isFirst = false
        const otherValue = fillOwnValue(new Int32Array(12), 4, 9)
        impatient.updateHashed(other, otherValue, UpdateFlag.ANY, 5)
      }
      return Reflect.get(target, property, target)
    },
  })
  t.ok(slow.updateHashed(key, value, UpdateFlag.ANY, 5) >= 0)
  t.equal(slow.locksStolen, 1)
  t.same(contentsOf(slow), new Map([[keyText(key), keyText(ownValue)]]), 'no mixture is left')
  t.equal(slow.size, 1)
  slow.recount()
  t.equal(slow.size, 1)
})

t.test('an LPM reader that comes while a value is being written looks again', async (t) => {
  const spec = prefixesSpec({ valueWords: 12 })
  const map = LpmMap.create(spec, new SharedArrayBuffer(LpmMap.bytesFor(spec)))
  const address = Int32Array.of(0, 0, 0xffff, 0x0a010203)
  map.update(address, 112, new Int32Array(12).fill(1))
  let copies = 0
  const into = new Proxy(new Int32Array(12), {
    get: (target, property) => Reflect.get(target, property, target),
    set(target, property, word) {
      if (property === '0') copies++
      return Reflect.set(target, property, word)
    },
  })
  // When the sixth word of the new value is read, a reader comes in between.
  const value = new Proxy(new Int32Array(12).fill(2), {
    get(target, property) {
      if (property === '5') map.lookupInto(address, 0, into)
      return Reflect.get(target, property, target)
    },
  })
  map.update(address, 112, value)
  t.ok(copies > 1, 'as often as it may, and not once')
  copies = 0
  map.lookupInto(address, 0, into)
  t.equal(copies, 1)
  t.same([...new Set(Array.from({ length: 12 }, (_, i) => into[i]))], [2])
})

t.test('an LPM writer killed between entry and tables: the next one completes it', async (t) => {
  const spec = prefixesSpec()
  const buffer = new SharedArrayBuffer(LpmMap.bytesFor(spec))
  const map = LpmMap.create(spec, buffer)
  const address = Int32Array.of(0, 0, 0xffff, 0x0a010203)
  map.update(address, 112, Int32Array.of(1))
  map.update(address, 128, Int32Array.of(2))
  const free = map.freeTables
  // The tables are as they were before: the root forgets its table, which leaks.
  const root = map.words.findIndex((word, index) => index >= HEADER_WORDS + 144 && word < 0)
  map.words[root] = 0
  map.words[Header.OWN + 1] = free - 3
  map.words[Header.OWN + 4] = ownerWord(deadProcess())
  t.equal(map.lookup(address, 0), NOT_FOUND)
  t.ok(map.update(Int32Array.of(1, 2, 3, 4), 128, Int32Array.of(3)) >= 0)
  t.equal(answerOf(map, address), 2)
  t.equal(answerOf(map, Int32Array.of(0, 0, 0xffff, 0x0a010204)), 1)
  t.equal(map.freeTables, free)
})

t.test('after two LPM writers at once, no cell misleads', async (t) => {
  const spec = prefixesSpec({ tables: 4 })
  const map = LpmMap.create(spec, new SharedArrayBuffer(LpmMap.bytesFor(spec)))
  const ip = (word: number) => Int32Array.of(0, 0, 0xffff, word)
  map.update(ip(0x0a000000), 104, Int32Array.of(8))
  const long = map.update(ip(0x0a010200), 120, Int32Array.of(24))
  map.update(ip(0x0b010200), 120, Int32Array.of(25))
  // The cell of 10.0.0.0/16 names the entry of 10.1.2.0/24, that of 11.2.0.0/16 the table of 11.1.
  const root = HEADER_WORDS + 144
  map.words[root + 0x0a00] = long + 1
  map.words[root + 0x0b02] = map.words[root + 0x0b01] as number
  map.words[Header.OWN + 4] = ownerWord(deadProcess())
  map.update(ip(0x0c000000), 104, Int32Array.of(9))
  const answers = [0x0a000001, 0x0a010203, 0x0b010203, 0x0b020203, 0x0c000001]
  t.same(
    answers.map((word) => answerOf(map, ip(word))),
    [8, 24, 25, NOT_FOUND, 9],
  )
  t.equal(map.freeTables, 2)
})
