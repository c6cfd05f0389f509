/**
 * Two processes on the same maps, each in a file that both map into memory; and processes killed
 * with -9, wherever they were.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { SharedMemory } from 'xdp-socket-napi'
import { HashMap } from '../../src/maps/hash-map.js'
import type { HashTable } from '../../src/maps/hash-table.js'
import { LpmMap } from '../../src/maps/lpm-map.js'
import { LruHashMap } from '../../src/maps/lru-hash-map.js'
import { type MapSpec, MapType, NOT_FOUND, UpdateFlag } from '../../src/maps/map.js'
import { Header } from '../../src/maps/map-header.js'
import { answerOf, contentsOf, fillKey } from '../support/map-model.js'
import { OWN_KIND, SHARED_KINDS } from '../support/map-process.js'
import { churn, fillOwnValue, LpmTruth } from '../support/map-worker.js'
import { seededPrng } from '../support/seed.js'

const prng = seededPrng(t)
// Memory, not a disk: there a store may wait until the kernel has written the page out.
const MEMORY = '/dev/shm'
const directory = mkdtempSync(join(existsSync(MEMORY) ? MEMORY : tmpdir(), 'maps-'))
t.teardown(() => rmSync(directory, { recursive: true }))

const KILLS = 3
const PROGRAM = fileURLToPath(new URL('../support/map-process.js', import.meta.url))

const HASH: MapSpec = {
  name: 'shared',
  type: MapType.HASH,
  keyWords: 5,
  valueWords: 12,
  maxEntries: 100,
}

function fileOf(name: string, bytes: number): { path: string; buffer: ArrayBuffer } {
  const path = join(directory, name)
  return { path, buffer: SharedMemory.open(path, bytes, { create: true }).buffer }
}

/** Another process, already at its job. */
async function start(path: string, job: string): Promise<ChildProcess> {
  const seed = String(prng.nextInt32())
  const child = spawn(process.execPath, [PROGRAM, path, seed, job], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(child.stdout, 'data')
  return child
}

/** Works on the map here while the other process does, for some milliseconds; then kills that one. */
async function workUntilKill(child: ChildProcess, step: () => void): Promise<void> {
  const end = Date.now() + 30 + prng.below(40)
  while (Date.now() < end) step()
  child.kill('SIGKILL')
  // Its id may be in use still (nobody has waited for it): a lock it holds is taken over all the same.
  for (let i = 0; i < 100; i++) step()
  await once(child, 'exit')
}

/** No key twice, each value its key's own and of one update, and the size is what is there. */
function checkWhole(map: HashTable): number {
  map.recount()
  const slots = [...map.slots()]
  assert.equal(map.size, slots.length)
  assert.equal(contentsOf(map).size, slots.length)
  const found = new Int32Array(map.spec.keyWords)
  const value = new Int32Array(map.spec.valueWords)
  const key = new Int32Array(map.spec.keyWords)
  for (const slot of slots) {
    assert.ok(map.read(slot, found, value), 'nothing is busy any more')
    assert.deepEqual(found, fillKey(key, value[0] as number))
    for (let i = 2; i < value.length; i++) assert.equal(value[i], value[1])
    assert.equal(map.lookup(found), slot, 'every entry is found')
  }
  return slots.length
}

t.test('what one process writes, another one finds', async (t) => {
  const { path, buffer } = fileOf('hash', HashMap.bytesFor(HASH))
  const map = HashMap.create(HASH, buffer)
  const child = await start(path, 'hash')
  const key = new Int32Array(5)
  const value = new Int32Array(12)
  map.update(fillKey(key, OWN_KIND), fillOwnValue(value, OWN_KIND, 1), UpdateFlag.ANY)
  const kinds = new Set<number>()
  await workUntilKill(child, () => {
    for (const slot of map.slots()) if (map.read(slot, key, value)) kinds.add(value[0] as number)
    assert.notEqual(map.lookup(fillKey(key, OWN_KIND)), NOT_FOUND)
  })
  t.ok(kinds.size > SHARED_KINDS / 2, `${kinds.size} keys of the other process seen`)
  t.ok(checkWhole(map) > 0)
  const again = HashMap.open(SharedMemory.open(path, 0).buffer, HASH)
  t.same(contentsOf(again), contentsOf(map), 'and so does who opens the file later')
})

t.test('a process killed with a lock in its hand: the next writer takes it over', async (t) => {
  const { path, buffer } = fileOf('killed', HashMap.bytesFor(HASH))
  const map = HashMap.create(HASH, buffer)
  const child = await start(path, 'die')
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  const key = fillKey(new Int32Array(5), OWN_KIND)
  t.equal(map.lookup(key), NOT_FOUND, 'the half-written entry is not found')
  const value = fillOwnValue(new Int32Array(12), OWN_KIND, 2)
  const slot = map.update(key, value, UpdateFlag.ANY)
  t.equal(map.locksStolen, 1)
  t.equal(map.entriesDropped, 1)
  t.equal(map.lookup(key), slot)
  t.equal(map.size, 1)
  t.equal(checkWhole(map), 1)
})

for (const type of [MapType.HASH, MapType.LRU_HASH]) {
  t.test(
    `${type}: killed with -9 at any moment, ${KILLS} times, the map stays whole`,
    async (t) => {
      const kind = type === MapType.HASH ? HashMap : LruHashMap
      const spec: MapSpec = { ...HASH, type }
      const { path, buffer } = fileOf(`churn-${type}`, kind.bytesFor(spec))
      const map = kind.create(spec, buffer)
      const job = type === MapType.HASH ? 'hash' : 'lru'
      for (let i = 0; i < KILLS; i++) {
        const child = await start(path, job)
        await workUntilKill(child, () => churn(map, prng, SHARED_KINDS, 20))
        assert.ok(checkWhole(map) <= map.capacity)
      }
      t.pass(`${map.locksStolen} locks taken over, ${map.entriesDropped} entries dropped`)
    },
  )
}

t.test(`lpm: killed with -9 at any moment, ${KILLS} times, its answers stay true`, async (t) => {
  const spec: MapSpec = {
    name: 'prefixes',
    type: MapType.LPM,
    keyWords: 4,
    valueWords: 2,
    maxEntries: 200,
    tables: 12,
  }
  const { path, buffer } = fileOf('lpm', LpmMap.bytesFor(spec))
  const map = LpmMap.create(spec, buffer)
  const address = Int32Array.of(0, 0, 0xffff, 0x0a000000)
  map.update(address, 112, Int32Array.of(LpmTruth.SHORT, 0))
  for (let i = 0; i < KILLS; i++) {
    const child = await start(path, 'lpm')
    await workUntilKill(child, () => {
      address[3] = 0x0a000000 | (prng.below(2) << 8) | prng.below(256)
      const answer = answerOf(map, address)
      assert.ok([LpmTruth.SHORT, LpmTruth.MIDDLE, LpmTruth.LONG].includes(answer as 16))
    })
    // A writer comes, and heals what there is to heal; then the tables say what the prefixes say.
    map.update(Int32Array.of(0, 0, 0xffff, 0x0a000000), 112, Int32Array.of(LpmTruth.SHORT, 0))
    for (let low = 0; low < 1024; low++) {
      address[3] = 0x0a000000 | low
      let expected = NOT_FOUND
      for (let bits = 32; bits > 0 && expected === NOT_FOUND; bits--) {
        expected = map.find(address, 96 + bits)
      }
      assert.equal(map.lookup(address, 0), expected)
    }
  }
  t.equal(map.size, [...map.slots()].length, `${map.words[Header.LOCKS_STOLEN]} locks taken over`)
})
