/**
 * The building blocks of document schemas. Each says in words what it expects; a mapping refuses
 * fields that it does not know, by name.
 */
import { isIPv4, isIPv6 } from 'node:net'
import * as z from 'zod'
import { DEVICE_NAME_BYTES_MAX } from '../port/port-table.js'
import { parseCidr, parseMac } from '../wire/address.js'
import { isMapping, type RawDocument } from './manifest.js'
import { fieldText, type Problem, shown } from './problem.js'
import { suggestion } from './suggestion.js'

const FIELDS_FOLLOW = ': '

/** A mapping of exactly these fields. */
export function strict<S extends z.ZodRawShape>(shape: S) {
  const expected = `a field that is supported here${FIELDS_FOLLOW}${Object.keys(shape).join(', ')}`
  return z.strictObject(shape, {
    error: (issue) => (issue.code === 'unrecognized_keys' ? expected : undefined),
  })
}

/** @param expected continues "expected …" */
export function text(expected: string, isRight: (value: string) => boolean) {
  return z.string({ error: expected }).refine(isRight, { error: expected })
}

export function whole(low: number, high: number) {
  const error = `a whole number from ${low} to ${high}`
  return z.int({ error }).min(low, { error }).max(high, { error })
}

export function oneOf<const V extends readonly [string, ...string[]]>(...values: V) {
  return z.enum(values, { error: `one of ${values.join(', ')}` })
}

/** Seconds as Kubernetes has them. */
export const port = whole(1, 65_535)

export const ipv4 = text('an IPv4 address such as 10.0.0.1', isIPv4)

export const address = text('an IPv4 or IPv6 address', (v) => isIPv4(v) || isIPv6(v))

const does = (act: () => unknown): boolean => {
  try {
    act()
    return true
  } catch {
    return false
  }
}

export const cidr = text('a prefix such as 10.0.0.0/8 or fd00::/64', (v) => {
  return v.includes('/') && does(() => parseCidr(v))
})

export const ipv4Cidr = text('an IPv4 prefix such as 10.0.0.0/8', (v) => {
  return v.includes('/') && !v.includes(':') && does(() => parseCidr(v))
})

export const mac = text('a MAC address such as 02:00:00:00:00:01', (v) => does(() => parseMac(v)))

export const device = text(
  `a device name of 1 to ${DEVICE_NAME_BYTES_MAX} bytes`,
  (v) =>
    /^[^\s/:]+$/.test(v) && Buffer.byteLength(v) <= DEVICE_NAME_BYTES_MAX && !/^\.\.?$/.test(v),
)

/** RFC 1123 subdomain, as Kubernetes names most objects. */
export const objectName = text(
  'a name of lower-case letters, digits, "-" and ".", at most 253 long',
  (v) => v.length <= 253 && /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(v),
)

/** RFC 1123 label. */
export const namespaceName = text(
  'a name of lower-case letters, digits and "-", at most 63 long',
  (v) => v.length <= 63 && /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(v),
)

export const labels = z.record(
  text('a label key', (v) => v.length >= 1 && v.length <= 317),
  text('a label value of at most 63 characters', (v) => v.length <= 63),
  { error: 'a mapping of labels' },
)

/** What Kubernetes notes about an object itself says nothing about traffic: taken and not used. */
const bookkeeping = {
  annotations: z.record(z.string(), z.string(), { error: 'a mapping of texts' }).optional(),
  uid: z.string().optional(),
  resourceVersion: z.string().optional(),
  generation: z.number().optional(),
  creationTimestamp: z.unknown().optional(),
  managedFields: z.unknown().optional(),
  ownerReferences: z.unknown().optional(),
  generateName: z.string().optional(),
  finalizers: z.unknown().optional(),
}

export const DEFAULT_NAMESPACE = 'default'

export const namespacedMetadata = strict({
  name: objectName,
  namespace: namespaceName.default(DEFAULT_NAMESPACE),
  labels: labels.default({}),
  ...bookkeeping,
})

export const clusterMetadata = strict({
  name: objectName,
  labels: labels.default({}),
  ...bookkeeping,
})

/** Of a namespace and name that are valid, a text that sorts and is unique in its kind. */
export const qualifiedName = (metadata: { namespace?: string; name: string }): string =>
  metadata.namespace === undefined ? metadata.name : `${metadata.namespace}/${metadata.name}`

/** The checked value of a document, or every problem that it has. */
export function check<S extends z.ZodType>(
  schema: S,
  document: RawDocument,
): { value: z.output<S> } | { problems: Problem[] } {
  const result = schema.safeParse(document.value, { error: expectedText })
  if (result.success) return { value: result.data }
  return { problems: result.error.issues.flatMap((issue) => problemsOf(issue, document)) }
}

/** A problem with a field of a document that its schema cannot see. */
export function problemAt(
  document: RawDocument,
  path: readonly PropertyKey[],
  expected: string,
): Problem {
  const line = document.lineOf(path)
  const { source, object } = document
  const found = shown(valueAt(document.value, path))
  const where = line === undefined ? {} : { line }
  return { source, ...where, object, field: fieldText(path), found, expected }
}

const TYPE_WORDS: Readonly<Record<string, string>> = {
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  tuple: 'a list',
  object: 'a mapping',
  record: 'a mapping',
}

/** For issues whose schema says nothing itself. */
function expectedText(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.code === 'invalid_type') return TYPE_WORDS[issue.expected] ?? issue.expected
  if (issue.code === 'invalid_value') return `${issue.values.map((v) => shown(v)).join(' or ')}`
  if (issue.code === 'too_small') return `at least ${issue.minimum}`
  if (issue.code === 'too_big') return `at most ${issue.maximum}`
  return undefined
}

function problemsOf(issue: z.core.$ZodIssue, document: RawDocument): Problem[] {
  if (issue.code !== 'unrecognized_keys') {
    // A wrong key of a mapping says so in the issues inside.
    const inner = issue.code === 'invalid_key' ? issue.issues[0]?.message : undefined
    const expected = inner ?? issue.message
    return [problemAt(document, issue.path, `${expected}${hint(issue, document)}`)]
  }
  return issue.keys.map((key) => {
    const [text = '', known = ''] = issue.message.split(FIELDS_FOLLOW)
    const meant = suggestion(key, known.split(', '))
    const message =
      meant === undefined ? issue.message : `${meant}, or ${text}${FIELDS_FOLLOW}${known}`
    return problemAt(document, [...issue.path, key], message)
  })
}

/** A number or a truth in quotes is a text; a text without them may be something else. */
function hint(issue: z.core.$ZodIssue, document: RawDocument): string {
  if (issue.code !== 'invalid_type') return ''
  const found = valueAt(document.value, issue.path)
  const isNumber = issue.expected === 'number' || issue.expected === 'int'
  if (isNumber && typeof found === 'string' && /^\d+$/.test(found)) return ', without quotes'
  if (issue.expected === 'boolean' && /^(true|false|yes|no)$/i.test(String(found))) {
    return ', without quotes'
  }
  if (issue.expected === 'string' && typeof found === 'number') return ', in quotes'
  if (issue.expected === 'string' && typeof found === 'boolean') return ', in quotes'
  return ''
}

export function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let at = value
  for (const part of path) {
    if (Array.isArray(at)) at = at[Number(part)]
    else if (isMapping(at) && Object.hasOwn(at, String(part))) at = at[String(part)]
    else return undefined
  }
  return at
}
