/**
 * Writes an endpoint's policy into the maps as a new revision. Nothing reads the revision until the endpoint's row names it, so
 * packets see the old policy whole or the new one whole; the old revision is deleted afterwards.
 */
import { ErrorCode, RingpathError } from '../base/errors.js'
import type { ArrayMap } from '../maps/array-map.js'
import type { HashMap } from '../maps/hash-map.js'
import { FULL, UpdateFlag } from '../maps/map.js'
import { Direction } from '../packet/verdict.js'
import { compilePolicy, type PolicyEntry } from './policy-compiler.js'
import { POLICY_KEY_WORDS, POLICY_VALUE_WORDS, PolicyValue, writePolicyKey } from './policy-key.js'
import { POLICIES_MAX } from './policy-map.js'
import type { EndpointPolicy } from './policy-rule.js'

/** A revision that no endpoint may have: its entries do not exist, so that every lookup is denied. */
export const NO_POLICY = 0

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
        this.#remove(policy)
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
      for (const entry of compilePolicy(policy)) this.#addEntry(revision, entry)
    } catch (error) {
      this.#remove(revision)
      this.#free.push(revision)
      throw error
    }
    return revision
  }

  /** Deletes a revision that no endpoint names any more. */
  delete(revision: number): void {
    if (revision === NO_POLICY) return
    this.#remove(revision)
    this.#free.push(revision)
  }

  #remove(revision: number): void {
    for (const key of this.#keys.get(revision) ?? []) this.#entries.delete(key)
    this.#keys.delete(revision)
    const start = this.#prefixes.valueStart(revision)
    this.#prefixes.words[start] = 0
    this.#prefixes.words[start + 1] = 0
  }

  #addEntry(revision: number, entry: PolicyEntry): void {
    const key = new Int32Array(POLICY_KEY_WORDS)
    const { direction, identity, protocol, port, prefixLength } = entry
    writePolicyKey(key, revision, direction, identity, protocol, port, prefixLength)
    const value = new Int32Array(POLICY_VALUE_WORDS)
    value[PolicyValue.PRECEDENCE] = entry.precedence
    value[PolicyValue.COOKIE] = entry.cookie
    if (this.#entries.update(key, value, UpdateFlag.ANY) === FULL) {
      throw new RingpathError(
        ErrorCode.MAP_FULL,
        `map policy: full with ${this.#entries.size} entries; raise its size or use fewer rules`,
      )
    }
    this.#keysOf(revision).push(key)
    const word = this.#prefixes.valueStart(revision) + (direction === Direction.EGRESS ? 1 : 0)
    this.#prefixes.words[word] = (this.#prefixes.words[word] as number) | (1 << prefixLength)
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
