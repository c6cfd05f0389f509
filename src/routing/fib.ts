/**
 * Where an IPv4 packet goes that leaves the node: what bpf_fib_lookup is to Cilium (bpf/lib/fib.h),
 * over a mirror of the kernel's routes and neighbours.
 *
 * Among several next hops the flow's hash decides, in proportion to their weights, as in the kernel
 * (fib_select_multipath): a flow keeps its way while the route stays. It chooses by destination
 * only: no policy rules by source, mark or type of service.
 */
import type { ArrayMap } from '../maps/array-map.js'
import type { HashMap } from '../maps/hash-map.js'
import type { LpmMap } from '../maps/lpm-map.js'
import { NOT_FOUND } from '../maps/map.js'
import {
  HOP_WORDS,
  Hop,
  NEIGHBOUR_KEY_WORDS,
  Neighbour,
  NOT_A_PORT,
  REQUEST_ROWS,
  Request,
  ROUTE_WORDS,
  Route,
  RouteKind,
} from './route-layout.js'
import type { RoutingMaps } from './routing-maps.js'

export const FibResult = {
  /** All fields are set. */
  FOUND: 0,
  /** As FOUND, but nobody knows the next hop's MAC; the mirror has been asked for it. */
  NO_NEIGHBOUR: 1,
  /** No route, an address of the node, or by a device that is no UPLINK port: for the stack. */
  NOT_OURS: 2,
  /** The tables refuse the destination (blackhole, unreachable, prohibit). */
  UNREACHABLE: 3,
} as const
export type FibResult = (typeof FibResult)[keyof typeof FibResult]

const IPV4_MAPPED = 0xffff
const BROADCAST = -1
/** The upper four bits of 224.0.0.0/4. */
const MULTICAST_PREFIX = 0xe
/** Reads of a neighbour that changed meanwhile. */
const REREADS_MAX = 8

export class Fib {
  readonly #routes: LpmMap
  readonly #neighbours: HashMap
  readonly #requests: ArrayMap
  readonly #address = Int32Array.of(0, 0, IPV4_MAPPED, 0)
  /** A route with one next hop; most have no more, and the rest need not be copied. */
  readonly #single = new Int32Array(Route.HOPS + HOP_WORDS)
  readonly #multiple = new Int32Array(ROUTE_WORDS)
  readonly #neighbour = new Int32Array(NEIGHBOUR_KEY_WORDS)

  /** Of the last lookup, when it answered FOUND or NO_NEIGHBOUR: the UPLINK port; else -1. */
  port = NOT_A_PORT
  /** What the node sends from on this way, 0 when it has no address. */
  sourceAddress4 = 0
  /** The gateway, or the destination itself. */
  nextHop4 = 0
  /** Longest IP packet that may go this way. */
  mtuBytes = 0
  /** MAC of the next hop, when FOUND: upper four bytes, lower two. */
  macHigh = 0
  macLow = 0

  constructor(maps: RoutingMaps) {
    this.#routes = maps.routes
    this.#neighbours = maps.neighbours
    this.#requests = maps.requests
  }

  /** @param hash of the flow, to choose among several next hops */
  lookup(destination4: number, hash: number): FibResult {
    this.port = NOT_A_PORT
    if (destination4 >>> 28 === MULTICAST_PREFIX || destination4 === BROADCAST) {
      return FibResult.NOT_OURS
    }
    this.#address[3] = destination4
    const route = this.#findRoute()
    if (route === null) return FibResult.NOT_OURS
    const kind = route[Route.KIND]
    if (kind === RouteKind.UNREACHABLE) return FibResult.UNREACHABLE
    if (kind !== RouteKind.FORWARD) return FibResult.NOT_OURS
    const hop = chooseHop(route, hash)
    const port = route[hop + Hop.PORT] as number
    if (port === NOT_A_PORT) return FibResult.NOT_OURS
    const gateway = route[hop + Hop.GATEWAY] as number
    this.port = port
    this.nextHop4 = gateway === 0 ? destination4 : gateway
    this.sourceAddress4 = route[hop + Hop.SOURCE] as number
    this.mtuBytes = route[hop + Hop.MTU_BYTES] as number
    if (this.#resolve(port)) return FibResult.FOUND
    this.#ask(port)
    return FibResult.NO_NEIGHBOUR
  }

  /** A copy of the route to the address, as it was at one moment. */
  #findRoute(): Int32Array | null {
    const single = this.#single
    if (this.#routes.lookupInto(this.#address, 0, single) === NOT_FOUND) return null
    if ((single[Route.HOP_COUNT] as number) <= 1) return single
    const multiple = this.#multiple
    return this.#routes.lookupInto(this.#address, 0, multiple) === NOT_FOUND ? null : multiple
  }

  /** Sets the MAC of the next hop; false when it is not known. */
  #resolve(port: number): boolean {
    const key = this.#neighbour
    key[0] = this.nextHop4
    key[1] = port
    const neighbours = this.#neighbours
    const words = neighbours.words
    for (let tries = 0; tries < REREADS_MAX; tries++) {
      const slot = neighbours.lookup(key)
      if (slot === NOT_FOUND) break
      const generation = neighbours.foundGeneration
      const value = neighbours.valueStart(slot)
      this.macHigh = words[value + Neighbour.MAC_HIGH] as number
      this.macLow = words[value + Neighbour.MAC_LOW] as number
      // A store for each packet would take the line from the mirror's core for nothing.
      if (words[value + Neighbour.IS_USED] === 0) words[value + Neighbour.IS_USED] = 1
      if (neighbours.generation(slot) === generation) return true
    }
    return false
  }

  /** Leaves a request for the mirror. Who asks for another one in the same row wins. */
  #ask(port: number): void {
    const { words } = this.#requests
    const row = Math.imul(this.nextHop4 ^ port, 0x9e3779b1) >>> 24
    const start = this.#requests.valueStart(row & (REQUEST_ROWS - 1))
    if (
      words[start + Request.NEXT_HOP] === this.nextHop4 &&
      words[start + Request.PORT] === port + 1
    )
      return
    words[start + Request.NEXT_HOP] = this.nextHop4
    Atomics.store(words, start + Request.PORT, port + 1)
    Atomics.add(words, this.#requests.valueStart(REQUEST_ROWS), 1)
  }
}

/** Start of the next hop that the hash falls to. */
function chooseHop(route: Int32Array, hash: number): number {
  const last = Route.HOPS + ((route[Route.HOP_COUNT] as number) - 1) * HOP_WORDS
  const share = hash >>> 1
  let hop: number = Route.HOPS
  while (hop < last && share >= (route[hop + Hop.SHARE_END] as number)) hop += HOP_WORDS
  return hop
}
