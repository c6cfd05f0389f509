/**
 * What the kernel has told us so far: devices, addresses, routes by table, and the order in which
 * rules lead through the tables. A model of its state, changed message by message.
 */
import type { KernelAddress, KernelLink, KernelRoute, KernelRule } from './netlink/objects.js'

/** A prefix as one number: the address, then six bits of length. */
export type PrefixKey = number

export function prefixKey(address: number, prefixLength: number): PrefixKey {
  return (maskAddress(address, prefixLength) >>> 0) * 64 + prefixLength
}

export const addressOf = (prefix: PrefixKey): number => Math.floor(prefix / 64) | 0
export const lengthOf = (prefix: PrefixKey): number => prefix % 64

export function maskAddress(address: number, prefixLength: number): number {
  return prefixLength === 0 ? 0 : address & (-1 << (32 - prefixLength))
}

/** How a new route stands to those of the same prefix, type of service and metric. */
export const Placement = { FIRST: 0, LAST: 1, INSTEAD: 2 } as const
export type Placement = (typeof Placement)[keyof typeof Placement]

/** Routes of one table; those of a prefix in the order in which the kernel tries them. */
type RouteTable = Map<PrefixKey, KernelRoute[]>

export class KernelTables {
  readonly #links = new Map<number, KernelLink>()
  readonly #addresses = new Map<number, KernelAddress[]>()
  readonly #routes = new Map<number, RouteTable>()
  #order: readonly number[] = []
  #stop: KernelRule | null = null

  /** Tables in the order in which they are asked. */
  get order(): readonly number[] {
    return this.#order
  }

  /** The rule that cannot be followed; no table behind it is in the order. Null when there is none. */
  get stop(): KernelRule | null {
    return this.#stop
  }

  link(index: number): KernelLink | undefined {
    return this.#links.get(index)
  }

  links(): Iterable<KernelLink> {
    return this.#links.values()
  }

  /** False when nothing that matters changed. */
  setLink(link: KernelLink): boolean {
    const before = this.#links.get(link.index)
    this.#links.set(link.index, link)
    return (
      before === undefined ||
      before.name !== link.name ||
      before.mtuBytes !== link.mtuBytes ||
      before.isUp !== link.isUp
    )
  }

  deleteLink(index: number): void {
    this.#links.delete(index)
    this.#addresses.delete(index)
  }

  replaceLinks(links: readonly KernelLink[]): void {
    this.#links.clear()
    for (const link of links) this.#links.set(link.index, link)
  }

  /** Addresses of a device, in the kernel's order. */
  addressesOf(linkIndex: number): readonly KernelAddress[] {
    return this.#addresses.get(linkIndex) ?? []
  }

  addresses(): readonly KernelAddress[] {
    return [...this.#addresses.values()].flat()
  }

  setAddress(address: KernelAddress): void {
    const addresses = this.#addresses.get(address.linkIndex) ?? []
    this.#addresses.set(address.linkIndex, addresses)
    const index = addresses.findIndex((other) => isSameAddress(other, address))
    if (index === -1) addresses.push(address)
    else addresses[index] = address
  }

  deleteAddress(address: KernelAddress): void {
    const addresses = this.addressesOf(address.linkIndex)
    const others = addresses.filter((other) => !isSameAddress(other, address))
    this.#addresses.set(address.linkIndex, others)
  }

  replaceAddresses(addresses: readonly KernelAddress[]): void {
    this.#addresses.clear()
    for (const address of addresses) this.setAddress(address)
  }

  routesTo(table: number, prefix: PrefixKey): readonly KernelRoute[] {
    return this.#routes.get(table)?.get(prefix) ?? []
  }

  isEmpty(table: number): boolean {
    return (this.#routes.get(table)?.size ?? 0) === 0
  }

  /** The prefixes of all tables in the order. */
  prefixes(): Set<PrefixKey> {
    const all = new Set<PrefixKey>()
    for (const table of this.#order) {
      for (const prefix of this.#routes.get(table)?.keys() ?? []) all.add(prefix)
    }
    return all
  }

  addRoute(route: KernelRoute, placement: Placement): void {
    const table = this.#routes.get(route.table) ?? new Map<PrefixKey, KernelRoute[]>()
    this.#routes.set(route.table, table)
    const key = prefixKey(route.destination, route.prefixLength)
    const routes = table.get(key) ?? []
    table.set(key, routes)
    const same = routes.findIndex((other) => isSame(other, route))
    // The kernel tells of some routes twice, for instance when their flags change.
    if (same !== -1 && placement !== Placement.INSTEAD) {
      routes[same] = route
      return
    }
    const first = routes.findIndex((other) => rank(other, route) === 0)
    if (placement === Placement.INSTEAD && first !== -1) routes[first] = route
    else routes.splice(placeFor(routes, route, placement), 0, route)
  }

  deleteRoute(route: KernelRoute): void {
    const table = this.#routes.get(route.table)
    const key = prefixKey(route.destination, route.prefixLength)
    const routes = table?.get(key)
    if (table === undefined || routes === undefined) return
    const exact = routes.findIndex((other) => isSame(other, route))
    const index = exact === -1 ? routes.findIndex((other) => rank(other, route) === 0) : exact
    if (index !== -1) routes.splice(index, 1)
    if (routes.length === 0) table.delete(key)
  }

  replaceRoutes(routes: readonly KernelRoute[]): void {
    this.#routes.clear()
    for (const route of routes) this.addRoute(route, Placement.LAST)
  }

  /**
   * Sets the order of the tables: each rule's in turn, up to the first rule that chooses packets by
   * something else than their destination.
   */
  replaceRules(rules: readonly KernelRule[]): void {
    const inOrder = rules.toSorted((a, b) => a.priority - b.priority)
    const mine = inOrder.filter((rule) => rule.isPlain || !rule.isForeign)
    const stop = mine.findIndex((rule) => !rule.isPlain)
    const followed = stop === -1 ? mine : mine.slice(0, stop)
    this.#stop = mine[stop] ?? null
    this.#order = [...new Set(followed.map((rule) => rule.table))]
  }
}

const isSameAddress = (a: KernelAddress, b: KernelAddress): boolean =>
  a.address === b.address && a.prefixLength === b.prefixLength

/** As the kernel sorts routes of a prefix: special types of service first, then by metric. */
function rank(a: KernelRoute, b: KernelRoute): number {
  return b.typeOfService - a.typeOfService || a.metric - b.metric
}

function placeFor(
  routes: readonly KernelRoute[],
  route: KernelRoute,
  placement: Placement,
): number {
  const index = routes.findIndex((other) =>
    placement === Placement.LAST ? rank(other, route) > 0 : rank(other, route) >= 0,
  )
  return index === -1 ? routes.length : index
}

function isSame(a: KernelRoute, b: KernelRoute): boolean {
  return (
    rank(a, b) === 0 &&
    a.type === b.type &&
    a.preferredSource === b.preferredSource &&
    a.hops.length === b.hops.length &&
    a.hops.every((hop, index) => {
      const other = b.hops[index]
      return hop.linkIndex === other?.linkIndex && hop.gateway === other.gateway
    })
  )
}
