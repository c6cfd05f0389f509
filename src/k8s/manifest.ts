/**
 * From text to documents that nobody has judged yet: YAML 1.2 with several documents in a file, or
 * JSON, which is a part of it. A `List` is taken apart. Keeps where each value stood, for the
 * messages of those who judge.
 *
 * The text is hostile until proven otherwise: bounded in size, in nesting and in number of
 * documents; no aliases, which can unfold without bound, and no tags.
 */
import {
  isScalar,
  LineCounter,
  type ParsedNode,
  parseAllDocuments,
  type Scalar,
  visit,
  type Document as YamlDocument,
} from 'yaml'
import { type Problem, shown } from './problem.js'

export const TEXT_CHARACTERS_MAX = 4 * 1024 * 1024
export const DOCUMENTS_MAX = 10_000
const NESTING_MAX = 64

export interface RawDocument {
  readonly source: string
  readonly apiVersion: string
  readonly kind: string
  /** "Service default/web". */
  readonly object: string
  readonly value: Readonly<Record<string, unknown>>
  /** Line of a field, or of the nearest thing around it that is there. */
  lineOf(path: readonly PropertyKey[]): number | undefined
}

export interface Manifests {
  readonly documents: readonly RawDocument[]
  readonly problems: readonly Problem[]
}

export function readManifests(text: string, source: string): Manifests {
  const problems: Problem[] = []
  const tell = (object: string, found: string, expected: string, line?: number): void => {
    const place = line === undefined ? {} : { line }
    problems.push({ source, ...place, object, field: '', found, expected })
  }
  if (text.length > TEXT_CHARACTERS_MAX) {
    tell('text', `${text.length} characters`, `at most ${TEXT_CHARACTERS_MAX}`)
    return { documents: [], problems }
  }
  if (isNestedTooDeep(text)) {
    tell('text', 'brackets nested too deep', `at most ${NESTING_MAX} levels`)
    return { documents: [], problems }
  }
  const lineCounter = new LineCounter()
  const parsed = parseAllDocuments(text, { lineCounter, uniqueKeys: false, stringKeys: true })
  const documents: RawDocument[] = []
  for (const [index, yaml] of parsed.entries()) {
    const name = `document ${index + 1}`
    const error = yaml.errors[0] ?? yaml.warnings[0]
    const repeated = error === undefined ? repeatedKey(yaml) : undefined
    if (repeated !== undefined) {
      const { line } = lineCounter.linePos(repeated.range?.[0] ?? 0)
      tell(name, `the key ${shown(repeated.value)} a second time`, 'each key once', line)
      continue
    }
    if (error !== undefined) {
      const message = (error.message.split('\n')[0] ?? '').replace(/ at line \d+.*$/, '')
      tell(name, message, 'YAML or JSON', error.linePos?.[0].line)
      continue
    }
    try {
      const value: unknown = yaml.toJS({ maxAliasCount: 0 })
      if (value === null) continue
      const place = { yaml, lineCounter, source, name }
      for (const part of partsOf(value)) take(place, part, documents, problems)
    } catch (thrown) {
      tell(name, `${(thrown as Error).message}`, 'YAML without aliases')
    }
  }
  if (documents.length > DOCUMENTS_MAX) {
    tell('text', `${documents.length} documents`, `at most ${DOCUMENTS_MAX}`)
    return { documents: [], problems }
  }
  return { documents, problems }
}

interface Place {
  readonly yaml: YamlDocument<ParsedNode>
  readonly lineCounter: LineCounter
  readonly source: string
  readonly name: string
}

interface Part {
  readonly value: unknown
  /** Where it lies in its YAML document. */
  readonly at: readonly PropertyKey[]
}

/** The parser's own check compares every key with every other: too slow for hostile text. */
function repeatedKey(yaml: YamlDocument<ParsedNode>): Scalar | undefined {
  let found: Scalar | undefined
  visit(yaml, {
    Map: (_, { items }) => {
      const keys = new Set<unknown>()
      for (const { key } of items) {
        if (!isScalar(key)) continue
        if (keys.has(key.value)) {
          found = key
          return visit.BREAK
        }
        keys.add(key.value)
      }
      return undefined
    },
  })
  return found
}

/** What `kubectl get -o yaml` prints of several objects is one list of them. */
function partsOf(value: unknown): readonly Part[] {
  if (isMapping(value) && value.kind === 'List' && Array.isArray(value.items)) {
    return value.items.map((item: unknown, i) => ({ value: item, at: ['items', i] }))
  }
  return [{ value, at: [] }]
}

function take(place: Place, part: Part, documents: RawDocument[], problems: Problem[]): void {
  const { value, at } = part
  const { source, name } = place
  const lineOf = (path: readonly PropertyKey[]) => lineIn(place, [...at, ...path])
  const tell = (field: string, found: unknown, expected: string): void => {
    const line = lineOf(field === '' ? [] : [field])
    const where = line === undefined ? {} : { line }
    problems.push({ source, ...where, object: name, field, found: shown(found), expected })
  }
  if (!isMapping(value)) {
    tell('', value, 'a mapping with apiVersion and kind')
    return
  }
  const { apiVersion, kind } = value
  if (typeof apiVersion !== 'string') tell('apiVersion', apiVersion, 'a version such as v1')
  if (typeof kind !== 'string') tell('kind', kind, 'a kind such as Service')
  if (typeof apiVersion !== 'string' || typeof kind !== 'string') return
  const object = `${kind} ${nameOf(value) ?? `(${name})`}`
  documents.push({ source, apiVersion, kind, object, value, lineOf })
}

/** "default/web", or "web" of an object without namespace. */
function nameOf(value: Readonly<Record<string, unknown>>): string | undefined {
  const { metadata } = value
  if (!isMapping(metadata) || typeof metadata.name !== 'string') return undefined
  const { namespace, name } = metadata
  return typeof namespace === 'string' ? `${namespace}/${name}` : name
}

function lineIn(place: Place, path: readonly PropertyKey[]): number | undefined {
  for (let length = path.length; length >= 0; length--) {
    const node = place.yaml.getIn(path.slice(0, length), true) as ParsedNode | undefined | null
    const start = node?.range?.[0]
    if (start !== undefined) return place.lineCounter.linePos(start).line
  }
  return undefined
}

export function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The parser recurses: brackets, and dashes on one line, must not exhaust the stack. */
function isNestedTooDeep(text: string): boolean {
  let depth = 0
  for (const character of text) {
    if (character === '[' || character === '{') depth++
    else if (character === ']' || character === '}') depth = Math.max(0, depth - 1)
    if (depth > NESTING_MAX) return true
  }
  const dashes = new RegExp(`^[ ]*(- ){${NESTING_MAX}}`, 'm')
  const indented = new RegExp(`^ {${NESTING_MAX * 8},}\\S`, 'm')
  return dashes.test(text) || indented.test(text)
}
