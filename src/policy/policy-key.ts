/**
 * Keys and values of the policy map (Cilium: pkg/maps/policymap, bpf/lib/policy.h).
 *
 * Cilium keeps one longest-prefix-match trie per endpoint, over {egress, protocol, destination
 * port} behind the identity. We keep all policies in one hash map, one probe for each prefix length
 * in use; the key names a policy revision, not an endpoint, so that an endpoint's whole policy is
 * swapped by storing one word.
 */
import { Direction } from '../packet/verdict.js'

/**
 * A policy as an endpoint's row names it: the number of its place below, and above it how often
 * that place was used, so that two policies are never named alike (within 2^18 uses of a place).
 */
export const POLICY_NUMBER_BITS = 13
export const POLICY_NUMBER_MASK = (1 << POLICY_NUMBER_BITS) - 1

/** policy and direction; identity; protocol and prefix length; destination port. */
export const POLICY_KEY_WORDS = 4
export const POLICY_VALUE_WORDS = 4

export const PolicyValue = {
  /** (inverted priority << 8) | class; compared unsigned. */
  PRECEDENCE: 0,
  /** Proxy port in the low half, flags (PolicyFlag) in the upper. */
  FLAGS: 1,
  /** Number of the rule that made the entry, for explanations; 0 for entries of the system. */
  COOKIE: 2,
  /**
   * Times that this entry was found to decide; a connection asks once, and again for each of its
   * events. Wraps.
   */
  HITS: 3,
} as const

/** Class byte of a precedence. */
export const PrecedenceClass = { DENY: 255, REDIRECT: 2, ALLOW: 1, PASS: 0 } as const

/**
 * Precedence of an allow or deny without a priority of its own: the highest priority, as Cilium's
 * rules without a tier have.
 */
export const HIGHEST_PRIORITY = 0
export const LOWEST_PRIORITY = 0xff_ffff
export const precedence = (priority: number, precedenceClass: number): number =>
  ((~priority & LOWEST_PRIORITY) << 8) | precedenceClass

/** No other entry can win over it: a deny of the highest priority. */
export const PRECEDENCE_MAX = precedence(HIGHEST_PRIORITY, PrecedenceClass.DENY)

/**
 * Prefix of protocol and port together: 0 matches any protocol, 8 one protocol and any port, 24 one
 * port (Cilium: bpf/lib/policy.h, struct policy_key).
 */
export const PREFIX_ANY = 0
export const PREFIX_PROTOCOL = 8
export const PREFIX_PORT = 24

/** Matches any identity. */
export const ANY_IDENTITY = 0

export function writePolicyKey(
  key: Int32Array,
  policyNumber: number,
  direction: Direction,
  identity: number,
  protocol: number,
  port: number,
  prefixLength: number,
): void {
  key[0] = (policyNumber << 1) | (direction === Direction.EGRESS ? 1 : 0)
  key[1] = identity
  key[2] = prefixLength < PREFIX_PROTOCOL ? prefixLength : (protocol << 8) | prefixLength
  key[3] = prefixLength <= PREFIX_PROTOCOL ? 0 : port & portMask(prefixLength)
}

/** The bits of a port that a prefix of 8 to 24 covers. */
export const portMask = (prefixLength: number): number =>
  (0xffff << (PREFIX_PORT - prefixLength)) & 0xffff
