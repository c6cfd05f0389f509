/**
 * From the kernel's tables to the routes of the datapath: what fib_lookup and fib_select_path
 * (net/ipv4/fib_frontend.c, fib_semantics.c) would answer for a prefix, for a packet without mark
 * and type of service.
 *
 * What we cannot follow exactly is left to the node's stack, which can.
 */
import {
  addressOf,
  type KernelTables,
  lengthOf,
  maskAddress,
  type PrefixKey,
  prefixKey,
} from './kernel-tables.js'
import { HOP_DEAD, RouteType, SCOPE_LINK } from './netlink/numbers.js'
import type { KernelHop, KernelRoute } from './netlink/objects.js'
import { HOPS_MAX, NOT_A_PORT, RouteKind } from './route-layout.js'
import { type NextHop, type RouteSpec, STACK_ROUTE } from './route-writer.js'

const UNREACHABLE_ROUTE: RouteSpec = { kind: RouteKind.UNREACHABLE, hops: [] }

/** The UPLINK port of a device, by its kernel index, or NOT_A_PORT. */
export type PortOfLink = (linkIndex: number) => number

export class RouteResolver {
  readonly #tables: KernelTables
  readonly #portOfLink: PortOfLink

  constructor(tables: KernelTables, portOfLink: PortOfLink) {
    this.#tables = tables
    this.#portOfLink = portOfLink
  }

  /**
   * The route of a prefix; null when it has none that counts: no table has it, all of its devices
   * are down, or a table that is asked earlier answers for all of its addresses.
   */
  resolve(prefix: PrefixKey): RouteSpec | null {
    const length = lengthOf(prefix)
    for (const table of this.#tables.order) {
      if (this.#tables.isEmpty(table)) continue
      const own = this.#best(table, prefix)
      if (own !== null) return own
      const address = addressOf(prefix)
      for (let shorter = length - 1; shorter >= 0; shorter--) {
        const key = prefixKey(maskAddress(address, shorter), shorter)
        if (this.#best(table, key) !== null) return null
      }
    }
    return null
  }

  /** The first of a table's routes of a prefix that can be used. */
  #best(table: number, prefix: PrefixKey): RouteSpec | null {
    for (const route of this.#tables.routesTo(table, prefix)) {
      const spec = this.#specOf(route)
      if (spec !== null) return spec
    }
    return null
  }

  #specOf(route: KernelRoute): RouteSpec | null {
    // Some packets of this prefix have a way of their own, and we do not tell them apart.
    if (route.typeOfService !== 0) return STACK_ROUTE
    if (isRefusal(route.type)) return UNREACHABLE_ROUTE
    if (route.type !== RouteType.UNICAST || route.hops.length === 0) return STACK_ROUTE
    const alive = route.hops.filter((hop) => this.#isAlive(hop)).slice(0, HOPS_MAX)
    if (alive.length === 0) return null
    const hops = alive.map((hop) => this.#nextHop(route, hop))
    if (hops.every((hop) => hop.port === NOT_A_PORT)) return STACK_ROUTE
    return { kind: RouteKind.FORWARD, hops }
  }

  #isAlive(hop: KernelHop): boolean {
    return (hop.flags & HOP_DEAD) === 0 && (this.#tables.link(hop.linkIndex)?.isUp ?? false)
  }

  #nextHop(route: KernelRoute, hop: KernelHop): NextHop {
    const deviceMtu = this.#tables.link(hop.linkIndex)?.mtuBytes ?? 0
    return {
      port: hop.isForeign ? NOT_A_PORT : this.#portOfLink(hop.linkIndex),
      gateway: hop.gateway,
      source: route.preferredSource || this.#sourceFor(hop),
      mtuBytes: route.mtuBytes === 0 ? deviceMtu : Math.min(route.mtuBytes, deviceMtu),
      weight: hop.weight,
    }
  }

  /**
   * As inet_select_addr: the device's address in the gateway's network, else its first one, else
   * the first one of any device that may be used elsewhere.
   */
  #sourceFor(hop: KernelHop): number {
    const own = this.#tables
      .addressesOf(hop.linkIndex)
      .filter((address) => !address.isSecondary && address.scope <= SCOPE_LINK)
    const near = own.find(
      ({ address, prefixLength }) =>
        hop.gateway !== 0 &&
        maskAddress(address, prefixLength) === maskAddress(hop.gateway, prefixLength),
    )
    const elsewhere = this.#tables.addresses().find((address) => address.scope < SCOPE_LINK)
    return (near ?? own[0] ?? elsewhere)?.address ?? 0
  }
}

const isRefusal = (type: number): boolean =>
  type === RouteType.BLACKHOLE || type === RouteType.UNREACHABLE || type === RouteType.PROHIBIT
