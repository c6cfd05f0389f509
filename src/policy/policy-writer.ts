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

interface Written {
  /** As an endpoint's row names it. */
  readonly name: number
  /** How many endpoints do. */
  uses: number
  /** Absent of a policy that was found in the maps. */
  readonly policy?: EndpointPolicy
}

export class PolicyWriter {
  readonly #entries: HashMap
  readonly #prefixes: ArrayMap
  readonly #free: number[] = []
  readonly #written = new Map<number, Written>()
  /** Names by what they stand for: endpoints with the very same policy share one. */
  readonly #shared = new Map<EndpointPolicy, Written>()
  /** Keys of each policy's entries, one behind the other. */
  readonly #keys = new Map<number, Int32Array>()
  readonly #key = new Int32Array(POLICY_KEY_WORDS)
  readonly #value = new Int32Array(POLICY_VALUE_WORDS)

  /**
   * Takes over maps as they are: policies found in them that `inUse` does not name are deleted.
   *
   * @param inUse names in the endpoints' rows, each as often as it is there
   */
  constructor(entries: HashMap, prefixes: ArrayMap, inUse: Iterable<number> = []) {
    this.#entries = entries
    this.#prefixes = prefixes
    this.#adoptKeys()
    for (const name of inUse) {
      const number = name & POLICY_NUMBER_MASK
      const written = this.#written.get(number)
      if (written === undefined) this.#written.set(number, { name, uses: 1 })
      else written.uses++
    }
    for (let number = 1; number < POLICIES_MAX; number++) {
      if (!this.#written.has(number)) {
        this.#remove(number)
        this.#free.push(number)
      }
    }
  }

  /**
   * The name for an endpoint's row of a policy, whose entries are written unless they are there.
   * Counted: as many `delete` as `add`. EMAP_FULL, and nothing changed, when there is no room.
   *
   * @param policy not to be changed afterwards
   */
  add(policy: EndpointPolicy): number {
    const shared = this.#shared.get(policy)
    if (shared !== undefined) {
      shared.uses++
      return shared.name
    }
    const number = this.#free.shift()
    if (number === undefined) {
      throw new RingpathError(
        ErrorCode.MAP_FULL,
        `map policy_prefixes: all ${POLICIES_MAX - 1} policies are in use`,
      )
    }
    try {
      this.#addEntries(number, compilePolicy(policy))
    } catch (error) {
      this.#remove(number)
      this.#free.push(number)
      throw error
    }
    const uses = this.#prefixes.valueStart(number) + PolicyRow.USES
    const used = ((this.#prefixes.words[uses] as number) + 1) | 0
    this.#prefixes.words[uses] = used
    const written = { name: (used << POLICY_NUMBER_BITS) | number, uses: 1, policy }
    this.#written.set(number, written)
    this.#shared.set(policy, written)
    return written.name
  }

  /** One endpoint less names the policy; without any, its entries are deleted. */
  delete(name: number): void {
    if (name === NO_POLICY) return
    const number = name & POLICY_NUMBER_MASK
    const written = this.#written.get(number)
    if (written === undefined) return
    written.uses--
    if (written.uses > 0) return
    this.#written.delete(number)
    if (written.policy !== undefined) this.#shared.delete(written.policy)
    this.#remove(number)
    this.#free.push(number)
  }

  #remove(number: number): void {
    const keys = this.#keys.get(number)
    for (let at = 0; keys !== undefined && at < keys.length; at += POLICY_KEY_WORDS) {
      this.#entries.delete(keys, at)
    }
    this.#keys.delete(number)
    const start = this.#prefixes.valueStart(number)
    this.#prefixes.words[start + PolicyRow.INGRESS_PREFIXES] = 0
    this.#prefixes.words[start + PolicyRow.EGRESS_PREFIXES] = 0
  }

  #addEntries(number: number, entries: readonly PolicyEntry[]): void {
    const keys = new Int32Array(entries.length * POLICY_KEY_WORDS)
    this.#keys.set(number, keys)
    for (const [i, entry] of entries.entries()) {
      const { direction, identity, protocol, port, prefixLength } = entry
      writePolicyKey(this.#key, number, direction, identity, protocol, port, prefixLength)
      this.#value[PolicyValue.PRECEDENCE] = entry.precedence
      this.#value[PolicyValue.COOKIE] = entry.cookie
      if (this.#entries.update(this.#key, this.#value, UpdateFlag.ANY) === FULL) {
        this.#keys.set(number, keys.subarray(0, i * POLICY_KEY_WORDS))
        throw new RingpathError(
          ErrorCode.MAP_FULL,
          `map policy: full with ${this.#entries.size} entries; raise its size or use fewer rules`,
        )
      }
      keys.set(this.#key, i * POLICY_KEY_WORDS)
      const word = this.#prefixes.valueStart(number) + (direction === Direction.EGRESS ? 1 : 0)
      this.#prefixes.words[word] = (this.#prefixes.words[word] as number) | (1 << prefixLength)
    }
  }

  /** Keys of the entries that are in the map, by policy. */
  #adoptKeys(): void {
    const found = new Map<number, number[]>()
    const words = this.#entries.words
    for (const slot of this.#entries.slots()) {
      const start = this.#entries.keyStart(slot)
      const number = (words[start] as number) >>> 1
      const keys = found.get(number) ?? []
      found.set(number, keys)
      for (let i = 0; i < POLICY_KEY_WORDS; i++) keys.push(words[start + i] as number)
    }
    for (const [number, keys] of found) this.#keys.set(number, Int32Array.from(keys))
  }
}
