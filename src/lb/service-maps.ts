/** The maps of the services of a node, as both planes open them. */
import { ArrayMap } from '../maps/array-map.js'
import { HashMap } from '../maps/hash-map.js'
import { LruHashMap } from '../maps/lru-hash-map.js'
import type { MakeMap } from '../maps/map.js'
import { SERVICE_SIZES, type ServiceSizes, serviceSpecs } from './service-layout.js'

export class ServiceMaps {
  readonly services: HashMap
  readonly backends: ArrayMap
  readonly slots: ArrayMap
  readonly maglev: ArrayMap
  readonly reverseNat: ArrayMap
  readonly affinity: LruHashMap
  readonly affinityMatch: HashMap
  readonly sourceRanges: HashMap
  readonly sourceRangeLengths: ArrayMap
  readonly addressFilter: ArrayMap
  readonly settings: ArrayMap

  constructor(make: MakeMap, sizes: ServiceSizes = SERVICE_SIZES) {
    const specs = serviceSpecs(sizes)
    this.services = make(HashMap, specs.services)
    this.backends = make(ArrayMap, specs.backends)
    this.slots = make(ArrayMap, specs.slots)
    this.maglev = make(ArrayMap, specs.maglev)
    this.reverseNat = make(ArrayMap, specs.reverseNat)
    this.affinity = make(LruHashMap, specs.affinity)
    this.affinityMatch = make(HashMap, specs.affinityMatch)
    this.sourceRanges = make(HashMap, specs.sourceRanges)
    this.sourceRangeLengths = make(ArrayMap, specs.sourceRangeLengths)
    this.addressFilter = make(ArrayMap, specs.addressFilter)
    this.settings = make(ArrayMap, specs.settings)
  }
}

/** The sizes that maps were made with. @param entries of the map of that name */
export function serviceSizesOf(entries: (name: string) => number): ServiceSizes {
  const specs = serviceSpecs(SERVICE_SIZES)
  return {
    services: entries(specs.services.name),
    backends: entries(specs.backends.name),
    slots: entries(specs.slots.name),
    maglevWords: entries(specs.maglev.name),
    affinities: entries(specs.affinity.name),
    sourceRanges: entries(specs.sourceRanges.name),
  }
}
