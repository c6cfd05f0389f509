/**
 * Layout of the routing maps: what the mirror of the kernel's tables writes (route-writer.ts), and
 * what the stages read (fib.ts).
 */
import type { MapSpec } from '../maps/map.js'

/** What becomes of a packet that a route covers. */
export const RouteKind = {
  /** By the node's own stack: local and broadcast addresses, and routes that we cannot follow. */
  STACK: 0,
  /** To one of the next hops. */
  FORWARD: 1,
  /** Refused by the table: blackhole, unreachable, prohibit. */
  UNREACHABLE: 2,
} as const
export type RouteKind = (typeof RouteKind)[keyof typeof RouteKind]

/** Words of a route; HOP_WORDS for each of its next hops follow. */
export const Route = { KIND: 0, HOP_COUNT: 1, HOPS: 2 } as const

/** Words of a next hop. */
export const Hop = {
  /** An UPLINK port, or NOT_A_PORT for a device that is none of ours. */
  PORT: 0,
  /** The gateway; 0 where the destination itself is on the link. */
  GATEWAY: 1,
  /** Source of what the node sends this way; 0 when the node has no address. */
  SOURCE: 2,
  MTU_BYTES: 3,
  /** The hop takes flows whose hash, as 31 bits, is below this, and not below the hop before. */
  SHARE_END: 4,
} as const
export const HOP_WORDS = 5

export const NOT_A_PORT = -1
/** Next hops of one route. */
export const HOPS_MAX = 8
export const ROUTE_WORDS = Route.HOPS + HOPS_MAX * HOP_WORDS
/** A hash of a flow has so many bits here. */
export const SHARE_BITS = 31
/** SHARE_END of a route's last hop: above every hash. */
export const SHARE_ALL = 0x7fff_ffff

/** Next hop address, port. */
export const NEIGHBOUR_KEY_WORDS = 2
/** Words of a neighbour. */
export const Neighbour = {
  /** MAC address: upper four bytes in one word, lower two in the next. */
  MAC_HIGH: 0,
  MAC_LOW: 1,
  /** Not zero: the datapath sent to it since the mirror looked last. */
  IS_USED: 2,
} as const
const NEIGHBOUR_VALUE_WORDS = 3

/** Words of a row by which the datapath asks for a neighbour. */
export const Request = {
  NEXT_HOP: 0,
  /** Port plus one; 0 when the row is free. */
  PORT: 1,
} as const
const REQUEST_WORDS = 2
/** Rows for requests, a power of two; the row behind them counts requests. */
export const REQUEST_ROWS = 256

/** Entries of the maps whose size an operator chooses. */
export interface RoutingSizes {
  readonly routes: number
  readonly neighbours: number
}

export const ROUTING_SIZES: RoutingSizes = { routes: 16_384, neighbours: 16_384 }

/** The specs of all routing maps. */
export function routingSpecs(sizes: RoutingSizes) {
  return {
    routes: {
      name: 'routes',
      type: 'lpm',
      keyWords: 4,
      valueWords: ROUTE_WORDS,
      maxEntries: sizes.routes,
    },
    neighbours: {
      name: 'neighbours',
      type: 'hash',
      keyWords: NEIGHBOUR_KEY_WORDS,
      valueWords: NEIGHBOUR_VALUE_WORDS,
      maxEntries: sizes.neighbours,
    },
    requests: {
      name: 'neighbour_requests',
      type: 'array',
      keyWords: 0,
      valueWords: REQUEST_WORDS,
      maxEntries: REQUEST_ROWS + 1,
    },
  } as const satisfies Record<string, MapSpec>
}
