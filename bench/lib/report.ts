/** Results as JSON lines, for programs, and as a table, for people. */
import { appendFileSync, mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Machine } from './machine.js'
import type { BenchResult } from './result.js'

/** A line of a result file. */
export type RecordedResult = BenchResult & Machine

export function jsonLine(result: BenchResult, machine: Machine): string {
  return JSON.stringify({ ...result, ...machine })
}

export function appendResults(
  path: string,
  results: readonly BenchResult[],
  machine: Machine,
): void {
  mkdirSync(dirname(path), { recursive: true })
  appendFileSync(path, results.map((result) => `${jsonLine(result, machine)}\n`).join(''))
}

const COLUMNS = ['name', 'unit', 'median', 'min', 'max', 'runs', 'ratio', 'to'] as const

export function table(results: readonly BenchResult[]): string {
  const rows = [[...COLUMNS], ...results.map(row)]
  const widths = COLUMNS.map((_, column) =>
    Math.max(...rows.map((cells) => (cells[column] ?? '').length)),
  )
  const pad = (cell: string, column: number) => {
    const width = widths[column] ?? 0
    return column < 2 || column === COLUMNS.length - 1 ? cell.padEnd(width) : cell.padStart(width)
  }
  return rows.map((cells) => cells.map(pad).join('  ').trimEnd()).join('\n')
}

function row(result: BenchResult): string[] {
  return [
    result.name,
    result.unit,
    figure(result.median),
    figure(result.min),
    figure(result.max),
    String(result.runs),
    result.ratio === undefined ? '' : result.ratio.toFixed(3),
    result.yardstick ?? '',
  ]
}

/** Three significant digits, without an exponent. */
export function figure(value: number): string {
  if (value === 0 || !Number.isFinite(value)) return String(value)
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))))
  return value.toFixed(Math.min(digits, 6))
}
