/**
 * The report as Markdown: the targets and whether they were reached, a chart and a table for each
 * benchmark, and what a person wrote about it. A function of the result files and that text alone.
 */
import { figure, type RecordedResult } from '../lib/report.js'
import { barChart, shortNumber } from './charts.js'
import { boundOf, judge, TARGETS, type Target, valueFor } from './targets.js'

export interface Report {
  readonly markdown: string
  /** By file name. */
  readonly charts: ReadonlyMap<string, string>
}

/** In the report's order; others follow by name. */
const SECTIONS: Readonly<Record<string, string>> = {
  chain: 'The chain in memory, beside the same chain in C',
  setup: 'New connections',
  alloc: 'Allocation and collections',
  gc: 'Collections on the wire',
  memory: 'Memory',
  wire: 'On the wire: veth to veth over AF_XDP',
  lossless: 'Without loss',
  latency: 'Latency at fixed rates',
  peer: 'Beside others',
  scale: 'Two workers',
  cpu: 'CPU',
  idle: 'Idle',
  start: 'The first second',
  tcp: 'TCP',
  micro: 'The parts by themselves',
  maps: 'The maps by themselves',
}
/** Longer charts say less than their table. */
const BARS_MAX = 40
const NO_FIGURE = '–'

/** The last one of each name. */
export function latestByName(results: readonly RecordedResult[]): RecordedResult[] {
  const latest = new Map<string, RecordedResult>()
  for (const result of [...results].sort((a, b) => compare(a.date, b.date))) {
    // Where the name was in the order stays, its figures are the later ones.
    latest.set(result.name, result)
  }
  return [...latest.values()]
}

export function buildReport(recorded: readonly RecordedResult[], notes: string): Report {
  const results = latestByName(recorded)
  const charts = new Map<string, string>()
  const sections = sectionsOf(results).map(([name, members]) => {
    const links = chartsOf(name, members, charts)
    const title = SECTIONS[name] ?? name
    return [`## ${title}`, '', ...links, resultTable(members), ''].join('\n')
  })
  const markdown = [
    '<!-- Written by `npm run bench:report` from bench/results and bench/report/notes.md. -->',
    '# Performance',
    '',
    'Medians of runs that took turns with their yardstick; the line over a bar goes from the',
    'lowest run to the highest. A ratio is taken round by round. How it is measured:',
    '[benchmarks.md](benchmarks.md).',
    '',
    ...machineLines(results),
    '',
    '## Targets',
    '',
    targetTable(results),
    '',
    ...sections,
    notes.trim(),
    '',
  ].join('\n')
  return { markdown, charts }
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

function machineLines(results: readonly RecordedResult[]): string[] {
  const lines = results.map(({ cpu, cores, kernel, node, commit, date }) => {
    const day = date.slice(0, 10)
    return `- ${cpu}, ${cores} cores, Linux ${kernel}, Node ${node}, commit ${commit}, ${day}`
  })
  return [...new Set(lines)].sort()
}

function targetTable(results: readonly RecordedResult[]): string {
  const rows = TARGETS.map((target) => {
    const result = results.find(({ name }) => name === target.name)
    const value = result === undefined ? undefined : valueFor(target, result)
    const found = value === undefined ? '' : targetFigure(target, value)
    const range = result === undefined ? '' : targetRange(target, result)
    const verdict = judge(target, result)
    const mark = verdict === 'missed' ? '**missed**' : verdict
    const { name, measure } = target
    return `| \`${name}\` | ${measure} | ${boundOf(target)} | ${found} | ${range} | ${mark} |`
  })
  const head = '| name | measure | to reach | found | single runs | |'
  return [head, '|---|---|---|---|---|---|', ...rows].join('\n')
}

const targetFigure = (target: Target, value: number): string =>
  target.of === 'ratio' ? value.toFixed(2) : shortNumber(value)

/** From the lowest run to the highest, of more than one. */
function targetRange(target: Target, result: RecordedResult): string {
  const { min, max, runs, ratioMin, ratioMax } = result
  const [least, most] = target.of === 'ratio' ? [ratioMin, ratioMax] : [min, max]
  if (runs < 2 || least === undefined || most === undefined) return ''
  return `${targetFigure(target, least)}–${targetFigure(target, most)}`
}

function sectionsOf(results: readonly RecordedResult[]): [string, RecordedResult[]][] {
  const bySection = new Map<string, RecordedResult[]>()
  for (const result of results) {
    const [name = ''] = result.name.split('/')
    bySection.set(name, [...(bySection.get(name) ?? []), result])
  }
  const order = Object.keys(SECTIONS)
  const rank = (name: string): number =>
    (order.indexOf(name) + order.length + 1) % (order.length + 1)
  return [...bySection].sort((a, b) => rank(a[0]) - rank(b[0]) || compare(a[0], b[0]))
}

/** One chart for each unit that a section has two results of. */
function chartsOf(
  section: string,
  results: readonly RecordedResult[],
  charts: Map<string, string>,
): string[] {
  const links: string[] = []
  // What did not run has no bar, only its line in the table.
  const ran = results.filter(hasRun)
  for (const unit of new Set(ran.map((result) => result.unit))) {
    const members = ran.filter((result) => result.unit === unit)
    if (members.length < 2 || members.length > BARS_MAX) continue
    const file = `${section}-${unit.replaceAll(/[^a-z0-9]+/gi, '-')}.svg`
    const title = SECTIONS[section] ?? section
    charts.set(file, barChart({ title, unit, bars: members.map(barOf) }))
    links.push(`![${title}, ${unit}](charts/${file})`, '')
  }
  return links
}

const hasRun = ({ runs }: RecordedResult): boolean => runs > 0

const barOf = (result: RecordedResult) => ({
  label: labelOf(result.name),
  value: result.median,
  min: result.min,
  max: result.max,
  isOurs: isOurs(result.name),
})

/** Without the section. A peer's name alone would stand for what we carried beside it. */
function labelOf(name: string): string {
  const [section, first = '', ...rest] = name.split('/')
  if (section !== 'peer') return [first, ...rest].join('/')
  if (first === 'rate') return rest.join('/')
  return rest.length === 0 ? `ours beside ${first}` : `ours (${rest.join('/')}) beside ${first}`
}

/** `peer/NAME` is ours beside NAME; what is in C, and the kernel's routing, say so in their names. */
const isOurs = (name: string): boolean =>
  name.startsWith('peer/') ? !name.startsWith('peer/rate/') : !/\/c-|^tcp\/routing/.test(name)

function resultTable(results: readonly RecordedResult[]): string {
  const rows = results.map((r) => {
    const ratio = r.ratio === undefined ? '' : r.ratio.toFixed(2)
    const [median, range] = hasRun(r)
      ? [figure(r.median), `${figure(r.min)}–${figure(r.max)}`]
      : [NO_FIGURE, NO_FIGURE]
    const note = r.note ?? ''
    const cells = [`\`${r.name}\``, median, range, r.unit, r.runs, ratio, note]
    return `| ${cells.join(' | ')} |`
  })
  const head = '| name | median | range | unit | runs | ratio | |'
  return [head, '|---|---|---|---|---|---|---|', ...rows].join('\n')
}
