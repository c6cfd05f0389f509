/** Faults on purpose: what the fault exchange does, counts, conserves and repeats. */
import t from 'tap'
import { VirtualClock } from '../../src/base/clock.js'
import { Burst } from '../../src/packet/burst.js'
import { assertConserved } from '../../src/port/conservation.js'
import { FaultExchange, type FaultOptions } from '../../src/port/fault-exchange.js'
import { MemoryPort } from '../../src/port/memory-port.js'
import { SoftwareExchange } from '../../src/port/software-exchange.js'
import { seededPrng } from '../support/seed.js'

const FRAME_COUNT = 128

function build(options: FaultOptions) {
  const left = new MemoryPort('left')
  const right = new MemoryPort('right')
  const inner = new SoftwareExchange([left, right], {
    clock: new VirtualClock(),
    frameCount: FRAME_COUNT,
  })
  return { left, right, inner, exchange: new FaultExchange(inner, options), burst: new Burst(32) }
}

/**
 * Sends `count` numbered frames from left to right, a few per exchange; returns what came out, as
 * text.
 */
function run(options: FaultOptions, count: number) {
  const { left, right, inner, exchange, burst } = build(options)
  const out: string[] = []
  let injected = 0
  let idle = 0
  while (idle < 40) {
    for (let i = 0; i < 5 && injected < count; i++) {
      const frame = new Uint8Array(60)
      new DataView(frame.buffer).setUint32(0, injected++)
      left.inject(frame)
    }
    exchange.exchange(burst)
    assertConserved(exchange, burst)
    idle = burst.count === 0 ? idle + 1 : 0
    burst.ports.fill(1)
    for (const frame of right.take()) out.push(Buffer.from(frame).toString('hex'))
  }
  const faults = exchange.faults()
  exchange.close()
  return { out, faults, inner }
}

const numberOf = (hex: string) => Number.parseInt(hex.slice(0, 8), 16)

t.test('without rates nothing happens to the frames', async (t) => {
  const { out, faults } = run({ seed: 1 }, 500)
  t.same(
    out.map(numberOf),
    Array.from({ length: 500 }, (_, i) => i),
  )
  t.match(faults.receive, { frames: 500, dropped: 0, duplicated: 0, delayed: 0, corrupted: 0 })
  t.match(faults.send, { frames: 500, truncated: 0 })
})

t.test('each fault alone does what its name says, as often as it counts', async (t) => {
  for (const side of ['receive', 'send'] as const) {
    const dropped = run({ seed: 2, [side]: { drop: 0.3 } }, 1000)
    t.equal(dropped.out.length, 1000 - dropped.faults[side].dropped)
    t.ok(dropped.faults[side].dropped > 200 && dropped.faults[side].dropped < 400)

    const doubled = run({ seed: 3, [side]: { duplicate: 0.3 } }, 1000)
    t.equal(doubled.out.length, 1000 + doubled.faults[side].duplicated)
    t.equal(new Set(doubled.out).size, 1000)
    t.ok(doubled.faults[side].duplicated > 200)

    const delayed = run({ seed: 4, [side]: { delay: 0.3 }, delayExchangesMax: 4 }, 1000)
    const order = delayed.out.map(numberOf)
    t.same(
      order.toSorted((a, b) => a - b),
      Array.from({ length: 1000 }, (_, i) => i),
    )
    t.not(order.join(), order.toSorted((a, b) => a - b).join(), 'frames overtook others')
    // Five frames an exchange: one that waits four exchanges is overtaken by no more than 25.
    t.ok(order.every((number, place) => Math.abs(number - place) <= 25))
    t.ok(delayed.faults[side].delayed > 200)

    const corrupt = run({ seed: 5, [side]: { corrupt: 0.3 } }, 1000)
    const wrong = corrupt.out.filter(
      (hex, i) => hex !== i.toString(16).padStart(8, '0').padEnd(120, '0'),
    )
    t.equal(corrupt.out.length, 1000)
    // A bit that is flipped twice is whole again, which is rare.
    t.ok(wrong.length > 0.98 * corrupt.faults[side].corrupted)
    t.ok(wrong.length <= corrupt.faults[side].corrupted)

    const cut = run({ seed: 6, [side]: { truncate: 0.3 } }, 1000)
    const short = cut.out.filter((hex) => hex.length < 120).length
    const runts = 1000 - cut.out.length
    t.equal(short + runts, cut.faults[side].truncated, 'runts are refused by the port')
  }
})

t.test('the same seed does the same again, another seed does not', async (t) => {
  const rates = { drop: 0.1, duplicate: 0.1, delay: 0.2, corrupt: 0.1, truncate: 0.1 }
  const once = run({ seed: 77, receive: rates, send: rates }, 2000)
  const again = run({ seed: 77, receive: rates, send: rates }, 2000)
  t.same(again.out, once.out)
  t.same(again.faults, once.faults)
  t.not(run({ seed: 78, receive: rates, send: rates }, 2000).out.join(), once.out.join())
})

t.test('faults on send do not change the faults on receive', async (t) => {
  const receive = { drop: 0.2, corrupt: 0.2 }
  const plain = run({ seed: 9, receive }, 1000)
  const both = run({ seed: 9, receive, send: { corrupt: 0.5 } }, 1000)
  t.same(both.faults.receive, plain.faults.receive)
})

t.test('frames are conserved under all faults, scarce frames and random bursts', async (t) => {
  const prng = seededPrng(t)
  for (let game = 0; game < 20; game++) {
    const rates = () => ({
      drop: prng.below(5) / 10,
      duplicate: prng.below(10) / 10,
      delay: prng.below(10) / 10,
      corrupt: prng.below(10) / 10,
      truncate: prng.below(10) / 10,
    })
    const { left, right, inner, exchange, burst } = build({
      seed: prng.nextInt32(),
      receive: rates(),
      send: rates(),
      delayExchangesMax: 1 + prng.below(20),
      heldFramesMax: prng.below(100),
    })
    for (let round = 0; round < 300; round++) {
      for (let i = prng.below(40); i > 0; i--) left.inject(new Uint8Array(prng.below(1500)))
      const most = prng.below(33)
      t.ok(exchange.exchange(burst, most) <= most)
      assertConserved(exchange, burst)
      for (let i = 0; i < burst.count; i++) burst.ports[i] = prng.below(3) - 1
      exchange.wait(0)
      right.take()
      left.take()
    }
    exchange.close()
    exchange.close()
    t.equal(inner.pool.freeCount, FRAME_COUNT)
  }
})

t.test('maxReceive 0 hands out nothing that was held back', async (t) => {
  const { left, exchange, burst } = build({ seed: 3, receive: { delay: 1 } })
  for (let i = 0; i < 10; i++) left.inject(new Uint8Array(60))
  t.equal(exchange.exchange(burst), 0)
  t.equal(exchange.framesOnRings, 10)
  for (let i = 0; i < 20; i++) t.equal(exchange.exchange(burst, 0), 0)
  exchange.close()
})
