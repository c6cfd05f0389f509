/** The table of docs/architecture.md and the imports that files really have, for the tidy test. */
import { posix } from 'node:path'
import { folderOf, isTypeScript, type SourceFile } from './tidy-files.js'

export interface FolderRule {
  /** As written in the table: direct neighbours. */
  readonly mayImport: readonly string[]
  readonly isDataPlane: boolean
}

export interface Import {
  readonly from: string
  readonly line: number
  readonly specifier: string
  /** The folder of src/ it leads to; undefined for packages, and for files outside src/. */
  readonly folder: string | undefined
}

const TABLE = /<!-- dependencies -->([\s\S]*?)<!-- \/dependencies -->/
/**
 * Static, dynamic and type imports and re-exports, with literal names, each closed on one line by
 * the formatter.
 */
const SPECIFIER = /(?:\bfrom\s+|\bimport\s+|\bimport\()'([^']+)'/

export function readTable(architecture: string): ReadonlyMap<string, FolderRule> {
  const table = TABLE.exec(architecture)?.[1]
  if (table === undefined) throw new Error('docs/architecture.md has no table of dependencies')
  const rows = table.split('\n').filter((line) => line.startsWith('|'))
  const rules = new Map<string, FolderRule>()
  // The first two rows are the heading and the rule under it.
  for (const row of rows.slice(2)) {
    const [folder = '', list = '', plane = ''] = row
      .slice(1)
      .split('|')
      .map((cell) => cell.replaceAll('`', '').trim())
    const mayImport = list === 'nothing' ? [] : list.split(',').map((name) => name.trim())
    rules.set(folder, { mayImport, isDataPlane: plane === 'data' })
  }
  return rules
}

/**
 * All that a folder may import by the table: its row, and theirs; itself only when there is a
 * cycle.
 */
export function reachable(
  rules: ReadonlyMap<string, FolderRule>,
  folder: string,
): ReadonlySet<string> {
  const seen = new Set<string>()
  const open = [...(rules.get(folder)?.mayImport ?? [])]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (seen.has(next)) continue
    seen.add(next)
    open.push(...(rules.get(next)?.mayImport ?? []))
  }
  return seen
}

export function importsOf(file: SourceFile): readonly Import[] {
  if (!isTypeScript(file)) return []
  return file.lines.flatMap((text, index) => {
    const specifier = /^\s*(\*|\/\/)/.test(text) ? undefined : SPECIFIER.exec(text)?.[1]
    if (specifier === undefined) return []
    const isRelative = specifier.startsWith('.')
    const target = isRelative ? posix.join(posix.dirname(file.path), specifier) : ''
    return [{ from: file.path, line: index + 1, specifier, folder: folderOf(target) }]
  })
}
