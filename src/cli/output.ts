/** Rows for people and for programs: table, wide table, JSON, YAML. Colours on a terminal only. */
import { createRequire } from 'node:module'

export const FORMATS = ['table', 'wide', 'json', 'yaml'] as const
export type Format = (typeof FORMATS)[number]

export interface Column<T> {
  readonly title: string
  readonly value: (row: T) => string | number
  /** Shown by `-o wide` alone. */
  readonly isWide?: boolean
  /** Stands at the right of its column. */
  readonly isNumber?: boolean
}

const useColours = process.stdout.isTTY === true && process.env.NO_COLOR === undefined

const paintWith =
  (code: number) =>
  (text: string): string =>
    useColours ? `\x1b[${code}m${text}\x1b[0m` : text

export const paint = {
  bold: paintWith(1),
  dim: paintWith(2),
  red: paintWith(31),
  green: paintWith(32),
  yellow: paintWith(33),
} as const

export function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

/** Loaded when it is asked for: most commands have no use for it, and it takes a while. */
export function yamlText(value: unknown): string {
  const { stringify } = createRequire(import.meta.url)('yaml') as typeof import('yaml')
  return stringify(value, { aliasDuplicateObjects: false }).trimEnd()
}

/** A whole answer, in the format asked for. */
export function printRows<T>(
  rows: readonly T[],
  columns: readonly Column<T>[],
  format: Format,
): void {
  if (format === 'json') print(JSON.stringify(rows, null, 2))
  else if (format === 'yaml') print(yamlText(rows))
  else print(tableText(rows, columns, format === 'wide'))
  // For people alone: a program counts the lines after the first.
  if (rows.length === 0 && isTable(format)) console.error('(none)')
}

const isTable = (format: Format): boolean => format === 'table' || format === 'wide'

/** One value: JSON and YAML as asked, else as `text` says. */
export function printValue(value: unknown, format: Format, text: () => string): void {
  if (format === 'json') print(JSON.stringify(value, null, 2))
  else if (format === 'yaml') print(yamlText(value))
  else print(text())
}

export function tableText<T>(
  rows: readonly T[],
  columns: readonly Column<T>[],
  isWide: boolean,
): string {
  const shown = columns.filter((column) => isWide || column.isWide !== true)
  const cells = rows.map((row) => shown.map((column) => clean(`${column.value(row)}`)))
  const widths = shown.map(({ title }, i) =>
    Math.max(title.length, ...cells.map((line) => line[i]?.length ?? 0)),
  )
  const line = (texts: readonly string[]): string =>
    texts
      .map((text, i) =>
        shown[i]?.isNumber === true ? text.padStart(widths[i] ?? 0) : text.padEnd(widths[i] ?? 0),
      )
      .join('  ')
      .trimEnd()
  const head = paint.bold(line(shown.map(({ title }) => title)))
  return [head, ...cells.map(line)].join('\n')
}

/** What comes from outside, such as a label, must not move the cursor. */
export const clean = (text: string): string => text.replaceAll(/\p{Cc}/gu, '?')

export function byteText(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return unit === 0 ? `${value} B` : `${value.toFixed(1)} ${units[unit]}`
}
