/**
 * What is wrong with a document, so that its author finds the place: file and line, object, field,
 * what was found and what is expected. Problems are data; all of a document are told at once.
 */
import { ErrorCode, RingpathError } from '../base/errors.js'

export interface Problem {
  /** File, or what the text came from ("request"). */
  readonly source: string
  /** From 1; absent where the text has no such place. */
  readonly line?: number
  /** "Service default/web", or "document 2" where the text does not say. */
  readonly object: string
  /** "spec.ports[0].port"; empty where the whole document is meant. */
  readonly field: string
  /** The value as JSON, cut short; "nothing" for a field that is missing. */
  readonly found: string
  readonly expected: string
}

export function problemText(problem: Problem): string {
  const { source, line, object, field, found, expected } = problem
  const place = line === undefined ? source : `${source}:${line}`
  const what = field === '' ? '' : `${field}: `
  return `${place}: ${object}: ${what}${found}, expected ${expected}`
}

/** ECONFIG_INVALID with every problem found; `message` has one line for each. */
export class DocumentError extends RingpathError {
  readonly problems: readonly Problem[]

  constructor(problems: readonly Problem[]) {
    super(ErrorCode.CONFIG_INVALID, problems.map(problemText).join('\n'))
    this.problems = problems
  }
}

const FOUND_CHARACTERS_MAX = 60

/** A value as problems show it. */
export function shown(value: unknown): string {
  if (value === undefined) return 'nothing'
  const text = JSON.stringify(value) ?? String(value)
  return text.length <= FOUND_CHARACTERS_MAX ? text : `${text.slice(0, FOUND_CHARACTERS_MAX)}…`
}

/** A path as people write it: spec.ports[0].port; keys that are no names in quotes. */
export function fieldText(path: readonly PropertyKey[]): string {
  let text = ''
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`
    else if (/^[A-Za-z_]\w*$/.test(String(part))) text += `${text === '' ? '' : '.'}${String(part)}`
    else text += `[${JSON.stringify(String(part))}]`
  }
  return text
}
