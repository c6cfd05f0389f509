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

/** Of one direction and identity, by place. */
type Places = Map<number, PolicyEntry>

export function compilePolicy(policy: EndpointPolicy): PolicyEntry[] {
  const byPeer = new Map<number, Places>()
  for (const rule of rulesOf(policy)) {
    for (const entry of entriesOf(rule)) addStrongest(placesOfPeer(byPeer, entry), entry)
  }
  const entries: PolicyEntry[] = []
  for (const places of byPeer.values()) {
    for (const entry of places.values()) if (!isCovered(entry, places)) entries.push(entry)
  }
  return entries
}

function placesOfPeer(byPeer: Map<number, Places>, entry: PolicyEntry): Places {
  const peer = entry.identity * 2 + (entry.direction === Direction.EGRESS ? 1 : 0)
  let places = byPeer.get(peer)
  if (places === undefined) {
    places = new Map()
    byPeer.set(peer, places)
  }
  return places
}

function addStrongest(places: Places, entry: PolicyEntry): void {
  const key = placeKey(entry)
  const present = places.get(key)
  if (present === undefined || isStronger(entry, present)) places.set(key, entry)
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

function isCovered(entry: PolicyEntry, places: Places): boolean {
  if (places.size === 1) return false
  return widerPlaces(entry).some((place) => {
    const wider = places.get(placeKey(place))
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

/** 16 bits of port, 5 of prefix length, 8 of protocol. */
const placeKey = ({ protocol, port, prefixLength }: Place): number =>
  (protocol << 21) | (prefixLength << 16) | port
