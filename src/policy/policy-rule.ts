/**
 * Policy rules as data, resolved to identities: what a policy author's document becomes before it
 * is map entries.
 */
import type { Direction } from '../packet/verdict.js'

export interface PortRange {
  /** An IP protocol number; ICMP rules give the ICMP type as port. */
  readonly protocol: number
  /** Inclusive; a rule for every port of a protocol leaves both out. */
  readonly firstPort?: number
  readonly lastPort?: number
}

export interface PolicyRule {
  readonly direction: Direction
  readonly action: 'allow' | 'deny'
  /** Remote identities; absent matches every one. */
  readonly identities?: readonly number[]
  /** Destination protocols and ports; absent matches every packet. */
  readonly ports?: readonly PortRange[]
  /** 0 (the highest, and the default) to 0xffffff. */
  readonly priority?: number
  /** Shown by events and explanations; 1 and up. */
  readonly cookie?: number
}

/** One endpoint's policy. A direction that is not enforced allows everything. */
export interface EndpointPolicy {
  readonly enforceIngress: boolean
  readonly enforceEgress: boolean
  readonly rules: readonly PolicyRule[]
}
