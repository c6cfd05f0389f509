/** LpmMap against a list of prefixes searched one by one. */
import assert from 'node:assert/strict'
import t from 'tap'
import { LpmMap } from '../../src/maps/lpm-map.js'
import { EXISTS, FULL, type MapSpec, MapType, NOT_FOUND, UpdateFlag } from '../../src/maps/map.js'
import { answerOf } from '../support/map-model.js'
import { seededPrng } from '../support/seed.js'

const prng = seededPrng(t)

function lpmOf(maxEntries: number, tables?: number): LpmMap {
  const spec: MapSpec = {
    name: 'ipcache',
    type: MapType.LPM,
    keyWords: 4,
    valueWords: 2,
    maxEntries,
    ...(tables === undefined ? {} : { tables }),
  }
  return LpmMap.create(spec, new SharedArrayBuffer(LpmMap.bytesFor(spec)))
}

const ip = (a: number, b: number, c: number, d: number): Int32Array =>
  Int32Array.of(0, 0, 0xffff, (a << 24) | (b << 16) | (c << 8) | d)

function covers(prefix: Int32Array, length: number, address: Int32Array): boolean {
  for (let bit = 0; bit < length; bit++) {
    const difference = (prefix[bit >> 5] as number) ^ (address[bit >> 5] as number)
    if (((difference >>> (31 - (bit & 31))) & 1) === 1) return false
  }
  return true
}

interface Prefix {
  readonly address: Int32Array
  readonly length: number
  value: number
}

class Model {
  readonly prefixes: Prefix[] = []

  find(address: Int32Array, length: number): Prefix | undefined {
    return this.prefixes.find((p) => p.length === length && covers(p.address, length, address))
  }

  lookup(address: Int32Array): number {
    let best: Prefix | undefined
    for (const prefix of this.prefixes) {
      if (best !== undefined && best.length >= prefix.length) continue
      if (covers(prefix.address, prefix.length, address)) best = prefix
    }
    return best?.value ?? NOT_FOUND
  }
}

/** Few different bytes, so that prefixes nest and meet. */
function randomAddress(isIpv4: boolean): Int32Array {
  const word = (): number => {
    let bytes = 0
    for (let i = 0; i < 4; i++) bytes = (bytes << 8) | [0, 1, 10, 128, 255][prng.below(5) as 0]
    return bytes
  }
  return isIpv4 ? Int32Array.of(0, 0, 0xffff, word()) : Int32Array.of(word(), word(), 0, word())
}

/** What both ways to look up say, of an address inside other words. */
const sameAnswers = (map: LpmMap, address: Int32Array): number => {
  const packed = new Int32Array(9)
  packed.set(address, 5)
  const slot = map.lookup(packed, 5)
  const word = answerOf(map, packed, 5)
  const value = slot === NOT_FOUND ? NOT_FOUND : (map.words[map.valueStart(slot)] as number)
  assert.equal(word, value)
  return value
}

for (const kind of ['IPv4', 'IPv6', 'both'] as const) {
  t.test(`an LPM map answers as a list of prefixes does: ${kind}`, async (t) => {
    const map = lpmOf(150)
    const model = new Model()
    const tables = map.freeTables
    for (let i = 1; i <= 6_000; i++) {
      const isIpv4 = kind === 'both' ? prng.chance(0.5) : kind === 'IPv4'
      const address = randomAddress(isIpv4)
      // One in ten is shorter than /96: it covers IPv4 when its bits say so.
      const isShort = !isIpv4 || prng.chance(0.1)
      const length = isShort ? prng.below(isIpv4 ? 97 : 129) : 96 + prng.below(33)
      const known = model.find(address, length)
      if (prng.chance(0.5)) {
        const slot = map.update(address, length, Int32Array.of(i, -i))
        assert.equal(slot === FULL, known === undefined && model.prefixes.length === 150)
        if (known !== undefined) known.value = i
        else if (slot !== FULL) model.prefixes.push({ address, length, value: i })
      } else {
        assert.equal(map.delete(address, length), known !== undefined)
        if (known !== undefined) model.prefixes.splice(model.prefixes.indexOf(known), 1)
      }
      assert.equal(map.size, model.prefixes.length)
      for (let j = 0; j < 4; j++) {
        const probe = randomAddress(isIpv4)
        assert.equal(sameAnswers(map, probe), model.lookup(probe), `operation ${i}`)
      }
    }
    const key = new Int32Array(5)
    const value = new Int32Array(2)
    for (const slot of map.slots()) {
      t.ok(map.read(slot, key, value))
      t.equal(model.find(key, key[4] as number)?.value, value[0])
    }
    for (const { address, length } of [...model.prefixes]) {
      t.not(map.find(address, length), NOT_FOUND)
      t.ok(map.delete(address, length))
    }
    t.equal(map.size, 0)
    t.equal(map.freeTables, tables, 'every table is given back')
    for (let j = 0; j < 100; j++) t.equal(sameAnswers(map, randomAddress(j % 2 === 0)), NOT_FOUND)
  })
}

t.test('the boundaries of every IPv4 prefix length', async (t) => {
  for (let bits = 0; bits <= 32; bits++) {
    const map = lpmOf(4)
    const base = bits === 0 ? 0 : (0xc0a80101 & (-1 << (32 - bits))) | 0
    const last = bits === 32 ? base : base | (-1 >>> bits)
    map.update(Int32Array.of(0, 0, 0xffff, 0xc0a80101), 96 + bits, Int32Array.of(bits + 1, 0))
    const at = (word: number): number => sameAnswers(map, Int32Array.of(0, 0, 0xffff, word))
    t.equal(at(base), bits + 1)
    t.equal(at(last), bits + 1)
    if (bits === 0) continue
    t.equal(at((base - 1) | 0), NOT_FOUND)
    t.equal(at((last + 1) | 0), NOT_FOUND)
  }
})

t.test('a slot stays with its prefix, and update writes into it', async (t) => {
  const map = lpmOf(50)
  const slot = map.update(ip(10, 1, 2, 3), 128, Int32Array.of(1, 2))
  for (let i = 0; i < 40; i++) map.update(ip(10, i, 0, 0), 96 + (i % 33), Int32Array.of(i, i))
  t.equal(map.update(ip(10, 1, 2, 3), 128, Int32Array.of(3, 4)), slot)
  t.equal(map.find(ip(10, 1, 2, 3), 128), slot)
  t.equal(map.find(ip(10, 1, 2, 3), 127), NOT_FOUND)
  const start = map.keyStart(slot)
  t.same([...map.words.subarray(start, start + 5)], [...ip(10, 1, 2, 3), 128])
})

t.test('the flags of update', async (t) => {
  const map = lpmOf(2)
  const value = Int32Array.of(1, 1)
  t.equal(map.update(ip(1, 1, 1, 1), 128, value, UpdateFlag.EXIST), NOT_FOUND)
  const slot = map.update(ip(1, 1, 1, 1), 128, value, UpdateFlag.NO_EXIST)
  t.ok(slot >= 0)
  t.equal(map.update(ip(1, 1, 1, 1), 128, value, UpdateFlag.NO_EXIST), EXISTS)
  t.equal(map.update(ip(1, 1, 1, 1), 128, value, UpdateFlag.EXIST), slot)
})

t.test('FULL when no table is left changes nothing; prefixes up to /16 need none', async (t) => {
  const map = lpmOf(50, 3)
  const value = Int32Array.of(5, 5)
  t.ok(map.update(ip(1, 1, 1, 1), 128, value) >= 0)
  t.equal(map.freeTables, 1)
  t.equal(map.update(ip(2, 2, 2, 2), 128, value), FULL)
  t.equal(map.size, 1)
  t.equal(sameAnswers(map, ip(2, 2, 2, 2)), NOT_FOUND)
  t.ok(map.update(ip(1, 1, 1, 9), 126, value) >= 0, 'the same tables serve its neighbours')
  t.ok(map.update(ip(2, 2, 2, 0), 120, value) >= 0)
  t.equal(map.freeTables, 0)
  t.ok(map.update(ip(3, 3, 0, 0), 112, value) >= 0)
  t.ok(map.delete(ip(1, 1, 1, 1), 128))
  t.equal(map.freeTables, 0, 'its neighbour still needs them')
  t.ok(map.delete(ip(1, 1, 1, 9), 126))
  t.equal(map.freeTables, 2)
})

t.test('a prefix length outside 0 to 128 is refused', async (t) => {
  const map = lpmOf(4)
  for (const length of [-1, 129, 1.5, Number.NaN]) {
    t.throws(() => map.update(ip(1, 1, 1, 1), length, Int32Array.of(1, 1)), { code: 'EMAP_SPEC' })
    t.throws(() => map.delete(ip(1, 1, 1, 1), length), { code: 'EMAP_SPEC' })
    t.throws(() => map.find(ip(1, 1, 1, 1), length), { code: 'EMAP_SPEC' })
  }
})
