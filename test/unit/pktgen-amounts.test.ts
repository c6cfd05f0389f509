/** What `ringpath pktgen` is told: sizes and their order, rates and pacing, ends, the options. */
import t from 'tap'
import { type PktgenOptions, searchRangeOf, trafficPlanOf } from '../../src/cli/pktgen-options.js'
import {
  AS_FAST_AS_POSSIBLE,
  framesPerSecond,
  intervalNanoseconds,
  Pacer,
  parseRate,
} from '../../src/pktgen/rate.js'
import { meanFrameBytes, parseSizes, scheduleOf } from '../../src/pktgen/size-mix.js'
import { parseEnds } from '../../src/pktgen/traffic-spec.js'
import { seededPrng } from '../support/seed.js'

const INVALID = { code: 'ECONFIG_INVALID' }

t.test('a mix is sent exactly by its weights, and evenly', async (t) => {
  const schedule = scheduleOf(parseSizes('imix'))
  const counts = [0, 1, 2].map((share) => schedule.filter((each) => each === share).length)
  t.same(counts, [7, 4, 1])
  t.equal(Math.round(meanFrameBytes(parseSizes('imix'))), 358)
  const prng = seededPrng(t)
  for (let round = 0; round < 200; round++) {
    const weights = Array.from({ length: 1 + prng.below(8) }, () => 1 + prng.below(100))
    const order = scheduleOf(weights.map((weight) => ({ frameBytes: 60, weight })))
    const total = order.length
    const seen = weights.map(() => 0)
    for (const [position, share] of order.entries()) {
      seen[share] = (seen[share] ?? 0) + 1
      // Never more than one frame away from its share of those sent so far.
      const fair = ((position + 1) * (weights[share] ?? 0)) / total
      if (Math.abs((seen[share] ?? 0) - fair) > 1.001) t.fail(`${weights} at ${position}`)
    }
    t.same(seen, weights)
  }
})

t.test('sizes that cannot be are refused by name', async (t) => {
  t.same(parseSizes('60'), [{ frameBytes: 60, weight: 1 }])
  t.same(parseSizes('60:2, 1514'), [
    { frameBytes: 60, weight: 2 },
    { frameBytes: 1514, weight: 1 },
  ])
  for (const text of ['', '59', '1523', '60:0', '60:1025', 'x', '60;70', '1,2,3', '60:1:1']) {
    t.throws(() => parseSizes(text), { ...INVALID, message: /^size: / }, text)
  }
})

t.test('rates are frames, or bits on the wire', async (t) => {
  t.same(parseRate('max'), AS_FAST_AS_POSSIBLE)
  t.same(parseRate('1.5M'), { unit: 'frames', perSecond: 1_500_000 })
  t.same(parseRate('500kpps'), { unit: 'frames', perSecond: 500_000 })
  t.same(parseRate('10Gbit'), { unit: 'bits', perSecond: 1e10 })
  // 64 bytes with their check sequence: the well-known 14.88 Mpps of 10 Gbit/s.
  t.equal(Math.round(framesPerSecond(parseRate('10Gbit'), parseSizes('60'))), 14_880_952)
  for (const text of ['', '0', '-1', 'fast', '1e3', '10 m m', '2000G']) {
    t.throws(() => parseRate(text), { ...INVALID, message: /^rate: / }, text)
  }
})

t.test('pacing sends what the rate says, whatever the sizes', async (t) => {
  const prng = seededPrng(t)
  for (const text of ['1k', '33k', '1.7M', '100Mbit', '9.99Gbit']) {
    const shares = parseSizes('imix')
    const schedule = scheduleOf(shares)
    const intervals = shares.map((share) => intervalNanoseconds(parseRate(text), share.frameBytes))
    const pacer = new Pacer()
    let now = 1_000_000_000
    let sent = 0
    const begin = now
    const perSecond = framesPerSecond(parseRate(text), shares)
    const step = Math.min(500_000, 20e9 / perSecond)
    while (sent < 12_000) {
      if (pacer.isDue(intervals[schedule[sent % schedule.length] ?? 0] ?? 0, now)) sent++
      else now += 1 + prng.below(step)
    }
    const expected = ((now - begin) / 1e9) * perSecond
    t.ok(Math.abs(sent - expected) < 0.01 * sent + 20, `${text}: ${sent}, expected ${expected}`)
    t.equal(pacer.timesBehind, 0)
  }
})

t.test('a sender that was held up makes good for a little, not for all', async (t) => {
  const pacer = new Pacer()
  const interval = 1_000
  t.ok(pacer.isDue(interval, 1_000_000))
  let burst = 0
  while (pacer.isDue(interval, 1_900_000)) burst++
  t.equal(burst, 900, 'behind by less than a millisecond: all of it')
  burst = 0
  while (pacer.isDue(interval, 90_000_000)) burst++
  t.equal(burst, 1, 'behind by more: it begins anew')
  t.equal(pacer.timesBehind, 1)
  const slow = new Pacer()
  t.ok(slow.isDue(1e6, 1))
  burst = 0
  while (slow.isDue(1e6, 50e6)) burst++
  t.equal(burst, 49, 'a slow one may owe 64 frames')
  t.ok(new Pacer().isDue(0, 5), 'as fast as possible is always due')
})

t.test('ends are addresses and ports, one or a range of each', async (t) => {
  const ports = { first: 9, count: 1 }
  t.same(parseEnds('to', '10.0.0.2', ports), {
    addresses: { first: 0x0a000002, count: 1 },
    ports,
  })
  t.same(parseEnds('to', '200.0.0.1-200.0.1.0:80-89', ports), {
    addresses: { first: 0xc8000001, count: 256 },
    ports: { first: 80, count: 10 },
  })
  for (const text of ['10.0.0.2-10.0.0.1', '10.0.0.2:0', '10.0.0.2:90-80', '1.1.1.1:1:2', '::1']) {
    t.throws(() => parseEnds('to', text, ports), { code: /E(CONFIG_INVALID|WIRE_ADDRESS)/ }, text)
  }
})

const DRY: PktgenOptions = {
  engine: 'xdp',
  mode: 'udp',
  to: '10.0.0.2',
  vlan: 0,
  flows: 1,
  rate: '1k',
  count: 0,
  connectionFrames: 10,
  timestamps: true,
  udpChecksum: true,
  queue: 0,
  allowDefaultRoute: false,
  sinkHook: 'xdp',
  sinkPlain: false,
  settle: 0,
  search: false,
  trial: 1,
  resolution: 1,
  lossTolerance: 0,
  attempts: 1,
  searchFrom: '1k',
  searchTo: '20M',
  print: true,
  output: 'table',
}

t.test('options that do not fit each other are refused before anything is sent', async (t) => {
  const refuses = (change: Partial<PktgenOptions>, message: RegExp) =>
    t.throws(() => trafficPlanOf({ ...DRY, ...change }), { message }, JSON.stringify(change))
  const { to: _, ...withoutTo } = DRY
  t.throws(() => trafficPlanOf(withoutTo), { ...INVALID, message: /^to: / })
  refuses({ flows: 70_000 }, /^flows: 70000, expected at most 64512/)
  refuses({ mode: 'syn', size: '60,1514' }, /^size: .*one size with TCP/)
  refuses({ mode: 'syn', size: '128' }, /^size: 128, expected 60: a SYN has no data/)
  refuses({ mode: 'connection', size: '64' }, /^size: 64, expected 70 to/)
  refuses({ vlan: 7, size: '60' }, /^size: 60, expected 62 to/)
  refuses({ toMac: 'x' }, /^to-mac: /)
  refuses({ device: 'rp-nowhere' }, /^device: "rp-nowhere", expected a device of this/)
  const { print: _print, ...wet } = DRY
  t.throws(() => trafficPlanOf(wet), { message: /^device: .*none is guessed/ })
  t.equal(trafficPlanOf({ ...DRY, vlan: 7, size: 'imix' }).frameBytesMax, 1518)
})

t.test('a search goes from a rate to one that is not lower', async (t) => {
  const sizes = parseSizes('60')
  const range = (searchFrom: string, searchTo: string) =>
    searchRangeOf({ searchFrom, searchTo }, sizes)
  t.same(range('1k', '1M'), { lowest: 1_000, highest: 1_000_000 })
  t.same(range('1k', '1k'), { lowest: 1_000, highest: 1_000 })
  const refuses = (from: string, to: string, message: RegExp) =>
    t.throws(() => range(from, to), { ...INVALID, message }, `${from} to ${to}`)
  refuses('10k', '1k', /^search-from: "10k", expected at most --search-to, which is 1k/)
  refuses('10k', '1Mbit', /^search-from: "10k", expected at most --search-to, which is 1Mbit/)
  refuses('1k', 'fast', /^search-to: "fast", expected/)
  refuses('max', '1M', /^search-from: "max", expected a rate/)
  refuses('1k', 'max', /^search-to: "max", expected a rate/)
})
