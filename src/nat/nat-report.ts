/**
 * The state of a node's NAT for whoever asks: how full it is, how hard ports are to find, and who and
 * what takes most of them. Control plane; it looks at every entry.
 */
import { formatIpv4 } from '../wire/address.js'
import { type DestinationLine, readDestinations } from './destination-use.js'
import type { NatMaps } from './nat-maps.js'
import { SNAT_KEY_WORDS, SNAT_VALUE_WORDS, SnatDirection, SnatKey } from './snat-entry.js'
import { NAT_TRIES_CELLS } from './source-nat.js'

/** A sender and its flows. */
export interface NatSourceLine {
  readonly address: string
  readonly flows: number
}

export interface NatReport {
  /** Of `snat4`; a flow has two. */
  readonly entries: number
  readonly capacity: number
  /** Entries evicted since the table was made; wraps at 2^31. */
  readonly evictions: number
  /** Mappings made after so many ports tried in vain, 0 to 31; the last cell: none found. */
  readonly tries: readonly number[]
  /** Those with most ports in use, the fullest first. */
  readonly destinations: readonly DestinationLine[]
  /** Those with most flows, the busiest first. */
  readonly sources: readonly NatSourceLine[]
}

/** @param limit lines of destinations and of sources */
export function readNatReport(maps: NatMaps, limit = 20): NatReport {
  const { snat, tries, destinations } = maps
  return {
    entries: snat.size,
    capacity: snat.capacity,
    evictions: snat.evictions,
    tries: Array.from({ length: NAT_TRIES_CELLS }, (_, cell) => tries.sum(cell)),
    destinations: readDestinations(destinations, limit),
    sources: readSources(maps, limit),
  }
}

function readSources({ snat }: NatMaps, limit: number): NatSourceLine[] {
  const key = new Int32Array(SNAT_KEY_WORDS)
  const value = new Int32Array(SNAT_VALUE_WORDS)
  const flows = new Map<number, number>()
  for (const slot of snat.slots()) {
    if (!snat.read(slot, key, value)) continue
    const isForward = ((key[SnatKey.PROTOCOL] ?? 0) & SnatDirection.IN) === 0
    const source = key[SnatKey.SOURCE] ?? 0
    if (isForward) flows.set(source, (flows.get(source) ?? 0) + 1)
  }
  const busiest = [...flows].sort((a, b) => b[1] - a[1]).slice(0, limit)
  return busiest.map(([source, count]) => ({ address: formatIpv4(source), flows: count }))
}
