/** Maps as large as a demonstration needs, so that the view reads them often at little cost. */
import type { MapSizes } from '../pipeline/datapath-maps.js'

export const MAP_SIZES: MapSizes = {
  connections: 8192,
  identities: 1024,
  policies: 1024,
  events: 4096,
}
