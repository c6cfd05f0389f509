/** Memory of the native package for large tables. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { allocateMemory, SharedMemory, XdpErrorCode } from 'xdp-socket-napi'

const HUGE_PAGE_BYTES = 2 ** 21

t.test('it is zeros, writable, and as long as asked for', async (t) => {
  const bytes = 5 * 2 ** 20 + 64
  const words = new Int32Array(allocateMemory(bytes))
  t.equal(words.byteLength, bytes)
  t.ok(words.every((word) => word === 0))
  words.fill(7)
  t.equal(words.at(-1), 7)
})

t.test('all of its pages are there before anybody touches them', async (t) => {
  const bytes = 64 * 2 ** 20
  const before = process.memoryUsage().rss
  const buffer = allocateMemory(bytes)
  const grown = process.memoryUsage().rss - before
  t.ok(grown > 0.9 * bytes, `${grown} bytes more of ${buffer.byteLength}`)
})

t.test('lengths that are none are refused by name', async (t) => {
  for (const bytes of [0, -1, 1.5, Number.NaN, 2 ** 41]) {
    t.throws(() => allocateMemory(bytes), { code: XdpErrorCode.ARGUMENT, message: /^bytes is/ })
  }
})

t.test('a large file is mapped where a huge page may begin, again and again', async (t) => {
  const path = join(t.testdir(), 'table')
  const bytes = 2 * HUGE_PAGE_BYTES + 64
  const first = SharedMemory.open(path, bytes, { create: true })
  new Int32Array(first.buffer).fill(5)
  const second = SharedMemory.open(path, 0)
  t.equal(new Int32Array(second.buffer).at(-1), 5)
  const starts = readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter((line) => line.endsWith(path))
    .map((line) => Number.parseInt(line, 16))
  t.equal(starts.length, 2)
  for (const start of starts) t.equal(start % HUGE_PAGE_BYTES, 0)
  first.close()
  second.close()
})
