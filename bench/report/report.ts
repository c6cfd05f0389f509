/**
 * `npm run bench:report`: writes docs/performance.md, docs/charts and the README's figures from
 * result files, those of bench/results unless others are named, and from bench/report/notes.md.
 *
 *   --check   writes nothing; exit code 1 when the documents are not what the files give
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import type { RecordedResult } from '../lib/report.js'
import { buildReport } from './document.js'
import { withFigures } from './summary.js'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
const RESULTS = join(ROOT, 'bench/results')
const NOTES = join(ROOT, 'bench/report/notes.md')
const DOCUMENT = join(ROOT, 'docs/performance.md')
const README = join(ROOT, 'README.md')
const CHARTS = join(ROOT, 'docs/charts')

/** The published runs. */
export function resultFiles(): string[] {
  const names = existsSync(RESULTS) ? readdirSync(RESULTS) : []
  return names
    .filter((name) => name.endsWith('.jsonl'))
    .sort()
    .map((name) => join(RESULTS, name))
}

export function readResults(files: readonly string[]): RecordedResult[] {
  return files.flatMap((file) =>
    readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => line.trim() !== '')
      .map((line) => JSON.parse(line) as RecordedResult),
  )
}

export function reportOf(files: readonly string[]) {
  const results = readResults(files)
  const readme = withFigures(readFileSync(README, 'utf8'), results)
  return { ...buildReport(results, readFileSync(NOTES, 'utf8')), readme }
}

function main(): void {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { check: { type: 'boolean', default: false } },
  })
  const files = positionals.length > 0 ? positionals : resultFiles()
  const { markdown, charts, readme } = reportOf(files)
  if (values.check) {
    const texts = [
      [DOCUMENT, markdown],
      [README, readme],
    ] as const
    const stale = texts.filter(([path, text]) => !isWritten(path, text))
    for (const [path] of stale) console.error(`${path}: run npm run bench:report`)
    process.exitCode = stale.length === 0 ? 0 : 1
    return
  }
  rmSync(CHARTS, { recursive: true, force: true })
  mkdirSync(CHARTS, { recursive: true })
  for (const [name, svg] of charts) writeFileSync(join(CHARTS, name), svg)
  writeFileSync(DOCUMENT, markdown)
  writeFileSync(README, readme)
  console.log(`${DOCUMENT}, ${charts.size} charts, the figures of ${README}`)
}

const isWritten = (path: string, text: string): boolean =>
  existsSync(path) && readFileSync(path, 'utf8') === text

if (process.argv[1] === fileURLToPath(import.meta.url)) main()
