/** The maps of a node's NAT, as both planes open them. */

import { WORKERS_MAX } from '../base/limits.js'
import type { Prng } from '../base/prng.js'
import { ArrayMap } from '../maps/array-map.js'
import { CounterMap } from '../maps/counter-map.js'
import { LpmMap } from '../maps/lpm-map.js'
import { LruHashMap } from '../maps/lru-hash-map.js'
import type { MakeMap, MapSpec } from '../maps/map.js'
import { DestinationUse, natDestinationsSpec } from './destination-use.js'
import { HOST_PORTS_SPEC, HostPorts } from './host-ports.js'
import { MASQUERADE_EXCLUSIONS_SPEC } from './masquerade.js'
import { NAT_SETTINGS_SPEC, NatSettings } from './nat-settings.js'
import { NAT_PORT_USE_SPEC, PortUse } from './port-use.js'
import { snat4Spec } from './snat-entry.js'
import { NAT_TRIES_CELLS, SourceNat } from './source-nat.js'

export interface NatSizes {
  /** Entries of `snat4`; a flow has two. */
  readonly snat: number
  /** Destinations whose ports are counted. */
  readonly destinations: number
}

export const NAT_SIZES: NatSizes = { snat: 131_072, destinations: 16_384 }

const NAT_TRIES_SPEC: MapSpec = {
  name: 'nat_tries',
  type: 'counter',
  keyWords: 0,
  valueWords: 2,
  maxEntries: NAT_TRIES_CELLS,
  workers: WORKERS_MAX,
}

export class NatMaps {
  readonly snat: LruHashMap
  readonly destinations: LruHashMap
  readonly portUse: ArrayMap
  readonly hostPorts: HostPorts
  /** Mappings by ports tried in vain before: 33 cells, the last for those that found none. */
  readonly tries: CounterMap
  readonly settings: NatSettings
  readonly exclusions: LpmMap

  constructor(make: MakeMap, sizes: NatSizes = NAT_SIZES) {
    this.snat = make(LruHashMap, snat4Spec(sizes.snat))
    this.destinations = make(LruHashMap, natDestinationsSpec(sizes.destinations))
    this.portUse = make(ArrayMap, NAT_PORT_USE_SPEC)
    this.hostPorts = new HostPorts(make(ArrayMap, HOST_PORTS_SPEC))
    this.tries = make(CounterMap, NAT_TRIES_SPEC)
    this.settings = new NatSettings(make(ArrayMap, NAT_SETTINGS_SPEC))
    this.exclusions = make(LpmMap, MASQUERADE_EXCLUSIONS_SPEC)
  }

  /**
   * For one worker.
   *
   * @param countsAnew ports in use, as the first worker does: no other may work then
   */
  sourceNat(worker: number, random: Prng, countsAnew = worker === 0): SourceNat {
    const { snat, settings, hostPorts } = this
    const nat = new SourceNat(
      {
        table: snat,
        portUse: new PortUse(this.portUse),
        hostPorts,
        destinations: new DestinationUse(this.destinations),
        range: settings,
        triesHistogram: this.tries.row(worker),
      },
      random,
    )
    if (countsAnew) nat.mappings.countAnew()
    return nat
  }
}

/** The sizes that maps were made with. @param entries of the map of that name */
export function natSizesOf(entries: (name: string) => number): NatSizes {
  return { snat: entries('snat4'), destinations: entries('nat_destinations') }
}
