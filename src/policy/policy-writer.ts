/**
 * Writes an endpoint's policy into the maps as a new revision. Nothing reads the revision until the
 * endpoint's row names it, so packets see the old policy whole or the new one whole; the old
 * revision is deleted afterwards.
 */
import { ErrorCode, RingpathError } from '../base/errors.js'
import type { ArrayMap } from '../maps/array-map.js'
import type { HashMap } from '../maps/hash-map.js'
import { FULL, UpdateFlag } from '../maps/map.js'
import { Direction } from '../packet/verdict.js'
import { compilePolicy, type PolicyEntry } from './policy-compiler.js'
import {
  POLICY_KEY_WORDS,
  POLICY_NUMBER_BITS,
  POLICY_NUMBER_MASK,
  POLICY_VALUE_WORDS,
  PolicyValue,
  writePolicyKey,
} from './policy-key.js'
import { NO_POLICY, POLICIES_MAX, PolicyRow } from './policy-map.js'
import type { EndpointPolicy } from './policy-rule.js'

export class PolicyWriter {
  readonly #entries: HashMap
  readonly #prefixes: ArrayMap
  readonly #free: number[] = []
  readonly #keys = new Map<number, Int32Array[]>()

  /** Takes over maps as they are: policies found in them that `inUse` does not name are deleted. */
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
    const numbersInUse = new Set([...inUse].map((policy) => policy & POLICY_NUMBER_MASK))
    for (let number = 1; number < POLICIES_MAX; number++) {
      if (!numbersInUse.has(number)) {
        this.#remove(number)
        this.#free.push(number)
      }
    }
  }

  /**
   * Writes the entries of a new policy; returns its name for an endpoint's row. EMAP_FULL, and
   * nothing changed, when there is no room.
   */
  add(policy: EndpointPolicy): number {
    const number = this.#free.shift()
    if (number === undefined) {
      throw new RingpathError(
        ErrorCode.MAP_FULL,
        `map policy_prefixes: all ${POLICIES_MAX - 1} policies are in use`,
      )
    }
    try {
      for (const entry of compilePolicy(policy)) this.#addEntry(number, entry)
    } catch (error) {
      this.#remove(number)
      this.#free.push(number)
      throw error
    }
    const uses = this.#prefixes.valueStart(number) + PolicyRow.USES
    const used = ((this.#prefixes.words[uses] as number) + 1) | 0
    this.#prefixes.words[uses] = used
    return (used << POLICY_NUMBER_BITS) | number
  }

  /** Deletes a policy that no endpoint names any more. */
  delete(policy: number): void {
    if (policy === NO_POLICY) return
    this.#remove(policy & POLICY_NUMBER_MASK)
    this.#free.push(policy & POLICY_NUMBER_MASK)
  }

  #remove(number: number): void {
    for (const key of this.#keys.get(number) ?? []) this.#entries.delete(key)
    this.#keys.delete(number)
    const start = this.#prefixes.valueStart(number)
    this.#prefixes.words[start] = 0
    this.#prefixes.words[start + 1] = 0
  }

  #addEntry(number: number, entry: PolicyEntry): void {
    const key = new Int32Array(POLICY_KEY_WORDS)
    const { direction, identity, protocol, port, prefixLength } = entry
    writePolicyKey(key, number, direction, identity, protocol, port, prefixLength)
    const value = new Int32Array(POLICY_VALUE_WORDS)
    value[PolicyValue.PRECEDENCE] = entry.precedence
    value[PolicyValue.COOKIE] = entry.cookie
    if (this.#entries.update(key, value, UpdateFlag.ANY) === FULL) {
      throw new RingpathError(
        ErrorCode.MAP_FULL,
        `map policy: full with ${this.#entries.size} entries; raise its size or use fewer rules`,
      )
    }
    this.#keysOf(number).push(key)
    const word = this.#prefixes.valueStart(number) + (direction === Direction.EGRESS ? 1 : 0)
    this.#prefixes.words[word] = (this.#prefixes.words[word] as number) | (1 << prefixLength)
  }

  #keysOf(number: number): Int32Array[] {
    let keys = this.#keys.get(number)
    if (keys === undefined) {
      keys = []
      this.#keys.set(number, keys)
    }
    return keys
  }
}
