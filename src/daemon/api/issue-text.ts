/** What is wrong with a query or body, in the words that documents have: field, value, expectation. */
import type * as z from 'zod'

type Issue = z.core.$ZodIssue

/** @param value all of what was given, as it came */
export function issueText(where: string, issue: Issue, value: unknown): string {
  const field = [where, ...issue.path].join('.')
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => `${field}.${key}: not a field here`).join('; ')
  }
  return `${field}: ${shown(at(value, issue.path))}, expected ${expectation(issue)}`
}

function expectation(issue: Issue): string {
  switch (issue.code) {
    case 'invalid_value':
      return `one of ${issue.values.join(', ')}`
    case 'too_small':
      return issue.origin === 'string' ? 'a text' : `${issue.minimum} or more`
    case 'too_big':
      return issue.origin === 'number' || issue.origin === 'int'
        ? `${issue.maximum} or less`
        : `at most ${issue.maximum} of them`
    case 'invalid_type':
      return issue.expected === 'int' || issue.expected === 'number'
        ? 'a whole number'
        : `a ${issue.expected}`
    case 'invalid_union':
      return 'a text, or several'
    default:
      return issue.message
  }
}

function at(value: unknown, path: readonly PropertyKey[]): unknown {
  let found = value
  for (const key of path) found = (found as Record<PropertyKey, unknown> | undefined)?.[key]
  return found
}

function shown(value: unknown): string {
  if (value === undefined) return 'nothing'
  return typeof value === 'string' ? `'${value.slice(0, 64)}'` : JSON.stringify(value).slice(0, 64)
}
