/** Maglev tables: who has which share, and how little moves when backends come and go. */
import t from 'tap'
import { fillMaglev, MAGLEV_SIZES, type MaglevBackend, maglevHash } from '../../src/lb/maglev.js'
import { seededPrng } from '../support/seed.js'

const backends = (count: number, weight: (i: number) => number = () => 1): MaglevBackend[] =>
  Array.from({ length: count }, (_, i) => {
    return { id: i + 1, address4: (0x0a000100 + i) | 0, port: 8080, weight: weight(i) }
  })

function tableOf(list: readonly MaglevBackend[], size = 16_381, seed = 0): Int32Array {
  const table = new Int32Array(size)
  fillMaglev(table, list, seed)
  return table
}

function counts(table: Int32Array): Map<number, number> {
  const found = new Map<number, number>()
  for (const id of table) found.set(id, (found.get(id) ?? 0) + 1)
  return found
}

t.test('every place of every size has a backend, and shares are even', async (t) => {
  for (const size of MAGLEV_SIZES) {
    for (const count of [1, 2, 3, 7, 100]) {
      const shares = counts(tableOf(backends(count), size))
      t.equal(shares.size, count)
      t.notOk(shares.has(0))
      const values = [...shares.values()]
      t.ok(Math.max(...values) - Math.min(...values) <= 1, `${count} of ${size}`)
    }
  }
})

t.test('shares are as the weights', async (t) => {
  const shares = counts(tableOf(backends(4, (i) => [1, 2, 5, 10][i] as number)))
  for (const [id, weight] of [1, 2, 5, 10].entries()) {
    const expected = (16_381 * weight) / 18
    const found = shares.get(id + 1) ?? 0
    t.ok(Math.abs(found - expected) / expected < 0.01, `weight ${weight}: ${found} of ${expected}`)
  }
})

t.test('the order of the backends does not matter, the seed does', async (t) => {
  const list = backends(10)
  const table = tableOf(list)
  t.same(tableOf([...list].reverse()), table)
  const other = tableOf(list, 16_381, 77)
  const equal = table.filter((id, i) => id === other[i]).length
  t.ok(equal < 16_381 / 5, `${equal} places alike by chance`)
})

t.test('without one backend of N little more than its own 1/N moves', async (t) => {
  const random = seededPrng(t)
  for (const count of [3, 10, 100]) {
    const list = backends(count)
    const gone = random.below(count) + 1
    const before = tableOf(list)
    const after = tableOf(list.filter((backend) => backend.id !== gone))
    let moved = 0
    before.forEach((id, i) => {
      if (id !== gone && id !== after[i]) moved++
    })
    // NSDI 2016 section 5.3: a few per cent; the least possible is none.
    const share = moved / before.length
    t.ok(share < 0.08, `${(share * 100).toFixed(2)} % of ${count} moved without need`)
    const back = tableOf(list)
    t.same(back, before, 'and all comes back with it')
  }
})

t.test(
  'a table of the default size is built in milliseconds, the largest in a moment',
  async (t) => {
    for (const [size, boundMilliseconds] of [
      [16_381, 100],
      [131_071, 800],
    ] as const) {
      tableOf(backends(100), size)
      const start = process.hrtime.bigint()
      tableOf(backends(100), size)
      const milliseconds = Number(process.hrtime.bigint() - start) / 1e6
      t.comment(`${size}: ${milliseconds.toFixed(1)} ms`)
      t.ok(milliseconds < boundMilliseconds, `${size} in ${milliseconds} ms`)
    }
  },
)

t.test('the hash of a flow covers each word of the tuple and the seed', async (t) => {
  const tuple = Int32Array.of(0, 0, 0xffff, 0x0a000101, 0, 0, 0xffff, 0x0a60000a)
  const base = maglevHash(tuple, 0, 5000 << 16, 6, 1)
  for (let i = 0; i < tuple.length; i++) {
    const changed = tuple.slice()
    changed[i] = (changed[i] as number) ^ 1
    t.not(maglevHash(changed, 0, 5000 << 16, 6, 1), base, `word ${i}`)
  }
  t.not(maglevHash(tuple, 0, 5001 << 16, 6, 1), base)
  t.not(maglevHash(tuple, 0, 5000 << 16, 17, 1), base)
  t.not(maglevHash(tuple, 0, 5000 << 16, 6, 2), base)
})

t.test('flows of one client spread over the table', async (t) => {
  const table = tableOf(backends(5))
  const tuple = Int32Array.of(0, 0, 0xffff, 0x0a000101, 0, 0, 0xffff, 0x0a60000a)
  const shares = new Map<number, number>()
  for (let port = 1024; port < 11_024; port++) {
    const hash = maglevHash(tuple, 0, (port << 16) | 80, 6, 0)
    const id = table[(hash >>> 0) % table.length] as number
    shares.set(id, (shares.get(id) ?? 0) + 1)
  }
  for (const [id, count] of shares) t.ok(count > 1700 && count < 2300, `backend ${id}: ${count}`)
})
