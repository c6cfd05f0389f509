/** The maps by which packets leave the node, as both planes open them. */
import { ArrayMap } from '../maps/array-map.js'
import { HashMap } from '../maps/hash-map.js'
import { LpmMap } from '../maps/lpm-map.js'
import type { MakeMap } from '../maps/map.js'
import { ROUTING_SIZES, type RoutingSizes, routingSpecs } from './route-layout.js'

export class RoutingMaps {
  readonly routes: LpmMap
  readonly neighbours: HashMap
  readonly requests: ArrayMap

  constructor(make: MakeMap, sizes: RoutingSizes = ROUTING_SIZES) {
    const specs = routingSpecs(sizes)
    this.routes = make(LpmMap, specs.routes)
    this.neighbours = make(HashMap, specs.neighbours)
    this.requests = make(ArrayMap, specs.requests)
  }
}

/** The sizes that maps were made with. @param entries of the map of that name */
export function routingSizesOf(entries: (name: string) => number): RoutingSizes {
  const specs = routingSpecs(ROUTING_SIZES)
  return { routes: entries(specs.routes.name), neighbours: entries(specs.neighbours.name) }
}
