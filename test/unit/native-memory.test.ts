/** Memory of the native package for large tables. */
import t from 'tap'
import { allocateMemory, XdpErrorCode } from 'xdp-socket-napi'

t.test('it is zeros, writable, and as long as asked for', async (t) => {
  const bytes = 5 * 2 ** 20 + 64
  const words = new Int32Array(allocateMemory(bytes))
  t.equal(words.byteLength, bytes)
  t.ok(words.every((word) => word === 0))
  words.fill(7)
  t.equal(words.at(-1), 7)
})

t.test('lengths that are none are refused by name', async (t) => {
  for (const bytes of [0, -1, 1.5, Number.NaN, 2 ** 41]) {
    t.throws(() => allocateMemory(bytes), { code: XdpErrorCode.ARGUMENT, message: /^bytes is/ })
  }
})
