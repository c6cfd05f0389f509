/**
 * Keeps the `routes` map equal to what it is told, and writes only what differs. A node whose
 * routes do not fit has none in the map: then all packets go by the kernel, which is slower, where
 * half of the routes would send some of them astray.
 */
import { addressOf, lengthOf, type PrefixKey, prefixKey } from './kernel-tables.js'
import { HOP_WORDS, Hop, NOT_A_PORT, ROUTE_WORDS, Route } from './route-layout.js'
import { type RouteSpec, type RouteWriter, routeWords } from './route-writer.js'
import type { RoutingMaps } from './routing-maps.js'

export class RouteInstaller {
  readonly #writer: RouteWriter
  readonly #installed = new Map<PrefixKey, Int32Array>()
  #isOverflown = false

  /** Adopts the routes that an earlier mirror left in the map. */
  constructor(maps: RoutingMaps, writer: RouteWriter) {
    this.#writer = writer
    const prefix = new Int32Array(5)
    const value = new Int32Array(ROUTE_WORDS)
    for (const slot of maps.routes.slots()) {
      if (!maps.routes.read(slot, prefix, value)) continue
      this.#installed.set(prefixKey(prefix[3] as number, (prefix[4] as number) - 96), value.slice())
    }
  }

  /** The routes did not fit the map. */
  get isOverflown(): boolean {
    return this.#isOverflown
  }

  get size(): number {
    return this.#installed.size
  }

  prefixes(): Iterable<PrefixKey> {
    return this.#installed.keys()
  }

  /** Null takes the prefix out. */
  set(prefix: PrefixKey, route: RouteSpec | null): void {
    if (this.#isOverflown) return
    const before = this.#installed.get(prefix)
    if (route === null) {
      if (before !== undefined) this.#delete(prefix)
      return
    }
    const words = routeWords(route)
    if (before !== undefined && isEqual(before, words)) return
    if (this.#writer.setRoute(addressOf(prefix), lengthOf(prefix), route)) {
      this.#installed.set(prefix, words)
    } else {
      this.#isOverflown = true
      this.clear()
    }
  }

  /** Takes all routes out, short prefixes first: what is left then is still right. */
  clear(): void {
    const prefixes = [...this.#installed.keys()]
    for (const prefix of prefixes.toSorted((a, b) => lengthOf(a) - lengthOf(b))) {
      this.#delete(prefix)
    }
  }

  /** Lets routes in again after an overflow. */
  retry(): void {
    this.#isOverflown = false
  }

  /** Each gateway and port that a route leads over, once. */
  gateways(): readonly (readonly [port: number, gateway: number])[] {
    const found = new Map<string, readonly [number, number]>()
    for (const words of this.#installed.values()) {
      const end = Route.HOPS + (words[Route.HOP_COUNT] as number) * HOP_WORDS
      for (let hop: number = Route.HOPS; hop < end; hop += HOP_WORDS) {
        const port = words[hop + Hop.PORT] as number
        const gateway = words[hop + Hop.GATEWAY] as number
        if (port !== NOT_A_PORT && gateway !== 0) found.set(`${port} ${gateway}`, [port, gateway])
      }
    }
    return [...found.values()]
  }

  #delete(prefix: PrefixKey): void {
    this.#writer.deleteRoute(addressOf(prefix), lengthOf(prefix))
    this.#installed.delete(prefix)
  }
}

function isEqual(a: Int32Array, b: Int32Array): boolean {
  return a.every((word, index) => word === b[index])
}
