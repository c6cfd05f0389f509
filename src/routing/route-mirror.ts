/**
 * Keeps the maps `routes` and `neighbours` equal to the kernel's tables of this network namespace:
 * a dump at first, then its news (rtnetlink(7)), then a dump again whenever news were lost.
 *
 * The kernel stays the owner of routing: whoever changes it (ip, a DHCP client, a routing daemon)
 * needs not know of us. Not followed: rules that look at more than the destination, routes by type
 * of service, gateways of another family; what they are about is left to the node's stack.
 */
import { XdpError, XdpErrorCode } from 'xdp-socket-napi'
import { KernelTables, Placement, type PrefixKey, prefixKey } from './kernel-tables.js'
import { NeighbourMirror } from './neighbour-mirror.js'
import { KernelQueries, type NetlinkEnd } from './netlink/kernel-queries.js'
import { type Message, messagesIn } from './netlink/message.js'
import { MessageFlag, MessageType } from './netlink/numbers.js'
import {
  type KernelRoute,
  readAddress,
  readLink,
  readNeighbour,
  readRoute,
  readRule,
} from './netlink/objects.js'
import { RouteInstaller } from './route-installer.js'
import { NOT_A_PORT } from './route-layout.js'
import { RouteResolver } from './route-resolver.js'
import { RouteWriter } from './route-writer.js'
import type { RoutingMaps } from './routing-maps.js'

/** Which devices are UPLINK ports, and attached. */
export interface UplinkDirectory {
  /** Looks again; true when the answer may differ from the last. */
  refresh(): boolean
  /** By device name. */
  ports(): ReadonlyMap<string, number>
}

export interface RouteMirrorOptions {
  readonly maps: RoutingMaps
  readonly uplinks: UplinkDirectory
  /** Hears the news of the groups of `Group`. */
  readonly news: NetlinkEnd
  /** For questions. */
  readonly queries: NetlinkEnd
  readonly log?: (line: string) => void
}

/** Datagrams of one call; the rest is read at the next. */
const DATAGRAMS_MAX = 4096
/** After an overflow of the map, seconds until the routes are tried again. */
const RETRY_SECONDS = 60

export class RouteMirror {
  readonly #tables = new KernelTables()
  readonly #uplinks: UplinkDirectory
  readonly #news: NetlinkEnd
  readonly #queries: KernelQueries
  readonly #resolver: RouteResolver
  readonly #installer: RouteInstaller
  readonly #neighbours: NeighbourMirror
  readonly #log: (line: string) => void
  readonly #portByLink = new Map<number, number>()
  readonly #dirty = new Set<PrefixKey>()
  #isAllDirty = true
  #mustAskRoutes = false
  #mustAskRules = false
  #isInStep = false
  #nextRefreshSeconds = 0
  #nextRetrySeconds = 0
  #stopSeen: number | undefined
  /** How often everything was dumped. */
  dumps = 0

  constructor(options: RouteMirrorOptions) {
    const writer = new RouteWriter(options.maps)
    const portOfLink = (index: number): number => this.#portByLink.get(index) ?? NOT_A_PORT
    this.#uplinks = options.uplinks
    this.#news = options.news
    this.#queries = new KernelQueries(options.queries)
    this.#log = options.log ?? (() => {})
    this.#resolver = new RouteResolver(this.#tables, portOfLink)
    this.#installer = new RouteInstaller(options.maps, writer)
    const links = { portOfLink, linkOfPort: (port: number) => this.#linkOfPort(port) }
    const use = (linkIndex: number, address: number): void => {
      this.#queries.useNeighbour(linkIndex, address)
    }
    this.#neighbours = new NeighbourMirror(options.maps, writer, links, use)
  }

  /**
   * Asks the kernel for everything and makes the maps so. When the kernel does not answer, the map
   * of routes is emptied, which leaves all packets to the node's stack, and `step` tries again.
   */
  resynchronise(): void {
    this.dumps++
    const links = this.#queries.dump(MessageType.GET_LINK, readLink)
    const addresses = this.#queries.dump(MessageType.GET_ADDRESS, readAddress)
    const rules = this.#queries.dump(MessageType.GET_RULE, readRule)
    const routes = this.#queries.dump(MessageType.GET_ROUTE, readRoute)
    const neighbours = this.#queries.dump(MessageType.GET_NEIGHBOUR, readNeighbour)
    const isWhole = links && addresses && rules && routes && neighbours
    this.#isInStep = isWhole !== null
    if (!isWhole) {
      this.#log('routes: the kernel does not tell its tables; all packets go by its stack')
      this.#installer.clear()
      return
    }
    this.#tables.replaceLinks(links)
    this.#tables.replaceAddresses(addresses)
    this.#tables.replaceRules(rules)
    this.#tables.replaceRoutes(routes)
    this.#renewPorts()
    this.#neighbours.replace(neighbours)
    this.#mustAskRoutes = false
    this.#mustAskRules = false
    this.#installer.retry()
    this.#isAllDirty = true
    this.#commit()
  }

  /** Takes the news in; call it when there are some. */
  receive(): void {
    let isLost = false
    for (let count = 0; count < DATAGRAMS_MAX; count++) {
      try {
        const datagram = this.#news.receive()
        if (datagram === null) break
        for (const message of messagesIn(datagram)) this.#take(message)
      } catch (error) {
        if (!(error instanceof XdpError) || error.code !== XdpErrorCode.OVERRUN) throw error
        isLost = true
      }
    }
    if (isLost) {
      this.#log('routes: news of the kernel were lost; asking for everything anew')
      this.resynchronise()
    } else if (this.#isInStep) {
      this.#commit()
    }
  }

  /** What is to be done by time; call it several times a second. */
  step(nowSeconds: number): void {
    if (this.#uplinks.refresh()) {
      this.#renewPorts()
      this.#neighbours.rewrite()
      this.#isAllDirty = true
      this.#commit()
    }
    this.#neighbours.answerRequests()
    if (nowSeconds < this.#nextRefreshSeconds) return
    this.#nextRefreshSeconds = nowSeconds + 1
    if (!this.#isInStep) this.resynchronise()
    this.#neighbours.refresh(this.#installer.gateways())
    if (this.#installer.isOverflown && nowSeconds >= this.#nextRetrySeconds) {
      this.#nextRetrySeconds = nowSeconds + RETRY_SECONDS
      this.#installer.retry()
      this.#isAllDirty = true
      this.#commit()
    }
  }

  /** What it knows may be wrong: the next step asks the kernel for everything. */
  distrust(): void {
    this.#isInStep = false
  }

  close(): void {
    this.#news.close()
    this.#queries.close()
  }

  #take(message: Message): void {
    const { type, body } = message
    switch (type) {
      case MessageType.NEW_LINK:
      case MessageType.DELETE_LINK:
        this.#takeLink(type, body)
        break
      case MessageType.NEW_ADDRESS:
      case MessageType.DELETE_ADDRESS:
        this.#takeAddress(type, body)
        break
      case MessageType.NEW_ROUTE:
      case MessageType.DELETE_ROUTE: {
        const route = readRoute(body)
        if (route !== null) this.#takeRoute(message, route)
        break
      }
      case MessageType.NEW_NEIGHBOUR:
      case MessageType.DELETE_NEIGHBOUR: {
        const neighbour = readNeighbour(body)
        if (neighbour === null) break
        if (type === MessageType.NEW_NEIGHBOUR) this.#neighbours.set(neighbour)
        else this.#neighbours.delete(neighbour)
        break
      }
      case MessageType.NEW_RULE:
      case MessageType.DELETE_RULE:
        this.#mustAskRules = true
        break
    }
  }

  #takeLink(type: number, body: DataView): void {
    const link = readLink(body)
    if (link === null) return
    if (type === MessageType.DELETE_LINK) this.#tables.deleteLink(link.index)
    else if (!this.#tables.setLink(link)) return
    this.#renewPorts()
    this.#isAllDirty = true
    // The kernel says nothing of the routes that go with a device that is down, or gone.
    if (type === MessageType.DELETE_LINK || !link.isUp) this.#mustAskRoutes = true
  }

  #takeAddress(type: number, body: DataView): void {
    const address = readAddress(body)
    if (address === null) return
    this.#isAllDirty = true
    if (type === MessageType.NEW_ADDRESS) {
      this.#tables.setAddress(address)
      return
    }
    this.#tables.deleteAddress(address)
    // Nor of those that have the address as their source.
    this.#mustAskRoutes = true
  }

  #takeRoute(message: Message, route: KernelRoute): void {
    if (message.type === MessageType.NEW_ROUTE) {
      const { REPLACE, APPEND } = MessageFlag
      const isLast = (message.flags & APPEND) !== 0
      const isInstead = (message.flags & REPLACE) !== 0
      const other = isLast ? Placement.LAST : Placement.FIRST
      this.#tables.addRoute(route, isInstead ? Placement.INSTEAD : other)
    } else {
      this.#tables.deleteRoute(route)
    }
    const { order } = this.#tables
    const place = order.indexOf(route.table)
    // It may hide prefixes of the tables behind its own, or show them again.
    const isLastTable = order.slice(place + 1).every((table) => this.#tables.isEmpty(table))
    if (isLastTable) this.#dirty.add(prefixKey(route.destination, route.prefixLength))
    else this.#isAllDirty = true
  }

  /** Writes what the changes since the last call amount to. */
  #commit(): void {
    if (this.#mustAskRules || this.#mustAskRoutes) this.#askAgain()
    if (this.#isAllDirty) {
      for (const prefix of this.#tables.prefixes()) this.#dirty.add(prefix)
      for (const prefix of this.#installer.prefixes()) this.#dirty.add(prefix)
    }
    const wasOverflown = this.#installer.isOverflown
    for (const prefix of this.#dirty) {
      this.#installer.set(prefix, this.#resolver.resolve(prefix))
    }
    this.#dirty.clear()
    this.#isAllDirty = false
    if (this.#installer.isOverflown && !wasOverflown) {
      this.#log('routes: more than the map holds; all packets go by the stack of the kernel')
    }
    this.#logStop()
  }

  #askAgain(): void {
    const rules = this.#queries.dump(MessageType.GET_RULE, readRule)
    const routes = this.#queries.dump(MessageType.GET_ROUTE, readRoute)
    this.#isAllDirty = true
    this.#mustAskRules = false
    this.#mustAskRoutes = false
    if (rules !== null) this.#tables.replaceRules(rules)
    if (routes !== null) this.#tables.replaceRoutes(routes)
    // The next step asks for everything.
    if (rules === null || routes === null) this.#isInStep = false
  }

  #renewPorts(): void {
    const ports = this.#uplinks.ports()
    this.#portByLink.clear()
    for (const link of this.#tables.links()) {
      const port = ports.get(link.name)
      if (port !== undefined) this.#portByLink.set(link.index, port)
    }
  }

  #linkOfPort(port: number): number {
    for (const [index, itsPort] of this.#portByLink) if (itsPort === port) return index
    return 0
  }

  #logStop(): void {
    const priority = this.#tables.stop?.priority
    if (priority === this.#stopSeen) return
    this.#stopSeen = priority
    if (priority === undefined) return
    this.#log(
      `routes: rule ${priority} chooses by more than the destination; from it on the kernel routes`,
    )
  }
}
