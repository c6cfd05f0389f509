/**
 * The state of a node's NAT for whoever asks: how full it is, how hard ports are to find, and toward
 * where most of them are in use. Who sends so much tells `readTopSources` (src/monitor).
 */
import { type DestinationLine, readDestinations } from './destination-use.js'
import type { NatMaps } from './nat-maps.js'
import { PORT_TRIES_MAX } from './port-probe.js'

export interface NatReport {
  /** Of `snat4`; a flow has two. */
  readonly entries: number
  readonly capacity: number
  /** Entries evicted since the table was made; wraps at 2^31. */
  readonly evictions: number
  /** Mappings made after so many ports tried in vain, from none to 31. */
  readonly tries: readonly number[]
  /** Flows refused because no port was found (167). */
  readonly exhausted: number
  /** Those with most ports in use, the fullest first. */
  readonly destinations: readonly DestinationLine[]
}

/** @param limit of destinations */
export function readNatReport(maps: NatMaps, limit = 20): NatReport {
  const { snat, tries, destinations } = maps
  return {
    entries: snat.size,
    capacity: snat.capacity,
    evictions: snat.evictions,
    tries: Array.from({ length: PORT_TRIES_MAX }, (_, cell) => tries.sum(cell)),
    exhausted: tries.sum(PORT_TRIES_MAX),
    destinations: readDestinations(destinations, limit),
  }
}
