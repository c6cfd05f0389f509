/**
 * Writes what the node's NAT is to do: whether pods are masqueraded, toward whom not, and with which
 * ports. Validated whole before the first word is stored.
 */
import { assert } from '../base/assert.js'
import { ErrorCode, RingpathError } from '../base/errors.js'
import { FULL } from '../maps/map.js'
import { Exclusion } from '../nat/masquerade.js'
import type { NatMaps } from '../nat/nat-maps.js'
import { NAT_PORT_HIGH_DEFAULT, NAT_PORT_LOW_DEFAULT } from '../nat/nat-settings.js'
import { type Cidr, formatCidr, isIpv4Words, parseCidr } from '../wire/address.js'

/** The whole of the node's wishes: what is not given is as stated here. */
export interface MasqueradeOptions {
  /** Pods' packets to the outside leave from the address of the uplink. */
  readonly enabled: boolean
  /** Where pods are routed with their own addresses: never masqueraded. None unless given. */
  readonly nativeRoutingCidrs?: readonly string[]
  /**
   * More of them, as ip-masq-agent's `nonMasqueradeCIDRs`; 'default' are its own. None unless given,
   * and then `masqLinkLocal` says nothing.
   */
  readonly nonMasqueradeCidrs?: readonly string[] | 'default'
  /** ip-masq-agent's `masqLinkLocal`: false, the default, leaves 169.254.0.0/16 alone as well. */
  readonly masqLinkLocal?: boolean
  /** Masquerade toward other nodes too, though pods are routed to them. False unless given. */
  readonly remoteNodes?: boolean
  /**
   * The ports of the NAT, both ends included, of 1024 to 65535 and without those of NodePorts. 32768
   * to 65535 unless given.
   */
  readonly ports?: { readonly low: number; readonly high: number }
}

/** Destinations that ip-masq-agent does not masquerade: private, shared, special and reserved ones. */
export const NON_MASQUERADE_DEFAULTS: readonly string[] = [
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '100.64.0.0/10',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '240.0.0.0/4',
]
const LINK_LOCAL = '169.254.0.0/16'

const PORT_MIN = 1024
const PORT_MAX = 65_535

export class MasqueradeWriter {
  readonly #maps: NatMaps

  constructor(maps: NatMaps) {
    this.#maps = maps
  }

  /** ECONFIG_INVALID or EMAP_FULL, with nothing changed, when it cannot be. */
  set(options: MasqueradeOptions): void {
    const { low, high } = checkedPorts(options)
    const wanted = exclusionsOf(options)
    const { exclusions, settings } = this.#maps
    if (wanted.size > exclusions.capacity) {
      const room = `room for ${exclusions.capacity}`
      const message = `map masquerade_exclusions: ${wanted.size} prefixes, ${room}`
      throw new RingpathError(ErrorCode.MAP_FULL, message)
    }
    this.#deleteAllBut(wanted)
    const value = new Int32Array(1)
    for (const { cidr, kind } of wanted.values()) {
      value[0] = kind
      const slot = exclusions.update(cidr.words, cidr.prefixBits, value)
      assert(slot !== FULL, 'a map of so few prefixes has tables for each')
    }
    settings.set(options.enabled, options.remoteNodes ?? false, low, high)
  }

  #deleteAllBut(wanted: ReadonlyMap<string, Excluded>): void {
    const { exclusions } = this.#maps
    const prefix = new Int32Array(5)
    const value = new Int32Array(1)
    for (const slot of [...exclusions.slots()]) {
      if (!exclusions.read(slot, prefix, value)) continue
      const words = prefix.slice(0, 4)
      const prefixBits = prefix[4] ?? 0
      if (!wanted.has(formatCidr({ words, prefixBits }))) exclusions.delete(words, prefixBits)
    }
  }
}

interface Excluded {
  readonly cidr: Cidr
  readonly kind: number
}

/** By text; a prefix that both lists have counts as one of the first. */
function exclusionsOf(options: MasqueradeOptions): Map<string, Excluded> {
  const wanted = new Map<string, Excluded>()
  const add = (field: string, text: string, kind: number): void => {
    const cidr = parseCidr(text)
    if (!isIpv4Words(cidr.words) || cidr.prefixBits < 96) throw invalid(field, text, 'of IPv4')
    const key = formatCidr(cidr)
    if (!wanted.has(key)) wanted.set(key, { cidr, kind })
  }
  for (const text of options.nativeRoutingCidrs ?? []) {
    add('masquerade.nativeRoutingCidrs', text, Exclusion.NATIVE_ROUTING)
  }
  const agent = options.nonMasqueradeCidrs
  if (agent === undefined) return wanted
  const field = 'masquerade.nonMasqueradeCidrs'
  const ranges = agent === 'default' ? NON_MASQUERADE_DEFAULTS : agent
  for (const text of ranges) add(field, text, Exclusion.MASQ_AGENT)
  if (options.masqLinkLocal !== true) add(field, LINK_LOCAL, Exclusion.MASQ_AGENT)
  return wanted
}

function checkedPorts(options: MasqueradeOptions): { low: number; high: number } {
  const { low, high } = options.ports ?? { low: NAT_PORT_LOW_DEFAULT, high: NAT_PORT_HIGH_DEFAULT }
  const isPort = (port: number) => Number.isInteger(port) && port >= PORT_MIN && port <= PORT_MAX
  const range = `a whole number from ${PORT_MIN} to ${PORT_MAX}`
  if (!isPort(low)) throw invalid('masquerade.ports.low', String(low), range)
  if (!isPort(high)) throw invalid('masquerade.ports.high', String(high), range)
  if (low > high) throw invalid('masquerade.ports.high', String(high), `at least ${low}`)
  return { low, high }
}

function invalid(field: string, value: string, expected: string): RingpathError {
  return new RingpathError(ErrorCode.CONFIG_INVALID, `${field}: '${value}', expected ${expected}`)
}
