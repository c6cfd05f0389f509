/** The movable view of a frame, the pool of free frames, and the burst. */
import t from 'tap'
import { InvariantError } from '../../src/base/assert.js'
import { Burst, NO_PORT } from '../../src/packet/burst.js'
import { FramePool, NO_FRAME } from '../../src/packet/frame-pool.js'
import { PacketBuffer } from '../../src/packet/packet-buffer.js'
import { seededPrng } from '../support/seed.js'

const STRIDE = 64
const FRAMES = 4

function frames(): { packet: PacketBuffer; memory: Uint8Array } {
  const memory = Uint8Array.from({ length: STRIDE * FRAMES }, (_, i) => i)
  return { packet: new PacketBuffer(memory.buffer, STRIDE), memory }
}

t.test('readers are big-endian, 32 bits signed, at any offset', (t) => {
  const { packet, memory } = frames()
  memory.set([0xff, 0xfe, 0xfd, 0xfc, 0x7f], STRIDE + 17)
  packet.attach(STRIDE + 17, 5)
  t.equal(packet.u8(0), 0xff)
  t.equal(packet.u16(0), 0xfffe)
  t.equal(packet.u16(1), 0xfefd)
  t.equal(packet.i32(0), 0xfffefdfc | 0)
  t.equal(packet.i32(1), 0xfefdfc7f | 0)
  t.end()
})

t.test('writers are big-endian, take either sign, and touch nothing beside', (t) => {
  const { packet, memory } = frames()
  memory.fill(0xa5)
  packet.attach(STRIDE + 17, 20)
  packet.setU8(0, 0x101)
  packet.setU16(1, 0x10203)
  packet.setU16(3, -2)
  packet.setI32(5, 0xfffefdfc)
  packet.setI32(9, -2)
  const written = [...memory.subarray(STRIDE + 16, STRIDE + 31)]
  t.strictSame(written, [0xa5, 1, 2, 3, 255, 254, 255, 254, 253, 252, 255, 255, 255, 254, 0xa5])
  t.end()
})

t.test('a view moves from frame to frame and owns nothing', (t) => {
  const { packet } = frames()
  packet.attach(3 * STRIDE + 10, 20)
  t.equal(packet.start, 3 * STRIDE + 10)
  t.equal(packet.length, 20)
  t.equal(packet.u8(0), 3 * STRIDE + 10)
  packet.attach(16, 4)
  t.equal(packet.u8(0), 16)
  t.ok(packet.has(4))
  t.notOk(packet.has(5))
  t.end()
})

t.test('the head grows into the headroom of its own frame, and no further', (t) => {
  const { packet } = frames()
  packet.attach(2 * STRIDE + 24, 20)
  t.notOk(packet.pushHead(25))
  t.equal(packet.start, 2 * STRIDE + 24)
  t.equal(packet.length, 20)
  t.ok(packet.pushHead(24), 'to the first byte of the frame')
  t.equal(packet.start, 2 * STRIDE)
  t.equal(packet.length, 44)
  t.notOk(packet.pushHead(1))
  packet.pullHead(30)
  t.equal(packet.start, 2 * STRIDE + 30)
  t.equal(packet.length, 14)
  t.end()
})

t.test('the end moves within its own frame, and no further', (t) => {
  const { packet } = frames()
  packet.attach(STRIDE + 24, 20)
  t.ok(packet.setLength(40), 'to the last byte of the frame')
  t.notOk(packet.setLength(41))
  t.notOk(packet.setLength(-1))
  t.equal(packet.length, 40)
  t.ok(packet.setLength(0))
  t.end()
})

t.test('frames of no byte are refused', (t) => {
  t.throws(() => new PacketBuffer(new ArrayBuffer(64), 0), InvariantError)
  t.end()
})

t.test('memory may be shared, and of a length that no word divides', (t) => {
  const packet = new PacketBuffer(new SharedArrayBuffer(67), 67)
  packet.attach(2, 65)
  packet.setI32(0, 0x01020304)
  packet.setU8(64, 9)
  t.equal(packet.sum16(0, 65), 0x0102 + 0x0304 + 0x0900)
  t.end()
})

t.test('the pool hands out each frame once, last given first', (t) => {
  const pool = FramePool.filled(FRAMES, STRIDE)
  t.equal(pool.frameCount, FRAMES)
  t.equal(pool.freeCount, FRAMES)
  const taken = [pool.take(), pool.take(), pool.take(), pool.take()]
  t.strictSame(taken, [0, STRIDE, 2 * STRIDE, 3 * STRIDE])
  t.equal(pool.take(), NO_FRAME)
  t.equal(pool.freeCount, 0)
  pool.give(2 * STRIDE)
  pool.give(0)
  t.equal(pool.take(), 0)
  t.equal(pool.take(), 2 * STRIDE)
  t.end()
})

t.test('a pool that would hold more frames than there are stops the worker', (t) => {
  const pool = FramePool.filled(FRAMES, STRIDE)
  t.throws(() => pool.give(0), InvariantError)
  t.equal(pool.freeCount, FRAMES)
  t.end()
})

t.test('the pool works on words that another fills', (t) => {
  const words = Int32Array.of(2, 128, 64, 0)
  const pool = new FramePool(words)
  t.equal(pool.frameCount, 3)
  t.equal(pool.take(), 64)
  pool.give(192)
  t.strictSame([...words.subarray(0, 3)], [2, 128, 192])
  t.end()
})

t.test('takes and gives against a plain list', (t) => {
  const prng = seededPrng(t)
  const pool = FramePool.filled(50, STRIDE)
  const model = Array.from({ length: 50 }, (_, i) => (49 - i) * STRIDE)
  const held: number[] = []
  for (let i = 0; i < 10_000; i++) {
    if (prng.chance(0.5)) {
      const frame = pool.take()
      if (frame !== (model.pop() ?? NO_FRAME)) t.fail('another frame than the last one given')
      if (frame !== NO_FRAME) held.push(frame)
    } else if (held.length > 0) {
      const [frame = 0] = held.splice(prng.below(held.length), 1)
      pool.give(frame)
      model.push(frame)
    }
    if (pool.freeCount + held.length !== 50) t.fail('a frame was lost')
  }
  t.end()
})

t.test('the columns of a burst lie behind each other on one buffer', (t) => {
  const burst = new Burst(3)
  t.equal(burst.capacity, 3)
  t.equal(burst.words.length, 16 + 9)
  burst.starts.fill(1)
  burst.lengths.fill(2)
  burst.ports.fill(NO_PORT)
  t.strictSame([...burst.words.subarray(16)], [1, 1, 1, 2, 2, 2, -1, -1, -1])
  t.equal(
    burst.words.subarray(0, 16).every((word) => word === 0),
    true,
  )
  t.end()
})

t.test('the header of a burst holds its count and its time', (t) => {
  const burst = new Burst(2)
  t.equal(burst.count, 0)
  burst.count = 2
  burst.setTime(123456, 999_999_999)
  t.strictSame([...burst.words.subarray(0, 3)], [2, 123456, 999_999_999])
  t.equal(burst.count, 2)
  t.equal(burst.nowSeconds, 123456)
  t.equal(burst.nowNanoseconds, 999_999_999)
  t.strictSame([...burst.starts], [0, 0])
  t.end()
})
