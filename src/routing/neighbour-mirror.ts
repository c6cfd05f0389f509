/**
 * Keeps the `neighbours` map equal to the kernel's ARP table, as far as devices of ours go, and the
 * kernel busy with the neighbours that the datapath needs: the kernel does not see our packets, and
 * would let a neighbour go stale and then forget it in the middle of our traffic.
 *
 * An entry is in the map while the kernel would use it too (NUD_VALID): also a stale one, whose
 * confirmation we ask for meanwhile.
 */
import type { HashMap } from '../maps/hash-map.js'
import { NOT_FOUND } from '../maps/map.js'
import { NeighbourState } from './netlink/numbers.js'
import type { KernelNeighbour } from './netlink/objects.js'
import {
  NEIGHBOUR_KEY_WORDS,
  Neighbour,
  NOT_A_PORT,
  REQUEST_ROWS,
  Request,
} from './route-layout.js'
import type { PortOfLink } from './route-resolver.js'
import type { RouteWriter } from './route-writer.js'
import type { RoutingMaps } from './routing-maps.js'

const VALID =
  NeighbourState.REACHABLE |
  NeighbourState.STALE |
  NeighbourState.DELAY |
  NeighbourState.PROBE |
  NeighbourState.NO_ARP |
  NeighbourState.PERMANENT

/** States in which the kernel does nothing by itself to find or confirm a neighbour. */
const AT_REST = NeighbourState.STALE | NeighbourState.FAILED

/** Asks the kernel to resolve or confirm a neighbour. */
export type UseNeighbour = (linkIndex: number, address: number) => void

export interface NeighbourLinks {
  readonly portOfLink: PortOfLink
  /** The kernel's index of a port's device, or 0. */
  linkOfPort(port: number): number
}

const keyOf = (linkIndex: number, address: number): number => linkIndex * 2 ** 32 + (address >>> 0)

export class NeighbourMirror {
  readonly #maps: RoutingMaps
  readonly #writer: RouteWriter
  readonly #links: NeighbourLinks
  readonly #use: UseNeighbour
  readonly #known = new Map<number, KernelNeighbour>()
  readonly #key = new Int32Array(NEIGHBOUR_KEY_WORDS)
  #requestsSeen: number

  constructor(maps: RoutingMaps, writer: RouteWriter, links: NeighbourLinks, use: UseNeighbour) {
    this.#maps = maps
    this.#writer = writer
    this.#links = links
    this.#use = use
    // Requests to an earlier mirror are looked at, too.
    this.#requestsSeen = this.#requestCount - 1
  }

  get #requestCount(): number {
    return this.#maps.requests.words[this.#maps.requests.valueStart(REQUEST_ROWS)] as number
  }

  set(neighbour: KernelNeighbour): void {
    this.#known.set(keyOf(neighbour.linkIndex, neighbour.address), neighbour)
    this.#write(neighbour)
  }

  delete(neighbour: KernelNeighbour): void {
    this.#known.delete(keyOf(neighbour.linkIndex, neighbour.address))
    const port = this.#links.portOfLink(neighbour.linkIndex)
    if (port !== NOT_A_PORT) this.#writer.deleteNeighbour(port, neighbour.address)
  }

  /** Takes a whole dump over, and entries that it does not have out of the map. */
  replace(neighbours: readonly KernelNeighbour[]): void {
    this.#known.clear()
    for (const neighbour of neighbours) {
      this.#known.set(keyOf(neighbour.linkIndex, neighbour.address), neighbour)
    }
    this.rewrite()
  }

  /** After ports got other devices. */
  rewrite(): void {
    const map = this.#maps.neighbours
    const value = new Int32Array(map.spec.valueWords)
    for (const slot of map.slots()) {
      if (!map.read(slot, this.#key, value)) continue
      const [address = 0, port = NOT_A_PORT] = this.#key
      const known = this.#known.get(keyOf(this.#links.linkOfPort(port), address))
      if (known === undefined || !isUsable(known)) this.#writer.deleteNeighbour(port, address)
    }
    for (const neighbour of this.#known.values()) this.#write(neighbour)
  }

  /** Passes on what the datapath asked for since the last call. */
  answerRequests(): void {
    const count = this.#requestCount
    if (count === this.#requestsSeen) return
    this.#requestsSeen = count
    const { requests } = this.#maps
    for (let row = 0; row < REQUEST_ROWS; row++) {
      const start = requests.valueStart(row)
      const port = Atomics.exchange(requests.words, start + Request.PORT, 0) - 1
      if (port < 0) continue
      const address = requests.words[start + Request.NEXT_HOP] as number
      const linkIndex = this.#links.linkOfPort(port)
      const known = this.#known.get(keyOf(linkIndex, address))
      const isAtRest = known === undefined || (known.state & AT_REST) !== 0
      if (linkIndex !== 0 && isAtRest) this.#use(linkIndex, address)
    }
  }

  /** Confirms stale neighbours that the datapath sends to, and finds gateways: once a second. */
  refresh(gateways: readonly (readonly [port: number, gateway: number])[]): void {
    for (const neighbour of this.#known.values()) {
      if (neighbour.state === NeighbourState.STALE && this.#wasUsed(neighbour)) {
        this.#use(neighbour.linkIndex, neighbour.address)
      }
    }
    for (const [port, gateway] of gateways) {
      const linkIndex = this.#links.linkOfPort(port)
      const known = this.#known.get(keyOf(linkIndex, gateway))
      const isAtRest = known === undefined || (known.state & AT_REST) !== 0
      if (linkIndex !== 0 && isAtRest) this.#use(linkIndex, gateway)
    }
  }

  #write(neighbour: KernelNeighbour): void {
    const port = this.#links.portOfLink(neighbour.linkIndex)
    if (port === NOT_A_PORT) return
    const { address, mac } = neighbour
    if (mac === null || !isUsable(neighbour)) {
      this.#writer.deleteNeighbour(port, address)
      return
    }
    const { words } = this.#maps.neighbours
    const start = this.#valueStart(port, address)
    // A change of state alone is no news for the datapath.
    const isThere =
      start !== NOT_FOUND &&
      words[start + Neighbour.MAC_HIGH] === mac.high &&
      words[start + Neighbour.MAC_LOW] === mac.low
    if (!isThere) this.#writer.setNeighbour(port, address, mac)
  }

  /** Whether the datapath sent to it since it was asked last; forgets that. */
  #wasUsed(neighbour: KernelNeighbour): boolean {
    const port = this.#links.portOfLink(neighbour.linkIndex)
    const start = port === NOT_A_PORT ? NOT_FOUND : this.#valueStart(port, neighbour.address)
    if (start === NOT_FOUND) return false
    return Atomics.exchange(this.#maps.neighbours.words, start + Neighbour.IS_USED, 0) !== 0
  }

  #valueStart(port: number, address: number): number {
    const map: HashMap = this.#maps.neighbours
    this.#key[0] = address
    this.#key[1] = port
    const slot = map.lookup(this.#key)
    return slot === NOT_FOUND ? NOT_FOUND : map.valueStart(slot)
  }
}

function isUsable({ state, mac }: KernelNeighbour): boolean {
  return (state & VALID) !== 0 && mac !== null && (mac.high !== 0 || mac.low !== 0)
}
