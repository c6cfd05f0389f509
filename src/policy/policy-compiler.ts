/**
 * From rules to the entries of the policy map: at most one entry per key, and none that a stronger,
 * wider one of the same identity covers. The lookup takes the longest prefix of an identity; only
 * without covered entries is that also the strongest (Cilium: pkg/policy/mapstate.go).
 */
import { Direction } from '../packet/verdict.js'
import {
  ANY_IDENTITY,
  HIGHEST_PRIORITY,
  LOWEST_PRIORITY,
  PREFIX_ANY,
  PREFIX_PORT,
  PREFIX_PROTOCOL,
  PrecedenceClass,
  portMask,
  precedence,
} from './policy-key.js'
import type { EndpointPolicy, PolicyRule } from './policy-rule.js'
import { portPrefixes } from './port-range.js'

export interface PolicyEntry {
  readonly direction: Direction
  readonly identity: number
  readonly protocol: number
  readonly port: number
  readonly prefixLength: number
  /** Compared unsigned. */
  readonly precedence: number
  readonly cookie: number
}

type Place = Pick<PolicyEntry, 'protocol' | 'port' | 'prefixLength'>

export function compilePolicy(policy: EndpointPolicy): PolicyEntry[] {
  const strongest = new Map<string, PolicyEntry>()
  for (const rule of rulesOf(policy)) {
    for (const entry of entriesOf(rule)) {
      const key = keyOf(entry, entry)
      const present = strongest.get(key)
      if (present === undefined || isStronger(entry, present)) strongest.set(key, entry)
    }
  }
  return [...strongest.values()].filter((entry) => !isCovered(entry, strongest))
}

/** A direction that is not enforced is one rule that allows what no other rule denies. */
function* rulesOf(policy: EndpointPolicy): Generator<PolicyRule> {
  const open = { action: 'allow', priority: LOWEST_PRIORITY } as const
  if (!policy.enforceIngress) yield { direction: Direction.INGRESS, ...open }
  if (!policy.enforceEgress) yield { direction: Direction.EGRESS, ...open }
  yield* policy.rules
}

function* entriesOf(rule: PolicyRule): Generator<PolicyEntry> {
  const { direction, cookie = 0, priority = HIGHEST_PRIORITY } = rule
  const entryClass = rule.action === 'deny' ? PrecedenceClass.DENY : PrecedenceClass.ALLOW
  const strength = precedence(priority, entryClass)
  for (const identity of rule.identities ?? [ANY_IDENTITY]) {
    for (const place of placesOf(rule)) {
      yield { direction, identity, ...place, precedence: strength, cookie }
    }
  }
}

function placesOf(rule: PolicyRule): Place[] {
  if (rule.ports === undefined) return [{ protocol: 0, port: 0, prefixLength: PREFIX_ANY }]
  return rule.ports.flatMap(({ protocol, firstPort, lastPort }) => {
    if (firstPort === undefined) return [{ protocol, port: 0, prefixLength: PREFIX_PROTOCOL }]
    const prefixes = portPrefixes(firstPort, lastPort ?? firstPort)
    return prefixes.map((prefix) => ({ protocol, ...prefix }))
  })
}

function isCovered(entry: PolicyEntry, all: ReadonlyMap<string, PolicyEntry>): boolean {
  return widerPlaces(entry).some((place) => {
    const wider = all.get(keyOf(entry, place))
    return wider !== undefined && isStronger(wider, entry)
  })
}

/** Every place that contains this one, at most 17. */
function widerPlaces(entry: PolicyEntry): Place[] {
  const { protocol, port, prefixLength } = entry
  if (prefixLength === PREFIX_ANY) return []
  const places: Place[] = [{ protocol: 0, port: 0, prefixLength: PREFIX_ANY }]
  for (let length = PREFIX_PROTOCOL; length < Math.min(prefixLength, PREFIX_PORT); length++) {
    places.push({ protocol, port: port & portMask(length), prefixLength: length })
  }
  return places
}

const isStronger = (a: PolicyEntry, b: PolicyEntry): boolean =>
  a.precedence >>> 0 > b.precedence >>> 0

const keyOf = (of: PolicyEntry, place: Place): string =>
  `${of.direction}/${of.identity}/${place.protocol}/${place.port}/${place.prefixLength}`
