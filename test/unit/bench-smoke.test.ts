/**
 * Benchmarks still run: the smallest size of those that need no rights, and what becomes of their
 * figures.
 */
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { allocBenchmark } from '../../bench/chain/alloc-bench.js'
import { chainBenchmark } from '../../bench/chain/chain-bench.js'
import { memoryBenchmark } from '../../bench/chain/memory-bench.js'
import { setupBenchmark } from '../../bench/chain/setup-bench.js'
import { splitTable } from '../../bench/explain/explain.js'
import { splitInMemory } from '../../bench/explain/memory-split.js'
import { splitProfile } from '../../bench/explain/parts.js'
import { jsonLine, table } from '../../bench/lib/report.js'
import { isBroken, median, summarize } from '../../bench/lib/result.js'
import { mapsBenchmark } from '../../bench/micro-maps.js'
import { partsBenchmark } from '../../bench/micro-parts.js'

const machine = {
  cpu: 'a processor',
  cores: 2,
  kernel: '6.18',
  node: 'v20',
  commit: 'abc',
  date: '2026-01-01T00:00:00.000Z',
  load: 0.5,
}

t.test('the chain benchmark forwards every frame, beside the yardstick in C', async (t) => {
  const log = () => undefined
  t.equal(await chainBenchmark.problem(), undefined, 'its programs are built')
  const results = await chainBenchmark.run({ rounds: 1, size: 'smoke', log })
  const names = results.map((result) => result.name)
  t.ok(names.includes('chain/full/100') && names.includes('chain/c-full/100'))
  for (const result of results) t.ok(Number.isFinite(result.median), `${result.name} is a number`)
  const full = results.find((result) => result.name === 'chain/full/100')
  t.equal(full?.yardstick, 'chain/c-full/100')
  const sustained = results.find((result) => result.name === 'chain/full/100/sustained')
  t.equal(sustained?.yardstick, 'chain/c-full/100/sustained', 'in one piece, with renewals')
})

t.test(
  'the benchmarks of set-up, allocation, memory and parts say what they are to say',
  async (t) => {
    const log = () => undefined
    const names: string[] = []
    for (const benchmark of [setupBenchmark, allocBenchmark, memoryBenchmark, partsBenchmark]) {
      for (const result of await benchmark.run({ rounds: 1, size: 'smoke', log })) {
        t.ok(Number.isFinite(result.median), `${result.name} is a number`)
        names.push(result.name)
      }
    }
    for (const name of [
      'setup/full',
      'alloc/full',
      'alloc/collections',
      'memory/connection',
      'micro/hash/flow',
    ]) {
      t.ok(names.includes(name), name)
    }
  },
)

t.test('an explanation splits the time of a packet by passes and stages', async (t) => {
  const [lane, chain] = splitInMemory('smoke', 100)
  t.ok(lane !== undefined && chain !== undefined)
  const names = chain?.parts.map(([name]) => name) ?? []
  t.ok(
    names.some((name) => name.startsWith('stage ')),
    names.join(),
  )
  if (chain !== undefined) t.match(splitTable(chain), /ns per packet\n/)
})

t.test('a sample belongs to the innermost part that is known', async (t) => {
  const place = { lineNumber: 0, columnNumber: 0 }
  const frame = (functionName: string, url: string) => ({ functionName, url, ...place })
  const nodes = [
    { id: 1, callFrame: frame('(root)', ''), children: [2] },
    { id: 2, callFrame: frame('#call', 'file:///x/pipeline/pipeline.js'), children: [3] },
    { id: 3, callFrame: frame('process', 'file:///x/pipeline/stages/ct-lookup.js'), children: [4] },
    { id: 4, callFrame: frame('lookup', 'file:///x/conntrack/conntrack.js') },
  ]
  const times = splitProfile({ nodes, samples: [4, 2, 4], timeDeltas: [5, 7, 11] })
  t.equal(times.get('stage ct-lookup'), 16)
  t.equal(times.get('pipeline: dispatch, monitor'), 7)
})

t.test('a sample in a bundle belongs to the module that its source map names', async (t) => {
  const url = pathToFileURL(
    t.testdir({
      'run.js':
        'export const begin = 1\nexport function process() {}\n//# sourceMappingURL=run.js.map\n',
      'run.js.map': JSON.stringify({
        version: 3,
        sources: ['../pipeline/stages/ct-lookup.ts'],
        names: [],
        // The second line of the one is the first of the other.
        mappings: ';AAAA',
      }),
    }),
  )
  process.setSourceMapsEnabled(true)
  const { href } = new URL(`${url}/run.js`)
  await import(href)
  const callFrame = { functionName: 'process', url: href, lineNumber: 1, columnNumber: 23 }
  const times = splitProfile({ nodes: [{ id: 1, callFrame }], samples: [1], timeDeltas: [5] })
  t.same([...times], [['stage ct-lookup', 5]])
})

t.test('the median of an even number of values lies between the two in the middle', async (t) => {
  t.equal(median([4, 1, 3, 2]), 2.5)
  t.equal(median([9, 1, 5]), 5)
  t.throws(() => median([]), /no value/)
})

t.test('a ratio is taken round by round, so that a slow round hits both', async (t) => {
  const yardstick = { name: 'c', unit: 'frames/s', values: [100, 10, 200] }
  const ours = { name: 'ts', unit: 'frames/s', values: [90, 9, 160] }
  const result = summarize(ours, yardstick)
  t.match(result, { ratio: 0.9, ratioMin: 0.8, ratioMax: 0.9 })
  t.equal(result.yardstick, 'c')
  t.equal(result.median, 90)
  const nothing = { ...yardstick, values: [0, 0, 0] }
  t.notOk('ratio' in summarize({ ...ours, values: [0, 0, 0] }, nothing), 'none against nothing')
})

t.test('what has run and has no figure is told from what has not run', async (t) => {
  const nothing = summarize({ name: 'ts', unit: 'ns', values: [Number.NaN] })
  t.ok(isBroken(nothing))
  t.notOk(isBroken({ ...nothing, runs: 0 }), 'it has said why')
  t.notOk(isBroken(summarize({ name: 'ts', unit: 'ns', values: [1] })))
})

t.test('a result is one line of JSON with its machine, and a row of the table', async (t) => {
  const result = summarize({ name: 'chain/x', unit: 'ns/frame', values: [60.12, 61, 59] })
  const line = jsonLine(result, machine)
  t.notMatch(line, /\n/)
  t.match(JSON.parse(line), { name: 'chain/x', median: 60.12, runs: 3, commit: 'abc' })
  t.match(table([result]), /chain\/x +ns\/frame +60\.1 +59\.0 +61\.0 +3/)
})

t.test('the maps benchmark finds every key it put in, and none it did not', async (t) => {
  const log = () => undefined
  const results = await mapsBenchmark.run({ rounds: 1, size: 'smoke', log })
  t.equal(results.length, 24)
  for (const result of results) t.ok(Number.isFinite(result.median), `${result.name} is a number`)
})
