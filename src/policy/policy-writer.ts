/**
 * Writes an endpoint's policy into the maps as a new revision. Nothing reads the revision until the endpoint's row names it, so
 * packets see the old policy whole or the new one whole; the old revision is deleted afterwards.
 */
import { ErrorCode, RingpathError } from '../base/errors.js'
import type { ArrayMap } from '../maps/array-map.js'
import type { HashMap } from '../maps/hash-map.js'
import { FULL, NOT_FOUND, UpdateFlag } from '../maps/map.js'
import { Direction } from '../packet/verdict.js'
import {
  ANY_IDENTITY,
  HIGHEST_PRIORITY,
  POLICY_KEY_WORDS,
  POLICY_VALUE_WORDS,
  PolicyValue,
  PREFIX_ANY,
  PREFIX_PROTOCOL,
  PrecedenceClass,
  precedence,
  writePolicyKey,
} from './policy-key.js'
import { POLICIES_MAX } from './policy-map.js'
import type { EndpointPolicy, PolicyRule } from './policy-rule.js'
import { portPrefixes } from './port-range.js'

/** A revision that no endpoint may have: its entries do not exist, so that every lookup is denied. */
export const NO_POLICY = 0

interface EntryPlace {
  readonly protocol: number
  readonly port: number
  readonly prefixLength: number
}

export class PolicyWriter {
  readonly #entries: HashMap
  readonly #prefixes: ArrayMap
  readonly #free: number[] = []
  readonly #keys = new Map<number, Int32Array[]>()

  /** Takes over maps as they are: revisions found in them that `inUse` does not name are deleted. */
  constructor(entries: HashMap, prefixes: ArrayMap, inUse: ReadonlySet<number> = new Set()) {
    this.#entries = entries
    this.#prefixes = prefixes
    for (const slot of entries.slots()) {
      const key = entries.words.slice(
        entries.keyStart(slot),
        entries.keyStart(slot) + POLICY_KEY_WORDS,
      )
      this.#keysOf((key[0] as number) >>> 1).push(key)
    }
    for (let policy = POLICIES_MAX - 1; policy > NO_POLICY; policy--) {
      if (!inUse.has(policy)) {
        this.remove(policy)
        this.#free.push(policy)
      }
    }
  }

  /** Entries for a new revision, whose number is returned; EMAP_FULL, and nothing changed, when there is no room. */
  add(policy: EndpointPolicy): number {
    const revision = this.#free.pop()
    if (revision === undefined) {
      throw new RingpathError(
        ErrorCode.MAP_FULL,
        `map policy_prefixes: all ${POLICIES_MAX - 1} policies are in use`,
      )
    }
    try {
      if (!policy.enforceIngress) this.#addRule(revision, allowAll(Direction.INGRESS))
      if (!policy.enforceEgress) this.#addRule(revision, allowAll(Direction.EGRESS))
      for (const rule of policy.rules) this.#addRule(revision, rule)
    } catch (error) {
      this.remove(revision)
      this.#free.push(revision)
      throw error
    }
    return revision
  }

  /** Deletes a revision that no endpoint names any more. */
  delete(revision: number): void {
    if (revision === NO_POLICY) return
    this.remove(revision)
    this.#free.push(revision)
  }

  private remove(revision: number): void {
    for (const key of this.#keys.get(revision) ?? []) this.#entries.delete(key)
    this.#keys.delete(revision)
    const start = this.#prefixes.valueStart(revision)
    this.#prefixes.words[start] = 0
    this.#prefixes.words[start + 1] = 0
  }

  #addRule(revision: number, rule: PolicyRule): void {
    for (const identity of rule.identities ?? [ANY_IDENTITY]) {
      for (const place of placesOf(rule)) this.#addEntry(revision, rule, identity, place)
    }
  }

  #addEntry(revision: number, rule: PolicyRule, identity: number, place: EntryPlace): void {
    const key = new Int32Array(POLICY_KEY_WORDS)
    const { protocol, port, prefixLength } = place
    writePolicyKey(key, revision, rule.direction, identity, protocol, port, prefixLength)
    const entryClass = rule.action === 'deny' ? PrecedenceClass.DENY : PrecedenceClass.ALLOW
    const value = new Int32Array(POLICY_VALUE_WORDS)
    value[PolicyValue.PRECEDENCE] = precedence(rule.priority ?? HIGHEST_PRIORITY, entryClass)
    value[PolicyValue.COOKIE] = rule.cookie ?? 0

    const existing = this.#entries.lookup(key)
    if (existing !== NOT_FOUND && !this.#isStronger(value, existing)) return
    if (this.#entries.update(key, value, UpdateFlag.ANY) === FULL) {
      throw new RingpathError(
        ErrorCode.MAP_FULL,
        `map policy: full with ${this.#entries.size} entries; raise its size or use fewer rules`,
      )
    }
    if (existing === NOT_FOUND) this.#keysOf(revision).push(key)
    const word = this.#prefixes.valueStart(revision) + (rule.direction === Direction.EGRESS ? 1 : 0)
    this.#prefixes.words[word] = (this.#prefixes.words[word] as number) | (1 << prefixLength)
  }

  /** Two rules may fall on one key; the higher precedence, and so a deny before an allow, keeps it. */
  #isStronger(value: Int32Array, existing: number): boolean {
    const start = this.#entries.valueStart(existing) + PolicyValue.PRECEDENCE
    const present = this.#entries.words[start] as number
    return (value[PolicyValue.PRECEDENCE] as number) >>> 0 > present >>> 0
  }

  #keysOf(revision: number): Int32Array[] {
    let keys = this.#keys.get(revision)
    if (keys === undefined) {
      keys = []
      this.#keys.set(revision, keys)
    }
    return keys
  }
}

const allowAll = (direction: Direction): PolicyRule => ({ direction, action: 'allow' })

function placesOf(rule: PolicyRule): EntryPlace[] {
  if (rule.ports === undefined) return [{ protocol: 0, port: 0, prefixLength: PREFIX_ANY }]
  return rule.ports.flatMap(({ protocol, firstPort, lastPort }) => {
    if (firstPort === undefined) return [{ protocol, port: 0, prefixLength: PREFIX_PROTOCOL }]
    const prefixes = portPrefixes(firstPort, lastPort ?? firstPort)
    return prefixes.map((prefix) => ({ protocol, ...prefix }))
  })
}
