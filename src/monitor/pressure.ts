/**
 * How full the tables are and what became of that, as gauges (Cilium: map-pressure metrics of
 * pkg/maps). Read from the maps' headers by whoever has them open, in any process; the datapath has
 * no part in it.
 */
import type { EventRing } from '../maps/event-ring.js'
import { type FixedMap, MapType } from '../maps/map.js'
import { Header } from '../maps/map-header.js'

export interface TablePressure {
  readonly name: string
  readonly entries: number
  /** Entries at most: the table's budget. */
  readonly capacity: number
  /** Share of the budget in use, 0 to 1. */
  readonly pressure: number
  /** Entries that made room for others (LRU tables), since the table was made; modulo 2^32. */
  readonly evicted: number
  /** Entries, or an event ring's records, for which there was no room; modulo 2^32. */
  readonly refused: number
  /** Expired entries that sweeps deleted, and sweeps; modulo 2^32. 0 where nothing is swept. */
  readonly collected: number
  readonly sweeps: number
  /** Seconds from the last sweep to the next, 0 before the first. */
  readonly sweepSeconds: number
}

export function readPressure(tables: readonly FixedMap[]): TablePressure[] {
  return tables.map((map) => {
    const shared = (word: number): number => Atomics.load(map.words, word) >>> 0
    const isRing = map.spec.type === MapType.EVENT_RING
    return {
      name: map.spec.name,
      entries: map.size,
      capacity: map.capacity,
      pressure: map.size / map.capacity,
      evicted: shared(Header.EVICTIONS),
      refused: isRing ? (map as EventRing).lost >>> 0 : shared(Header.REFUSED),
      collected: shared(Header.COLLECTED),
      sweeps: shared(Header.SWEEPS),
      sweepSeconds: shared(Header.SWEEP_SECONDS),
    }
  })
}
