/**
 * From what a node should be to the changes that make it so. An *object* is the unit that is applied
 * at once: an endpoint, one port of a service, a rule, a peer, an uplink. The difference is computed
 * from data alone, so that `diff` shows exactly what `apply` will do.
 */
import { isDeepStrictEqual } from 'node:util'
import { ErrorCode, RingpathError } from '../base/errors.js'

/** In the order of creation: what later kinds need comes first. */
export const OBJECT_KINDS = [
  'Settings',
  'Host',
  'Uplink',
  'Announcement',
  'Rule',
  'Endpoint',
  'Peer',
  'Service',
  'EgressGateway',
] as const
export type ObjectKind = (typeof OBJECT_KINDS)[number]

/** Plain data, as it goes to the controller; compared by value and written down as JSON. */
export interface NodeObject {
  readonly kind: ObjectKind
  /** Unique in its kind. */
  readonly name: string
  readonly spec: Readonly<Record<string, unknown>>
}

export type Action = 'create' | 'update' | 'delete'

export interface Change {
  readonly action: Action
  readonly kind: ObjectKind
  readonly name: string
  readonly before?: NodeObject
  readonly after?: NodeObject
  /** Of an update: top-level fields that differ. */
  readonly fields: readonly string[]
}

export const keyOf = ({ kind, name }: { kind: ObjectKind; name: string }): string =>
  `${kind} ${name}`

/**
 * The changes in a safe order. Deletions come first and in reverse, so that addresses and frontends
 * are free for who gets them next; but rules are deleted last, so that no endpoint is open in
 * between. Then creations and updates, policy before endpoints: an endpoint is closed from its first
 * packet on.
 */
export function plan(desired: readonly NodeObject[], actual: readonly NodeObject[]): Change[] {
  const before = new Map(actual.map((object) => [keyOf(object), object]))
  const after = new Map(desired.map((object) => [keyOf(object), object]))
  const deletions: Change[] = []
  for (const object of actual) {
    if (after.has(keyOf(object))) continue
    const { kind, name } = object
    deletions.push({ action: 'delete', kind, name, before: object, fields: [] })
  }
  const edits: Change[] = []
  for (const object of desired) {
    const { kind, name } = object
    const old = before.get(keyOf(object))
    if (old === undefined) {
      edits.push({ action: 'create', kind, name, after: object, fields: [] })
    } else if (!isDeepStrictEqual(old.spec, object.spec)) {
      const fields = changedFields(old.spec, object.spec)
      edits.push({ action: 'update', kind, name, before: old, after: object, fields })
    }
  }
  const rank = (change: Change): number => OBJECT_KINDS.indexOf(change.kind)
  deletions.sort((a, b) => rank(b) - rank(a))
  edits.sort((a, b) => rank(a) - rank(b))
  const isRule = (change: Change): boolean => change.kind === 'Rule'
  return [
    ...deletions.filter((change) => !isRule(change)),
    ...edits,
    ...deletions.filter((change) => isRule(change)),
  ]
}

function changedFields(
  before: Readonly<Record<string, unknown>>,
  after: Readonly<Record<string, unknown>>,
): string[] {
  const names = new Set([...Object.keys(before), ...Object.keys(after)])
  return [...names].filter((name) => !isDeepStrictEqual(before[name], after[name])).sort()
}

/** What carries changes out; it throws when it cannot, with nothing changed. */
export interface Target {
  apply(change: Change): void
  /** Changes of rules, which take effect together. */
  applyRules(changes: readonly Change[]): void
}

export interface Failure {
  readonly change: Change
  readonly message: string
}

/**
 * Carries the changes out, each by itself: one that fails leaves its object as it was and stops none
 * of the others. Rules that follow each other take effect together, so that an endpoint's policy is
 * computed, and swapped, once; where they do not fit, none of them does, for some of the rules may be
 * worse than none.
 *
 * @param done told of each change that took effect
 */
export function applyChanges(
  changes: readonly Change[],
  target: Target,
  done: (change: Change) => void,
): Failure[] {
  const failures: Failure[] = []
  for (let start = 0; start < changes.length; ) {
    const end = endOfGroup(changes, start)
    failures.push(...applyGroup(changes.slice(start, end), target, done))
    start = end
  }
  return failures
}

/** Behind the rules that begin at `start`; one further for any other kind. */
function endOfGroup(changes: readonly Change[], start: number): number {
  let end = start
  while (changes[end]?.kind === 'Rule') end++
  return Math.max(end, start + 1)
}

function applyGroup(
  group: readonly Change[],
  target: Target,
  done: (change: Change) => void,
): Failure[] {
  try {
    const [only] = group
    if (group.length === 1 && only !== undefined) target.apply(only)
    else target.applyRules(group)
  } catch (error) {
    const isWrong = error instanceof RingpathError && error.code === ErrorCode.CONFIG_INVALID
    if (isWrong && group.length > 1) {
      // One of them is: the others are not to suffer for it.
      const half = group.length >> 1
      return [
        ...applyGroup(group.slice(0, half), target, done),
        ...applyGroup(group.slice(half), target, done),
      ]
    }
    const message = error instanceof Error ? error.message : String(error)
    return group.map((change) => ({ change, message }))
  }
  for (const change of group) done(change)
  return []
}
