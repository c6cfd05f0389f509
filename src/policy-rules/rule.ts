/**
 * A policy rule as it is computed with: checked, its prefixes parsed, its peers as selectors of
 * identities. `checkRule` makes one of a RuleSpec.
 */
import { Identity } from '../identity/identity.js'
import type { Direction } from '../packet/verdict.js'
import type { PortRange } from '../policy/policy-rule.js'
import type { Cidr } from '../wire/address.js'
import { contains } from './cidr-index.js'
import { type LabelSelector, type LabelSet, normalKey, selects } from './labels.js'

/** One security identity: who an address is, as far as policy is concerned. */
export interface IdentityRecord {
  readonly number: number
  readonly labels: LabelSet
  /** Of the identity of a prefix outside the cluster. */
  readonly cidr?: Cidr
}

/** A set of identities, described; those with the same text are the same set. */
export interface PeerSelector {
  readonly text: string
  readonly matches: (identity: IdentityRecord) => boolean
  /** Labels of which one is needed, for an index; absent where labels do not decide. */
  readonly labels?: LabelSelector
  /** The prefix that all of its identities lie in. */
  readonly within?: Cidr
  /** Prefixes that need an identity of their own for the selector to be exact. */
  readonly cidrs: readonly Cidr[]
}

/** Resolved with the ports of the endpoint whose policy it is. */
export interface NamedPort {
  readonly name: string
  readonly protocols: readonly number[]
}

export interface Section {
  readonly direction: Direction
  readonly action: 'allow' | 'deny'
  /** Absent: every peer. */
  readonly peers: readonly PeerSelector[] | undefined
  /** Absent: every packet. */
  readonly ports: readonly PortRange[] | undefined
  readonly namedPorts: readonly NamedPort[]
}

export interface Rule {
  readonly name: string
  readonly isOfHost: boolean
  readonly subjects: LabelSelector
  readonly enforcesIngress: boolean
  readonly enforcesEgress: boolean
  readonly sections: readonly Section[]
  readonly priority: number
}

const WORLDS: ReadonlySet<number> = new Set([
  Identity.WORLD,
  Identity.WORLD_IPV4,
  Identity.WORLD_IPV6,
])
/** Numbers below are reserved for what has no labels of its own. */
export const FIRST_CLUSTER_IDENTITY = 256

/** Outside the cluster. */
export const isWorld = (identity: IdentityRecord): boolean =>
  identity.cidr !== undefined || WORLDS.has(identity.number)

/** Selects endpoints of the cluster; reserved identities where a `reserved:` label is named. */
export function labelPeers(selector: LabelSelector, text: string): PeerSelector {
  const keys = [
    ...Object.keys(selector.matchLabels ?? {}),
    ...(selector.matchExpressions ?? []).map((expression) => expression.key),
  ]
  const namesReserved = keys.some((key) => normalKey(key).startsWith('reserved:'))
  return {
    text: `labels ${text}`,
    labels: selector,
    cidrs: [],
    matches: (identity) =>
      !isWorld(identity) &&
      (identity.number >= FIRST_CLUSTER_IDENTITY || namesReserved) &&
      selects(selector, identity.labels),
  }
}

/**
 * Selects what lies in the prefix and in none of the exceptions. All of IPv4 is the world of IPv4,
 * whose identity is WORLD unless a longer prefix has one of its own; it needs no further one.
 */
export function cidrPeers(cidr: Cidr, except: readonly Cidr[], text: string): PeerSelector {
  const worlds = worldsOf(cidr)
  return {
    text: `cidr ${text}`,
    ...(worlds.length > 0 ? {} : { within: cidr }),
    cidrs: worlds.length > 0 ? except : [cidr, ...except],
    matches: (identity) => {
      const own = identity.cidr
      if (own === undefined) return worlds.includes(identity.number)
      return contains(cidr, own) && !except.some((part) => contains(part, own))
    },
  }
}

/** The reserved identities of a prefix that is a whole address family. */
function worldsOf(cidr: Cidr): readonly number[] {
  if (cidr.prefixBits === 0) return [Identity.WORLD_IPV6]
  const isAllIpv4 = contains(cidr, ALL_IPV4) && contains(ALL_IPV4, cidr)
  return isAllIpv4 ? [Identity.WORLD, Identity.WORLD_IPV4] : []
}

export const ALL_IPV4: Cidr = { words: Int32Array.of(0, 0, 0xffff, 0), prefixBits: 96 }
