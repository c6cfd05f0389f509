/**
 * Writes the egress policies of a node. The list is one for the whole cluster: a pod's own node needs
 * it to find the gateway, the gateway to know what it lets out. Validated whole before the first word
 * is stored.
 */
import { assert } from '../base/assert.js'
import { ErrorCode, RingpathError } from '../base/errors.js'
import type { LpmMap } from '../maps/lpm-map.js'
import {
  EGRESS_KEY_WORDS,
  EGRESS_SOURCE_BITS,
  EGRESS_VALUE_WORDS,
  EgressWord,
  EXCLUDED,
  NO_GATEWAY,
} from '../nat/egress-gateway.js'
import type { DatapathMaps } from '../pipeline/datapath-maps.js'
import { IPV4_PREFIX_BITS, isIpv4Words, parseCidr, parseIpv4 } from '../wire/address.js'

/** Packets of some pods to some destinations outside the cluster leave by one node. */
export interface EgressRule {
  /** IPv4 addresses of the pods. */
  readonly sources: readonly string[]
  /** Prefixes of IPv4; of all that cover a destination the longest decides. */
  readonly destinations: readonly string[]
  /** Prefixes within them that are reached the ordinary way. */
  readonly excluded?: readonly string[]
  /**
   * The node, by the address of its first uplink, at which its tunnel ends; while it is not given
   * the packets are dropped (194).
   */
  readonly gateway?: string
  /** An address of the gateway; while it is not given the gateway drops the packets (204). */
  readonly egressAddress?: string
}

interface Entry {
  readonly key: Int32Array
  readonly prefixBits: number
  readonly value: Int32Array
}

export class EgressWriter {
  readonly #policies: LpmMap

  constructor(maps: DatapathMaps) {
    this.#policies = maps.egressPolicies
  }

  /**
   * Those rules and no others; ECONFIG_INVALID or EMAP_FULL with nothing changed. Flows that an
   * earlier rule sent out keep their address only as long as a rule does.
   */
  set(rules: readonly EgressRule[]): void {
    const wanted = new Map<string, Entry>()
    for (const [index, rule] of rules.entries()) {
      for (const entry of entriesOf(rule, `egress[${index}]`)) {
        const name = nameOf(entry.key, entry.prefixBits)
        const other = wanted.get(name)
        if (other !== undefined && !isEqual(other.value, entry.value)) {
          const expected = 'no other rule for the same pod and prefix'
          throw invalid(`egress[${index}]`, `${rule.sources} to ${rule.destinations}`, expected)
        }
        wanted.set(name, entry)
      }
    }
    const policies = this.#policies
    if (wanted.size > policies.capacity) {
      const room = `room for ${policies.capacity}`
      const message = `map egress_gw_policy_v4: ${wanted.size} entries, ${room}`
      throw new RingpathError(ErrorCode.MAP_FULL, message)
    }
    const prefix = new Int32Array(EGRESS_KEY_WORDS + 1)
    const value = new Int32Array(EGRESS_VALUE_WORDS)
    for (const slot of [...policies.slots()]) {
      if (!policies.read(slot, prefix, value)) continue
      const bits = prefix[EGRESS_KEY_WORDS] ?? 0
      if (!wanted.has(nameOf(prefix, bits))) policies.delete(prefix.slice(0, 4), bits)
    }
    for (const entry of wanted.values()) {
      const slot = policies.update(entry.key, entry.prefixBits, entry.value)
      assert(slot >= 0, 'a map with room has none')
    }
  }
}

function entriesOf(rule: EgressRule, field: string): Entry[] {
  const gateway4 = rule.gateway === undefined ? NO_GATEWAY : parseIpv4(rule.gateway)
  if (rule.gateway !== undefined && (gateway4 === NO_GATEWAY || gateway4 === EXCLUDED)) {
    throw invalid(`${field}.gateway`, rule.gateway, 'the address of a node')
  }
  const egress4 = rule.egressAddress === undefined ? 0 : parseIpv4(rule.egressAddress)
  if (rule.sources.length === 0) throw invalid(`${field}.sources`, '[]', 'at least one pod')
  if (rule.destinations.length === 0) {
    throw invalid(`${field}.destinations`, '[]', 'at least one prefix')
  }
  return rule.sources.flatMap((source) => [
    ...rule.destinations.map((cidr) => entry(source, cidr, field, [egress4, gateway4])),
    ...(rule.excluded ?? []).map((cidr) => entry(source, cidr, field, [0, EXCLUDED])),
  ])
}

function entry(
  source: string,
  prefix: string,
  field: string,
  [egress4, gateway4]: readonly [number, number],
): Entry {
  const source4 = parseIpv4(source)
  if (source4 === 0) throw invalid(`${field}.sources`, source, 'the address of a pod')
  const { words, prefixBits } = parseCidr(prefix)
  if (!isIpv4Words(words) || prefixBits < IPV4_PREFIX_BITS) {
    // 0.0.0.0/0 is ::ffff:0:0/96.
    throw invalid(`${field}.destinations`, prefix, 'a prefix of IPv4')
  }
  const value = new Int32Array(EGRESS_VALUE_WORDS)
  value[EgressWord.EGRESS_ADDRESS] = egress4
  value[EgressWord.GATEWAY] = gateway4
  return {
    key: Int32Array.of(source4, words[3] ?? 0, 0, 0),
    prefixBits: EGRESS_SOURCE_BITS + prefixBits - IPV4_PREFIX_BITS,
    value,
  }
}

const nameOf = (key: Int32Array, prefixBits: number): string => `${key[0]} ${key[1]} ${prefixBits}`

const isEqual = (a: Int32Array, b: Int32Array): boolean => a.every((word, i) => word === b[i])

function invalid(field: string, value: string, expected: string): RingpathError {
  return new RingpathError(ErrorCode.CONFIG_INVALID, `${field}: '${value}', expected ${expected}`)
}
