/**
 * A netlink socket (netlink(7)) of the network namespace in which it is opened: datagrams to the
 * kernel and from it. What they mean is the caller's matter.
 */
import { binding, type NetlinkHandle } from './binding.js'
import { checkInteger, explained } from './errors.js'

/** NETLINK_ROUTE: devices, addresses, routes, neighbours (rtnetlink(7)). */
const ROUTE = 0
const PROTOCOL_MAX = 31
const GROUP_MAX = 1024
/** The kernel makes no longer datagrams for a dump; those about one thing are far shorter. */
const DATAGRAM_BYTES_MAX = 65_536
const RECEIVE_BUFFER_BYTES_MAX = 2 ** 28

export interface NetlinkSocketOptions {
  /** NETLINK_ROUTE, 0, unless given. */
  readonly protocol?: number
  /** Multicast groups to join, by number, such as RTNLGRP_LINK 1. */
  readonly groups?: readonly number[]
  /** What the kernel may hold back for us (SO_RCVBUF); its own default unless given. */
  readonly receiveBufferBytes?: number
}

export class NetlinkSocket {
  readonly #handle: NetlinkHandle
  readonly #buffer = new Uint8Array(DATAGRAM_BYTES_MAX)

  constructor(options: NetlinkSocketOptions = {}) {
    const { protocol = ROUTE, groups = [], receiveBufferBytes = 0 } = options
    checkInteger('protocol', protocol, 0, PROTOCOL_MAX)
    for (const group of groups) checkInteger('group', group, 1, GROUP_MAX)
    checkInteger('receiveBufferBytes', receiveBufferBytes, 0, RECEIVE_BUFFER_BYTES_MAX)
    this.#handle = explained('netlink', {}, () =>
      binding().openNetlink(protocol, Uint32Array.from(groups), receiveBufferBytes),
    )
  }

  /** Sends one datagram: one or several messages with their headers. */
  send(message: Uint8Array): void {
    explained('netlink', {}, () => binding().sendNetlink(this.#handle, message))
  }

  /**
   * The next datagram, or null when there is none; never waits. The bytes are good until the next
   * call. Throws EXDP_OVERRUN when the kernel had to leave out messages; the next call goes on
   * behind them.
   */
  receive(): Uint8Array | null {
    const bytes = explained('netlink', {}, () =>
      binding().receiveNetlink(this.#handle, this.#buffer),
    )
    return bytes === 0 ? null : this.#buffer.subarray(0, bytes)
  }

  /**
   * Calls `listener` from the event loop as long as there is something to receive; a second call
   * replaces the listener. It keeps the process running until `close`.
   */
  onReadable(listener: () => void): void {
    explained('netlink', {}, () => binding().watchNetlink(this.#handle, listener))
  }

  /** After it, every call but `close` throws EXDP_CLOSED. */
  close(): void {
    binding().closeNetlink(this.#handle)
  }
}
