/** Changes of the declared state for people: what is added, what goes, and which values become which. */
import type { Change } from '../daemon/reconcile.js'
import { clean, paint } from './output.js'

export function changeText({ action, kind, name, fields, before, after }: Change): string {
  const what = clean(`${kind} ${name}`)
  if (action === 'create') return paint.green(`+ ${what}`)
  if (action === 'delete') return paint.red(`- ${what}`)
  const lines = fields.flatMap((field) =>
    differences(field, before?.spec[field], after?.spec[field]),
  )
  return [paint.yellow(`~ ${what}`), ...lines.map((line) => `    ${clean(line)}`)].join('\n')
}

/** The innermost values that differ, each in a line: "service.backends[0].port: 80 → 8080". */
function differences(path: string, before: unknown, after: unknown): string[] {
  if (JSON.stringify(before) === JSON.stringify(after)) return []
  const isList = Array.isArray(before) && Array.isArray(after)
  if (!isList && !(isMapping(before) && isMapping(after))) {
    return [`${path}: ${shown(before)} → ${shown(after)}`]
  }
  const old = before as Readonly<Record<string, unknown>>
  const own = after as Readonly<Record<string, unknown>>
  const keys = [...new Set([...Object.keys(old), ...Object.keys(own)])]
  return keys.flatMap((key) =>
    differences(isList ? `${path}[${key}]` : `${path}.${key}`, old[key], own[key]),
  )
}

const isMapping = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const shown = (value: unknown): string => (value === undefined ? 'nothing' : JSON.stringify(value))
