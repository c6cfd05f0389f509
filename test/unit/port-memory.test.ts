/** Memory ports and the software exchange: order, bounds, owners, and every frame accounted for. */
import t from 'tap'
import { InvariantError } from '../../src/base/assert.js'
import { VirtualClock } from '../../src/base/clock.js'
import { ErrorCode } from '../../src/base/errors.js'
import { Burst, NO_PORT } from '../../src/packet/burst.js'
import { NO_FRAME } from '../../src/packet/frame-pool.js'
import { assertConserved } from '../../src/port/conservation.js'
import { MemoryPort } from '../../src/port/memory-port.js'
import { SoftwareExchange } from '../../src/port/software-exchange.js'
import { seededPrng } from '../support/seed.js'

const frameOf = (length: number, fill: number) => new Uint8Array(length).fill(fill)

function twoPorts(frameCount = 16) {
  const clock = new VirtualClock()
  const left = new MemoryPort('left')
  const right = new MemoryPort('right')
  const exchange = new SoftwareExchange([left, right], { clock, frameCount })
  return { clock, left, right, exchange, burst: new Burst(8) }
}

t.test('a frame crosses from one port to the other unchanged', async (t) => {
  const { left, right, exchange, burst } = twoPorts()
  left.inject(frameOf(60, 7))
  t.equal(exchange.exchange(burst), 1)
  t.equal(burst.ports[0], 0)
  t.equal(burst.lengths[0], 60)
  t.equal(burst.starts[0] % exchange.stride, 256, 'with the headroom of XDP in front')
  t.equal(burst.nowSeconds, 1)
  burst.ports[0] = 1
  t.equal(exchange.exchange(burst), 0)
  t.same(right.take(), [frameOf(60, 7)])
  t.same(left.take(), [])
  t.match(exchange.statistics(0), { receivedFrames: 1, receivedBytes: 60, sentFrames: 0 })
  t.match(exchange.statistics(1), { sentFrames: 1, sentBytes: 60, sendDropped: 0 })
  exchange.close()
})

t.test('a packet that grew into its headroom still finds its frame', async (t) => {
  const { left, right, exchange, burst } = twoPorts(1)
  for (let round = 0; round < 3; round++) {
    left.inject(frameOf(100, round))
    t.equal(exchange.exchange(burst), 1)
    burst.starts[0] -= 50
    burst.lengths[0] += 50
    burst.ports[0] = 1
    exchange.exchange(burst)
    t.equal(right.take()[0].length, 150)
  }
  exchange.close()
})

t.test('a busy port starves no other', async (t) => {
  const { left, right, exchange, burst } = twoPorts(64)
  for (let i = 0; i < 50; i++) left.inject(frameOf(60, 1))
  for (let i = 0; i < 3; i++) right.inject(frameOf(60, 2))
  t.equal(exchange.exchange(burst), 8)
  const from = (port: number) => burst.ports.filter((p) => p === port).length
  t.equal(from(1), 3)
  t.equal(from(0), 5)
  exchange.close()
})

t.test('a frame longer than the UMEM has room for is a counted drop', async (t) => {
  const port = new MemoryPort('jumbo', { frameBytesMax: 9000 })
  const exchange = new SoftwareExchange([port], { clock: new VirtualClock(), frameCount: 2 })
  const burst = new Burst(2)
  port.inject(frameOf(9000, 1))
  port.inject(frameOf(60, 2))
  port.inject(frameOf(9001, 3))
  t.equal(exchange.exchange(burst), 1)
  t.equal(burst.lengths[0], 60)
  t.match(exchange.statistics(0), { receivedFrames: 1, receiveDropped: 2 })
  exchange.close()
})

t.test(
  'frames wait in the port when none is free, and are refused when its queue is full',
  async (t) => {
    const port = new MemoryPort('small', { queueFramesMax: 3 })
    const exchange = new SoftwareExchange([port], { clock: new VirtualClock(), frameCount: 2 })
    const burst = new Burst(8)
    t.same(
      [1, 2, 3, 4].map((n) => port.inject(frameOf(60, n))),
      [true, true, true, false],
    )
    t.equal(exchange.exchange(burst), 2)
    t.equal(exchange.statistics(0).receiveDropped, 1)
    burst.ports.fill(NO_PORT)
    t.equal(exchange.exchange(burst), 1)
    exchange.close()
  },
)

t.test('a full or runt transmission is a counted drop', async (t) => {
  const port = new MemoryPort('tx', { queueFramesMax: 1 })
  const exchange = new SoftwareExchange([port], { clock: new VirtualClock() })
  const burst = new Burst(8)
  for (const length of [60, 60, 13]) {
    burst.starts[burst.count] = exchange.pool.take()
    burst.lengths[burst.count] = length
    burst.ports[burst.count] = 0
    burst.count++
  }
  exchange.exchange(burst)
  t.match(exchange.statistics(0), { sentFrames: 1, sendDropped: 2 })
  exchange.close()
})

t.test('a frame sent or freed twice is named', async (t) => {
  for (const ports of [
    [1, 1],
    [NO_PORT, 1],
    [1, NO_PORT],
    [NO_PORT, NO_PORT],
  ]) {
    const { left, exchange, burst } = twoPorts()
    left.inject(frameOf(60, 1))
    exchange.exchange(burst)
    burst.starts[1] = burst.starts[0]
    burst.lengths[1] = 60
    burst.ports.set(ports)
    burst.count = 2
    t.throws(() => exchange.exchange(burst), { name: 'InvariantError', message: /frame 0 .*twice/ })
  }
})

t.test('a frame that reaches over its end, or was never there, stops the worker', async (t) => {
  const cases: [number, number, number][] = [
    [256, 2000, 0],
    [-1, 60, 0],
    [2 ** 30, 60, 0],
    [256, 60, 7],
    [256, 60, -2],
  ]
  for (const [start, length, port] of cases) {
    const { left, exchange, burst } = twoPorts()
    left.inject(frameOf(60, 1))
    exchange.exchange(burst)
    burst.starts[0] = start
    burst.lengths[0] = length
    burst.ports[0] = port
    t.throws(() => exchange.exchange(burst), InvariantError)
  }
})

t.test('a lost frame is found by the sum and named at close', async (t) => {
  const { exchange, burst } = twoPorts()
  exchange.exchange(burst)
  assertConserved(exchange, burst)
  t.not(exchange.pool.take(), NO_FRAME)
  t.throws(() => assertConserved(exchange, burst), /15 free \+ 0 in the burst \+ 0 on rings/)
  t.throws(() => exchange.close(), /missing are 0$/)
})

t.test('maxReceive 0 sends and takes nothing; close takes back what was not sent', async (t) => {
  const { left, right, exchange, burst } = twoPorts()
  left.inject(frameOf(60, 1))
  left.inject(frameOf(60, 2))
  exchange.exchange(burst, 1)
  burst.ports[0] = 1
  t.equal(exchange.exchange(burst, 0), 0)
  t.equal(right.take().length, 1)
  t.equal(exchange.exchange(burst), 1)
  exchange.close()
  exchange.close()
  t.equal(burst.count, 0)
  t.equal(exchange.pool.freeCount, 16)
  t.throws(() => exchange.exchange(burst), InvariantError)
})

t.test('ports come and go; what is sent to one that left is a counted drop', async (t) => {
  const { left, exchange, burst } = twoPorts()
  left.inject(frameOf(60, 1))
  exchange.exchange(burst)
  exchange.removePort(1)
  burst.ports[0] = 1
  exchange.exchange(burst)
  t.equal(exchange.statistics(1).sendDropped, 1)
  t.same(exchange.portNames, ['left', ''])
  t.throws(() => exchange.addPort(new MemoryPort('left')), { code: ErrorCode.PORT_ATTACH })
  t.equal(exchange.addPort(new MemoryPort('again')), 1)
  t.equal(exchange.statistics(1).sendDropped, 0)
  t.throws(() => exchange.removePort(5), InvariantError)
  exchange.close()
})

t.test('a wire between two exchanges delivers after its delay, in virtual time', async (t) => {
  const clock = new VirtualClock()
  const [a, b] = MemoryPort.pair('a', 'b', { clock, delayNanoseconds: 5_000_000 })
  const near = new SoftwareExchange([a], { clock })
  const far = new SoftwareExchange([b], { clock })
  const burst = new Burst(4)
  burst.starts[0] = near.pool.take()
  burst.lengths[0] = 60
  burst.count = 1
  near.exchange(burst)
  const farBurst = new Burst(4)
  t.equal(far.exchange(farBurst), 0)
  far.wait(1000)
  clock.advanceSeconds(0.0049)
  t.equal(far.exchange(farBurst), 0)
  clock.advanceSeconds(0.0001)
  t.equal(far.exchange(farBurst), 1)
  far.close()
  burst.starts[0] = near.pool.take()
  burst.count = 1
  near.exchange(burst)
  t.equal(near.statistics(0).sendDropped, 1, 'the wire is down when its other end closed')
  near.close()
})

t.test('frames are conserved and in order under random operations', async (t) => {
  const prng = seededPrng(t)
  const ports = [0, 1, 2].map((n) => new MemoryPort(`p${n}`, { queueFramesMax: 20 }))
  const exchange = new SoftwareExchange(ports, { clock: new VirtualClock(), frameCount: 24 })
  const burst = new Burst(16)
  // What each port must have sent: the first two bytes number the frame.
  const expected: number[][] = [[], [], []]
  const sent: number[][] = [[], [], []]
  let serial = 0
  for (let round = 0; round < 5000; round++) {
    for (let i = prng.below(12); i > 0; i--) {
      const frame = new Uint8Array(14 + prng.below(1500))
      new DataView(frame.buffer).setUint16(0, serial++ & 0xffff)
      ports[prng.below(3)].inject(frame)
    }
    exchange.exchange(burst, prng.below(17))
    assertConserved(exchange, burst)
    const view = new DataView(exchange.umem)
    for (let i = 0; i < burst.count; i++) {
      const port = prng.below(4) - 1
      burst.ports[i] = port
      if (port !== NO_PORT) expected[port].push(view.getUint16(burst.starts[i]))
    }
    exchange.exchange(burst, 0)
    assertConserved(exchange, burst)
    ports.forEach((port, n) => {
      for (const f of port.take()) sent[n].push((f[0] << 8) | f[1])
    })
  }
  t.same(sent, expected)
  exchange.close()
  t.equal(exchange.pool.freeCount, 24)
})

t.test('wake ends a wait, also one that has not begun', async (t) => {
  const sleeping = new SoftwareExchange([], {
    clock: { seconds: () => 1, nanosecondsOfSecond: () => 0 },
  })
  sleeping.wake()
  const before = Date.now()
  sleeping.wait(10_000)
  t.ok(Date.now() - before < 5000)
  sleeping.wait(1)
  sleeping.close()
})
