/**
 * The kernel's devices, addresses and routes as the node's set-up reads and changes them, over a
 * netlink socket. The kernel carries a request out before `send` returns: its answer is there then.
 */
import { NetlinkSocket } from 'xdp-socket-napi'
import type { DeviceRoute } from '../../routing/netlink/changes.js'
import * as changes from '../../routing/netlink/changes.js'
import { KernelQueries } from '../../routing/netlink/kernel-queries.js'
import { attributesOf, messagesIn, u32 } from '../../routing/netlink/message.js'
import { MessageType, RouteAttribute } from '../../routing/netlink/numbers.js'
import {
  type KernelAddress,
  type KernelLink,
  readAddress,
  readLink,
} from '../../routing/netlink/objects.js'

/** RTPROT_ of our routes: `ip route show proto 114` lists them. None of those that others have. */
export const ROUTE_PROTOCOL = 114

export const Errno = { NONE: 0, NO_PROCESS: 3, EXISTS: 17, NO_DEVICE: 19 } as const
const ROUTE_BODY_BYTES = 12
/** An answer that is none. */
const EIO = 5

export class KernelNetwork {
  readonly #socket = new NetlinkSocket()
  readonly #queries = new KernelQueries(this.#socket)
  #sequence = 1_000_000

  close(): void {
    this.#socket.close()
  }

  links(): ReadonlyMap<string, KernelLink> {
    const links = this.#queries.dump(MessageType.GET_LINK, readLink) ?? []
    return new Map(links.map((link) => [link.name, link]))
  }

  addresses(): readonly KernelAddress[] {
    return this.#queries.dump(MessageType.GET_ADDRESS, readAddress) ?? []
  }

  /** These and the following answer an errno, 0 when it is done. */
  addVethPair(name: string, peer: string): number {
    return this.#change((n) => changes.newVethPair(name, peer, n))
  }

  deleteLink(index: number): number {
    return this.#change((n) => changes.deleteLink(index, n))
  }

  setUp(index: number): number {
    return this.#change((n) => changes.setLinkUp(index, n))
  }

  addAddress(index: number, address: number): number {
    return this.#change((n) => changes.newAddress(index, address, n))
  }

  deleteAddress(index: number, address: number): number {
    return this.#change((n) => changes.deleteAddress(index, address, n))
  }

  addRoute(route: DeviceRoute): number {
    return this.#change((n) => changes.newRoute(route, ROUTE_PROTOCOL, n))
  }

  deleteRoute(route: DeviceRoute): number {
    return this.#change((n) => changes.deleteRoute(route, ROUTE_PROTOCOL, n))
  }

  /** Index of the device by which the node reaches an address; 0 for none. */
  deviceTo(address: number): number {
    const sequence = this.#sequence++
    this.#socket.send(changes.routeTo(address, sequence))
    for (;;) {
      const datagram = this.#socket.receive()
      if (datagram === null) return 0
      for (const { type, body, sequence: of } of messagesIn(datagram)) {
        if (of !== sequence || type !== MessageType.NEW_ROUTE) continue
        return u32(attributesOf(body, ROUTE_BODY_BYTES)?.get(RouteAttribute.OUT_DEVICE), 0)
      }
    }
  }

  #change(build: (sequence: number) => Uint8Array): number {
    const sequence = this.#sequence++
    this.#socket.send(build(sequence))
    for (;;) {
      const datagram = this.#socket.receive()
      if (datagram === null) return EIO
      for (const { type, body, sequence: of } of messagesIn(datagram)) {
        if (of !== sequence || type !== MessageType.ERROR) continue
        return body.byteLength < 4 ? EIO : -body.getInt32(0, true)
      }
    }
  }
}
