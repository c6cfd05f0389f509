/** Packets of several buffers: the table of their buffers, sums over them, and ports on memory. */
import t from 'tap'
import { InvariantError } from '../../src/base/assert.js'
import { VirtualClock } from '../../src/base/clock.js'
import { Burst, NO_PORT } from '../../src/packet/burst.js'
import { CHAIN_BUFFERS_MAX, FrameChains, NO_BUFFER } from '../../src/packet/frame-chains.js'
import { FramePool } from '../../src/packet/frame-pool.js'
import { PacketBuffer } from '../../src/packet/packet-buffer.js'
import { assertConserved } from '../../src/port/conservation.js'
import { FaultExchange } from '../../src/port/fault-exchange.js'
import { MemoryPort } from '../../src/port/memory-port.js'
import { SoftwareExchange } from '../../src/port/software-exchange.js'
import { seededPrng } from '../support/seed.js'

const STRIDE = 2048
const FRAMES = 64
const LARGE = { frameBytesMax: 40_000 }

function build(frameCount = FRAMES) {
  const [left, right] = [new MemoryPort('left', LARGE), new MemoryPort('right', LARGE)]
  const clock = new VirtualClock()
  const exchange = new SoftwareExchange([left, right], { clock, frameCount })
  return { left, right, exchange, burst: new Burst(32) }
}

const numbered = (bytes: number, first = 0): Uint8Array =>
  Uint8Array.from({ length: bytes }, (_, i) => (first + i * 7 + Math.trunc(i / 251)) & 0xff)

t.test('the sum over several buffers is that of the bytes in one piece', (t) => {
  const prng = seededPrng(t)
  const memory = new Uint8Array(FRAMES * STRIDE)
  for (let round = 0; round < 500; round++) {
    const chains = FrameChains.empty(FRAMES, STRIDE)
    const packet = new PacketBuffer(memory.buffer, STRIDE, chains)
    const flat: number[] = []
    const buffers = 2 + prng.below(CHAIN_BUFFERS_MAX - 1)
    let [before, endBefore, first] = [0, 0, 0]
    for (let i = 0; i < buffers; i++) {
      // Any length but the first one's: odd ones, and of one byte.
      const offset = i === 0 ? prng.below(900) : prng.below(STRIDE - 1)
      const room = STRIDE - offset
      const bytes = i === 0 ? room - prng.below(8) : 1 + prng.below(room)
      const start = i * 3 * STRIDE + offset
      for (let at = 0; at < bytes; at++) {
        const value = prng.below(256)
        memory[start + at] = value
        flat.push(value)
      }
      if (i === 0) first = start
      else chains.append(before, endBefore, start, start + bytes, i === 1)
      ;[before, endBefore] = [start, start + bytes]
    }
    packet.attach(first, flat.length)
    if (!packet.isChained) continue
    const offset = prng.below(60)
    const bytes = flat.length - offset
    const alone = new PacketBuffer(Uint8Array.from([...flat, 0]).buffer, flat.length + 1)
    alone.attach(0, flat.length)
    if (packet.sum16(offset, bytes) !== alone.sum16(offset, bytes)) t.fail('another sum')
    if (packet.start !== first || packet.length !== flat.length) t.fail('it has moved')
    const copy = new Uint8Array(flat.length)
    packet.copyTo(copy, 0, flat.length)
    if (Buffer.compare(copy, Uint8Array.from(flat)) !== 0) t.fail('another copy')
  }
  t.pass('500 packets')
  t.end()
})

t.test('buffers are linked in their order, and go back to the pool with the packet', (t) => {
  const pool = FramePool.filled(4, STRIDE)
  const chains = FrameChains.empty(4, STRIDE)
  const [a, b, c] = [pool.take() + 256, pool.take() + 256, pool.take() + 256]
  chains.append(a, a + 1792, b, b + 1792, true)
  chains.append(b, b + 1792, c, c + 5, false)
  t.same([chains.next(a), chains.next(b), chains.next(c)], [b, c, NO_BUFFER])
  t.same([chains.end(a), chains.end(c)], [a + 1792, c + 5])
  t.same([chains.hasAny, chains.tailFrames], [true, 2])
  t.throws(() => chains.append(a, a + 1, c, c + 1, true), InvariantError)
  chains.release(a, pool)
  t.same([chains.hasAny, chains.tailFrames, pool.freeCount], [false, 0, 3])
  chains.release(a, pool)
  t.equal(pool.freeCount, 3, 'an ordinary packet has nothing behind it')
  t.end()
})

t.test('frames of every length cross memory ports whole, and none is lost', (t) => {
  const { left, right, exchange, burst } = build()
  const capacity = exchange.stride - exchange.headroomBytes
  const most = CHAIN_BUFFERS_MAX * capacity
  for (const bytes of [60, capacity, capacity + 1, 2 * capacity, 2 * capacity + 1, 9014, most]) {
    left.inject(numbered(bytes, bytes))
    t.equal(exchange.exchange(burst), 1)
    assertConserved(exchange, burst)
    t.equal(burst.lengths[0], bytes)
    burst.ports[0] = 1
    exchange.exchange(burst)
    t.same(right.take(), [numbered(bytes, bytes)], `${bytes} bytes`)
    t.equal(exchange.pool.freeCount, FRAMES)
  }
  t.equal(exchange.statistics(1).sentFrames, 7)
  left.inject(numbered(most + 1))
  t.equal(exchange.exchange(burst), 0)
  t.equal(exchange.statistics(0).receiveDropped, 1, 'more buffers than the kernel sends')
  exchange.close()
  t.end()
})

t.test('without enough free frames a large packet is a counted drop, the next one passes', (t) => {
  const { left, exchange, burst } = build(4)
  left.inject(numbered(9014))
  left.inject(numbered(5000))
  t.equal(exchange.exchange(burst), 1)
  t.equal(burst.lengths[0], 5000)
  t.equal(exchange.statistics(0).receiveDropped, 1)
  assertConserved(exchange, burst)
  exchange.close()
  t.end()
})

t.test('a large packet that is dropped, or cut to less, gives all of its frames back', (t) => {
  const { left, right, exchange, burst } = build()
  for (const [port, bytes, arrives] of [
    [NO_PORT, 9014, []],
    [1, 100, [100]],
    [1, 3000, [3000]],
  ] as const) {
    left.inject(numbered(9014))
    exchange.exchange(burst)
    burst.ports[0] = port
    burst.lengths[0] = bytes
    exchange.exchange(burst)
    t.same(
      right.take().map(({ length }) => length),
      arrives,
    )
    t.same([exchange.pool.freeCount, exchange.chains.tailFrames], [FRAMES, 0])
  }
  exchange.close()
  t.end()
})

t.test('faults leave no frame of a large packet behind', (t) => {
  const seed = seededPrng(t).nextInt32()
  const { left, right, exchange: inner, burst } = build(256)
  const rates = { drop: 0.1, duplicate: 0.2, delay: 0.2, corrupt: 0.2, truncate: 0.2 }
  const exchange = new FaultExchange(inner, { seed, receive: rates, send: rates })
  for (let round = 0; round < 500; round++) {
    left.inject(numbered(round % 3 === 0 ? 60 : 1000 + ((round * 37) % 9000)))
    exchange.exchange(burst)
    assertConserved(exchange, burst)
    burst.ports.fill(1)
    right.take()
  }
  exchange.close()
  t.equal(inner.pool.freeCount, 256)
  t.end()
})
