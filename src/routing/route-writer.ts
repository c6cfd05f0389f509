/**
 * Writes routes and neighbours into the maps of a datapath: for the mirror of the kernel's tables,
 * and for tests. One writer at a time.
 */
import type { HashMap } from '../maps/hash-map.js'
import type { LpmMap } from '../maps/lpm-map.js'
import { UpdateFlag } from '../maps/map.js'
import { IPV4_PREFIX_BITS, ipv4Words, type Mac } from '../wire/address.js'
import {
  HOP_WORDS,
  HOPS_MAX,
  Hop,
  NEIGHBOUR_KEY_WORDS,
  Neighbour,
  NOT_A_PORT,
  ROUTE_WORDS,
  Route,
  RouteKind,
  SHARE_ALL,
} from './route-layout.js'
import type { RoutingMaps } from './routing-maps.js'

/** One way of a route. Addresses are int32, 0 for none. */
export interface NextHop {
  /** An UPLINK port; NOT_A_PORT leaves packets to the node's stack. */
  readonly port: number
  readonly gateway: number
  readonly source: number
  readonly mtuBytes: number
  /** Share of the flows, 1 (unless given) to 256. */
  readonly weight?: number
}

export interface RouteSpec {
  readonly kind: RouteKind
  /** 1 to HOPS_MAX of a FORWARD route; of more the first ones are taken. Else none. */
  readonly hops: readonly NextHop[]
}

/** A route that leaves packets to the node's stack. */
export const STACK_ROUTE: RouteSpec = { kind: RouteKind.STACK, hops: [] }

export class RouteWriter {
  readonly #routes: LpmMap
  readonly #neighbours: HashMap
  readonly #value = new Int32Array(ROUTE_WORDS)
  readonly #key = new Int32Array(NEIGHBOUR_KEY_WORDS)

  constructor(maps: RoutingMaps) {
    this.#routes = maps.routes
    this.#neighbours = maps.neighbours
  }

  /** @param prefixLength of IPv4, 0 to 32. False when the map is full. */
  setRoute(address4: number, prefixLength: number, route: RouteSpec): boolean {
    const words = ipv4Words(address4)
    const bits = IPV4_PREFIX_BITS + prefixLength
    return this.#routes.update(words, bits, routeWords(route, this.#value)) >= 0
  }

  /** True when this prefix was there. */
  deleteRoute(address4: number, prefixLength: number): boolean {
    return this.#routes.delete(ipv4Words(address4), IPV4_PREFIX_BITS + prefixLength)
  }

  /** False when the map is full. */
  setNeighbour(port: number, address4: number, mac: Mac): boolean {
    const value = new Int32Array(this.#neighbours.spec.valueWords)
    value[Neighbour.MAC_HIGH] = mac.high
    value[Neighbour.MAC_LOW] = mac.low
    return this.#neighbours.update(this.#keyOf(port, address4), value, UpdateFlag.ANY) >= 0
  }

  /** True when it was there. */
  deleteNeighbour(port: number, address4: number): boolean {
    return this.#neighbours.delete(this.#keyOf(port, address4))
  }

  #keyOf(port: number, address4: number): Int32Array {
    this.#key[0] = address4
    this.#key[1] = port
    return this.#key
  }
}

/** The value of a route, written over `words`. */
export function routeWords(route: RouteSpec, words = new Int32Array(ROUTE_WORDS)): Int32Array {
  const hops = route.hops.slice(0, HOPS_MAX)
  const total = hops.reduce((sum, hop) => sum + (hop.weight ?? 1), 0)
  words.fill(0)
  words[Route.KIND] = route.kind
  words[Route.HOP_COUNT] = hops.length
  let taken = 0
  for (const [index, hop] of hops.entries()) {
    const start = Route.HOPS + index * HOP_WORDS
    taken += hop.weight ?? 1
    words[start + Hop.PORT] = hop.port
    words[start + Hop.GATEWAY] = hop.gateway
    words[start + Hop.SOURCE] = hop.source
    words[start + Hop.MTU_BYTES] = hop.mtuBytes
    words[start + Hop.SHARE_END] = Math.floor((taken / total) * SHARE_ALL)
  }
  if (route.kind === RouteKind.FORWARD && hops.length === 0) words[Route.HOPS] = NOT_A_PORT
  return words
}
