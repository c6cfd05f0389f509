/**
 * `npm run bench:report`: writes docs/performance.md and docs/charts from result files, those of
 * bench/results unless others are named, and from bench/report/notes.md.
 *
 *   --check   writes nothing; exit code 1 when the documents are not what the files give
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import type { RecordedResult } from '../lib/report.js'
import { buildReport } from './document.js'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
const RESULTS = join(ROOT, 'bench/results')
const NOTES = join(ROOT, 'bench/report/notes.md')
const DOCUMENT = join(ROOT, 'docs/performance.md')
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
  return buildReport(readResults(files), readFileSync(NOTES, 'utf8'))
}

function main(): void {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { check: { type: 'boolean', default: false } },
  })
  const { markdown, charts } = reportOf(positionals.length > 0 ? positionals : resultFiles())
  if (values.check) {
    const isWritten = existsSync(DOCUMENT) && readFileSync(DOCUMENT, 'utf8') === markdown
    if (!isWritten) console.error('docs/performance.md: run npm run bench:report')
    process.exitCode = isWritten ? 0 : 1
    return
  }
  rmSync(CHARTS, { recursive: true, force: true })
  mkdirSync(CHARTS, { recursive: true })
  for (const [name, svg] of charts) writeFileSync(join(CHARTS, name), svg)
  writeFileSync(DOCUMENT, markdown)
  console.log(`${DOCUMENT}, ${charts.size} charts`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main()
