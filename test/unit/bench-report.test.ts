/** The report: what it says follows from the result files and a person's notes alone. */
import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import type { RecordedResult } from '../../bench/lib/report.js'
import { barChart } from '../../bench/report/charts.js'
import { buildReport } from '../../bench/report/document.js'
import { reportOf, resultFiles } from '../../bench/report/report.js'
import { withFigures } from '../../bench/report/summary.js'
import { judge, TARGETS, type Target } from '../../bench/report/targets.js'

const machine = {
  cpu: 'a processor',
  cores: 2,
  kernel: '6.18',
  node: 'v20',
  commit: 'abc',
  date: '2026-01-01T00:00:00.000Z',
  load: 0.5,
}
const result = (name: string, median: number, more: Partial<RecordedResult> = {}) => {
  const spread = { min: median - 1, max: median + 1, runs: 3 }
  return { name, unit: 'ns/frame', median, ...spread, ...machine, ...more }
}
const target = (name: string): Target => {
  const found = TARGETS.find((each) => each.name === name)
  if (found === undefined) throw new Error(`no target ${name}`)
  return found
}
/** By the issue. */
const ASKED_FOR = [
  'chain/full/1k',
  'chain/full/1M',
  'wire/full/64',
  'lossless/full/64',
  'latency/full/200k',
  'setup/full',
  'alloc/full',
  'peer/testpmd',
  'peer/ovs',
  'peer/nft-dnat',
  'peer/bridge',
  'peer/redirect-peer',
  'peer/devmap',
  'scale/2-workers',
  'memory/connection',
  'idle/poll',
]
const LATER = '2026-01-02T00:00:00.000Z'
const NOTES = '## What was tried\n\nA thing.'

t.test('the published report is what its files give', async (t) => {
  const { markdown, charts, readme } = reportOf(resultFiles())
  t.equal(readFileSync('README.md', 'utf8'), readme, 'the figures of the README')
  t.equal(readFileSync('docs/performance.md', 'utf8'), markdown, 'npm run bench:report')
  t.same(readdirSync('docs/charts').sort(), [...charts.keys()].sort())
  for (const [name, svg] of charts) t.equal(readFileSync(`docs/charts/${name}`, 'utf8'), svg, name)
})

t.test('each target of the issue is there, once', async (t) => {
  const names = TARGETS.map(({ name }) => name)
  t.equal(new Set(names).size, names.length)
  for (const name of ASKED_FOR) t.ok(names.includes(name), name)
})

t.test('a target is reached, missed, stated or not measured', async (t) => {
  const chain = target('chain/full/1k')
  t.equal(judge(chain, undefined), 'not measured')
  t.equal(judge(chain, result('chain/full/1k', 60)), 'not measured', 'without its yardstick')
  t.equal(judge(chain, result('chain/full/1k', 60, { ratio: 1.6 })), 'reached')
  t.equal(judge(chain, result('chain/full/1k', 60, { ratio: 1.61 })), 'missed')
  t.equal(judge(target('wire/full/64'), result('wire/full/64', 1e6, { ratio: 0.94 })), 'missed')
  t.equal(judge(target('setup/full'), result('setup/full', 1_000_000)), 'reached')
  t.equal(judge(target('alloc/full'), result('alloc/full', 0.01)), 'reached')
  t.equal(judge(target('alloc/full'), result('alloc/full', 0.1)), 'missed')
  t.equal(judge(target('alloc/collections'), result('alloc/collections', 1)), 'missed')
  const nothing = result('lossless/full/64', 0, { ratio: Number.NaN })
  t.equal(judge(target('lossless/full/64'), nothing), 'missed', 'no rate was held')
  t.equal(judge(target('peer/devmap'), result('peer/devmap', 1, { ratio: 0.2 })), 'stated')
})

t.test('the report has targets, charts, figures and the notes, and the later figure', async (t) => {
  const results = [
    result('chain/full/1k', 99, { ratio: 1.9 }),
    result('chain/c-full/1k', 40),
    result('chain/full/1k', 60, { ratio: 1.5, ratioMin: 1.4, ratioMax: 1.72, date: LATER }),
  ]
  const { markdown, charts } = buildReport(results, NOTES)
  t.match(markdown, /\| `chain\/full\/1k` \|.*\| ≤ 1.6 \| 1.50 \| 1.40–1.72 \| reached \|/)
  t.match(markdown, /\| `wire\/full\/64` \|.*not measured/)
  t.match(markdown, 'A thing.')
  t.match(markdown, 'charts/chain-ns-frame.svg')
  t.match(charts.get('chain-ns-frame.svg') ?? '', /<svg[^>]*>.*full\/1k.*<\/svg>/s)
  t.same(buildReport(results, NOTES), { markdown, charts }, 'the same again')
})

t.test('the figures of the README replace those of the time before', async (t) => {
  const readme = [
    'What it is.',
    '<!-- figures: written by `npm run bench:report` -->',
    '| an older table |',
    '<!-- end of figures -->',
    'More.',
  ]
  const results = [
    result('wire/full/64', 2_140_000, { ratio: 0.957 }),
    result('wire/c-full/64', 2_260_000),
    result('peer/testpmd', Number.NaN, { runs: 0, note: 'not run: no testpmd' }),
  ]
  const [first, begin, , end, last] = readme
  const lines = withFigures(readme.join('\n'), results).split('\n')
  t.same([lines[0], lines[1], ...lines.slice(-2)], [first, begin, end, last])
  t.ok(lines.some((line) => line.includes('Ringpath') && line.includes('| **2.14 M** |')))
  t.ok(lines.includes('| the same chain in C, on the same rings | 2.26 M | 0.96 |'))
  t.match(lines.join('\n'), /testpmd.*\| not measured \| not measured \|/)
  t.notOk(lines.includes('| an older table |'))
  t.equal(withFigures(lines.join('\n'), results), lines.join('\n'), 'the same again')
  t.throws(() => withFigures('What it is.', results), /no <!-- figures/)
})

t.test('a chart tells ours from what is beside it', async (t) => {
  const results = [
    result('peer/testpmd', 200),
    result('peer/testpmd/service', 210),
    result('peer/rate/testpmd', 150),
    result('peer/ovs', Number.NaN, { runs: 0, note: 'not run: no Open vSwitch' }),
    result('tcp/routing/1', 24),
    result('tcp/pod/1', 3),
    result('chain/full/1k', 60),
    result('chain/c-full/1k', 40),
  ]
  // As the file has it: JSON knows no NaN.
  const { markdown, charts } = buildReport(JSON.parse(JSON.stringify(results)), NOTES)
  const coloursOf = (file: string): Record<string, string> => {
    const bars = (charts.get(file) ?? '').matchAll(/>([^<]*)<\/text>\n<rect[^>]*fill="([^"]*)"/g)
    return Object.fromEntries([...bars].map(([, label = '', colour = '']) => [label, colour]))
  }
  const [ours, others] = ['#2f6fde', '#8a94a6']
  t.strictSame(coloursOf('peer-ns-frame.svg'), {
    'ours beside testpmd': ours,
    'ours (service) beside testpmd': ours,
    testpmd: others,
  })
  t.strictSame(coloursOf('tcp-ns-frame.svg'), { 'routing/1': others, 'pod/1': ours })
  t.strictSame(coloursOf('chain-ns-frame.svg'), { 'full/1k': ours, 'c-full/1k': others })
  t.match(markdown, '| `peer/ovs` | – | – | ns/frame | 0 |  | not run: no Open vSwitch |')
  t.notMatch(markdown, /null|NaN/)
})

t.test('a chart is SVG, whatever the labels', async (t) => {
  const bar = { label: '<&>', value: 0, min: 0, max: 0, isOurs: true }
  const svg = barChart({ title: 'a < b', unit: 'ns', bars: [bar] })
  t.match(svg, '&lt;&amp;&gt;')
  t.notMatch(svg, /NaN|Infinity/)
})
