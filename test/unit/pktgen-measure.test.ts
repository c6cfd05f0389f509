/** What a sink makes of arriving numbers and times, against models that keep everything. */
import t from 'tap'
import {
  BUCKETS,
  bucketOf,
  highestOf,
  LATENCY_MAX_NANOSECONDS,
  LatencyHistogram,
  summarizeLatency,
} from '../../src/pktgen/latency-histogram.js'
import { SequenceTracker } from '../../src/pktgen/sequence-tracker.js'
import { seededPrng } from '../support/seed.js'

const seen = (flows: number, sequences: readonly number[]) => {
  const tracker = new SequenceTracker(flows)
  for (const sequence of sequences) tracker.see(sequence)
  const { duplicates, reordered, reorderExtent, highest } = tracker
  return { duplicates, reordered, reorderExtent, highest }
}
const NOTHING = { duplicates: 0, reordered: 0, reorderExtent: 0 }

t.test(
  'numbers in order, with gaps or without, are neither duplicates nor out of order',
  async (t) => {
    t.same(seen(1, [0, 1, 2, 3]), { ...NOTHING, highest: 4 })
    t.same(seen(1, [0, 1, 5, 9]), { ...NOTHING, highest: 10 })
  },
)

t.test('one that a later one has overtaken is out of order, by so many', async (t) => {
  t.same(seen(1, [0, 2, 3, 1, 4]), { ...NOTHING, reordered: 1, reorderExtent: 2, highest: 5 })
})

t.test('a number that comes again is a duplicate, and not out of order', async (t) => {
  t.same(seen(1, [0, 1, 1, 2, 0]), { ...NOTHING, duplicates: 2, highest: 3 })
})

t.test('frames of different flows may overtake each other', async (t) => {
  t.same(seen(2, [1, 0, 3, 2]), { ...NOTHING, highest: 4 })
  t.same(seen(2, [0, 1, 4, 2]), { ...NOTHING, reordered: 1, reorderExtent: 1, highest: 5 })
})

t.test('numbers wrap at 32 bits', async (t) => {
  const tracker = new SequenceTracker(1)
  for (const sequence of [0, 2 ** 30, 2 ** 31, 3 * 2 ** 30, -2, 0, 1, 2]) tracker.see(sequence | 0)
  t.match(tracker, { duplicates: 0, reordered: 0 })
})

t.test('after a reset nothing is remembered', async (t) => {
  const tracker = new SequenceTracker(3)
  for (const sequence of [5, 4, 4, 1]) tracker.see(sequence)
  tracker.reset()
  for (const sequence of [0, 1, 2, 3, 4, 5]) tracker.see(sequence)
  t.match(tracker, { duplicates: 0, reordered: 0, reorderExtent: 0, highest: 6 })
})

t.test('a shuffled stream is judged as a model that keeps all of it does', async (t) => {
  const prng = seededPrng(t)
  for (let round = 0; round < 50; round++) {
    const flows = 1 + prng.below(5)
    const stream: number[] = []
    for (let n = 0; n < 2_000; n++) {
      if (prng.chance(0.02)) continue
      const at = Math.max(0, stream.length - (prng.chance(0.1) ? prng.below(40) : 0))
      stream.splice(at, 0, n)
      if (prng.chance(0.02)) stream.splice(prng.below(stream.length), 0, n)
    }
    const known = new Set<number>()
    const highest = new Map<number, number>()
    const model = { duplicates: 0, reordered: 0 }
    for (const n of stream) {
      if (known.has(n)) model.duplicates++
      else if (n < (highest.get(n % flows) ?? -1)) model.reordered++
      else highest.set(n % flows, n)
      known.add(n)
    }
    t.match(seen(flows, stream), model)
  }
})

t.test('each latency lies in its bucket, and a bucket is at most 1/32 wide', async (t) => {
  t.equal(bucketOf(LATENCY_MAX_NANOSECONDS), BUCKETS - 1)
  t.equal(bucketOf(LATENCY_MAX_NANOSECONDS * 8), BUCKETS - 1)
  t.equal(bucketOf(-1), 0)
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    const high = highestOf(bucket)
    const low = bucket === 0 ? 0 : highestOf(bucket - 1) + 1
    if (bucketOf(low) !== bucket || bucketOf(high) !== bucket) t.fail(`bucket ${bucket}`)
    if (high - low > low / 32 + 1) t.fail(`bucket ${bucket} is ${high - low} wide`)
  }
})

t.test('percentiles are those of the sorted values, at most 1/32 too high', async (t) => {
  const prng = seededPrng(t)
  for (let round = 0; round < 40; round++) {
    const histogram = new LatencyHistogram()
    const values = Array.from({ length: 1 + prng.below(5_000) }, () => {
      const value = prng.below(2 ** (4 + prng.below(27)))
      histogram.record(value)
      return value
    }).sort((a, b) => a - b)
    const summary = summarizeLatency({
      buckets: histogram.buckets(),
      sum: histogram.sum,
      min: histogram.min,
      max: histogram.max,
    })
    for (const [name, share] of [
      ['p50', 0.5],
      ['p99', 0.99],
      ['p999', 0.999],
    ] as const) {
      const exact = values[Math.max(1, Math.ceil(values.length * share)) - 1] ?? 0
      const found = summary?.[name] ?? -1
      if (found < exact || found > exact * (1 + 1 / 32) + 1) t.fail(`${name} ${found} not ${exact}`)
    }
    t.match(summary, { count: values.length, min: values[0], max: values.at(-1) })
  }
})

t.test('without a measured frame there is no latency', async (t) => {
  t.equal(summarizeLatency({ buckets: [], sum: 0, min: 0, max: 0 }), undefined)
  const histogram = new LatencyHistogram()
  histogram.record(5)
  histogram.reset()
  t.same([histogram.count, histogram.min, histogram.max, histogram.buckets()], [0, 0, 0, []])
})
