/**
 * The lookup of bpf/lib/policy.h: is this flow allowed by this policy? Reads only; writing is in
 * policy-writer.ts.
 */
import type { ArrayMap } from '../maps/array-map.js'
import type { HashMap } from '../maps/hash-map.js'
import { type MapSpec, NOT_FOUND, type Slot } from '../maps/map.js'
import { DropReason } from '../packet/drop-reason.js'
import { Direction } from '../packet/verdict.js'
import { PolicyAnswers } from './policy-answers.js'
import {
  ANY_IDENTITY,
  POLICY_KEY_WORDS,
  POLICY_NUMBER_BITS,
  POLICY_NUMBER_MASK,
  POLICY_VALUE_WORDS,
  PolicyValue,
  PRECEDENCE_MAX,
  PREFIX_ANY,
  PREFIX_PROTOCOL,
  PrecedenceClass,
  portMask,
} from './policy-key.js'

/** What kind of entry decided; numbers as in Cilium's policy verdict events (bpf/lib/policy.h, POLICY_MATCH_…). */
export const PolicyMatch = {
  NONE: 0,
  L3_ONLY: 1,
  L3_L4: 2,
  L4_ONLY: 3,
  ALL: 4,
  L3_PROTOCOL: 5,
  PROTOCOL_ONLY: 6,
} as const
export type PolicyMatch = (typeof PolicyMatch)[keyof typeof PolicyMatch]

/** A policy without entries: every lookup is denied. */
export const NO_POLICY = 0

/** Verdict of a lookup that found an allowing entry. */
export const ALLOWED = 0

export const POLICIES_MAX = 1 << POLICY_NUMBER_BITS
export const policyMapSpec = (maxEntries: number): MapSpec => ({
  name: 'policy',
  type: 'hash',
  keyWords: POLICY_KEY_WORDS,
  valueWords: POLICY_VALUE_WORDS,
  maxEntries,
})
/**
 * By policy number: the prefix lengths in use for ingress and for egress (bit n for a prefix of n
 * bits), and how often the number was used.
 */
export const PolicyRow = { INGRESS_PREFIXES: 0, EGRESS_PREFIXES: 1, USES: 2 } as const
export const POLICY_PREFIXES_SPEC: MapSpec = {
  name: 'policy_prefixes',
  type: 'array',
  keyWords: 0,
  valueWords: 3,
  maxEntries: POLICIES_MAX,
}

export class PolicyMap {
  readonly #entries: HashMap
  readonly #prefixes: ArrayMap
  readonly #key = new Int32Array(POLICY_KEY_WORDS)
  readonly #answers: PolicyAnswers
  /** Of the entry found last. */
  #prefixLength = 0
  #isExact = false

  /** Of the last lookup: what kind of entry decided. */
  match: PolicyMatch = PolicyMatch.NONE
  /** Of the last lookup: the deciding rule's cookie. */
  cookie = 0
  /** Of the last lookup: the proxy the flow is to be sent to, 0 for none. */
  proxyPort = 0

  constructor(entries: HashMap, prefixes: ArrayMap) {
    this.#entries = entries
    this.#answers = new PolicyAnswers(entries.words)
    this.#prefixes = prefixes
  }

  /**
   * ALLOWED, or the reason for a drop. `identity` is the remote side's; `port` the destination
   * port, or the ICMP type. A packet without ports (a later fragment that nothing is known of)
   * passes only by an entry that needs none.
   */
  lookup(
    policy: number,
    direction: Direction,
    identity: number,
    protocol: number,
    port: number,
    hasPort: boolean,
  ): number {
    const number = policy & POLICY_NUMBER_MASK
    const word = direction === Direction.EGRESS ? 1 : 0
    let prefixes = this.#prefixes.words[this.#prefixes.valueStart(number) + word] as number
    if (!hasPort) prefixes &= (1 << (PREFIX_PROTOCOL + 1)) - 1
    this.#key[0] = (number << 1) | word

    if (prefixes === 0) return this.#refuse(hasPort)

    const answers = this.#answers
    const asked = (protocol << 16) | port
    if (!answers.recall(this.#key[0] as number, identity, asked, prefixes)) {
      const slot = this.#find(identity, protocol, port, prefixes)
      answers.remember(prefixes, slot, (this.#prefixLength << 1) | (this.#isExact ? 1 : 0))
      if (slot === NOT_FOUND) return this.#refuse(hasPort)
      return this.#decide(slot, this.#prefixLength, this.#isExact)
    }
    if (answers.slot === NOT_FOUND) return this.#refuse(hasPort)
    return this.#decide(answers.slot, answers.kind >>> 1, (answers.kind & 1) !== 0)
  }

  #refuse(hasPort: boolean): number {
    this.match = PolicyMatch.NONE
    this.cookie = 0
    this.proxyPort = 0
    return hasPort ? DropReason.POLICY_DENIED : DropReason.FRAGMENT_UNSUPPORTED
  }

  /** The entry that decides, with `#prefixLength` and `#isExact` of it; NOT_FOUND if none does. */
  #find(identity: number, protocol: number, port: number, prefixes: number): Slot {
    this.#isExact = true
    const exact = this.#longest(identity, protocol, port, prefixes)
    const exactPrefix = this.#prefixLength
    if (exact !== NOT_FOUND && this.#precedenceOf(exact) === PRECEDENCE_MAX) return exact
    const any = this.#longest(ANY_IDENTITY, protocol, port, prefixes)
    if (any === NOT_FOUND) {
      this.#prefixLength = exactPrefix
      return exact
    }
    if (exact === NOT_FOUND || this.#wins(any, this.#prefixLength, exact, exactPrefix)) {
      this.#isExact = false
      return any
    }
    this.#prefixLength = exactPrefix
    return exact
  }

  /** The entry of the longest prefix for one identity; at most 25 probes, in practice two. */
  #longest(identity: number, protocol: number, port: number, prefixes: number): Slot {
    const key = this.#key
    key[1] = identity
    let left = prefixes
    while (left !== 0) {
      const prefixLength = 31 - Math.clz32(left)
      left &= ~(1 << prefixLength)
      key[2] = prefixLength < PREFIX_PROTOCOL ? prefixLength : (protocol << 8) | prefixLength
      key[3] = prefixLength <= PREFIX_PROTOCOL ? 0 : port & portMask(prefixLength)
      const slot = this.#entries.lookup(key)
      if (slot !== NOT_FOUND) {
        this.#prefixLength = prefixLength
        return slot
      }
    }
    return NOT_FOUND
  }

  /**
   * Does the entry for any identity win? By higher precedence, or by the longer prefix where that
   * is equal.
   */
  #wins(any: Slot, anyPrefix: number, exact: Slot, exactPrefix: number): boolean {
    const anyPrecedence = this.#precedenceOf(any) >>> 0
    const exactPrecedence = this.#precedenceOf(exact) >>> 0
    return (
      anyPrecedence > exactPrecedence ||
      (anyPrecedence === exactPrecedence && anyPrefix > exactPrefix)
    )
  }

  #precedenceOf(slot: Slot): number {
    return this.#entries.words[this.#entries.valueStart(slot) + PolicyValue.PRECEDENCE] as number
  }

  #decide(slot: Slot, prefixLength: number, isExactIdentity: boolean): number {
    const words = this.#entries.words
    const start = this.#entries.valueStart(slot)
    const hits = words[start + PolicyValue.HITS] as number
    words[start + PolicyValue.HITS] = (hits + 1) | 0
    this.cookie = words[start + PolicyValue.COOKIE] as number
    this.proxyPort = (words[start + PolicyValue.FLAGS] as number) & 0xffff
    this.match = matchOf(prefixLength, isExactIdentity)
    const entryClass = (words[start + PolicyValue.PRECEDENCE] as number) & 0xff
    if (entryClass === PrecedenceClass.DENY) return DropReason.POLICY_DENY
    return entryClass === PrecedenceClass.PASS ? DropReason.POLICY_DENIED : ALLOWED
  }
}

function matchOf(prefixLength: number, isExactIdentity: boolean): PolicyMatch {
  if (prefixLength === PREFIX_ANY) {
    return isExactIdentity ? PolicyMatch.L3_ONLY : PolicyMatch.ALL
  }
  if (prefixLength === PREFIX_PROTOCOL) {
    return isExactIdentity ? PolicyMatch.L3_PROTOCOL : PolicyMatch.PROTOCOL_ONLY
  }
  return isExactIdentity ? PolicyMatch.L3_L4 : PolicyMatch.L4_ONLY
}
