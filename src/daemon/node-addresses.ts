/** The node's own IPv4 addresses: those of its host pair and of its uplinks. */

import { PORTS_MAX } from '../base/limits.js'
import { Endpoint, PortKind } from '../endpoint/endpoint-table.js'
import type { DatapathMaps } from '../pipeline/datapath-maps.js'
import { isIpv4Words } from '../wire/address.js'

export class NodeAddresses {
  readonly #found = new Set<number>()

  /** Takes over what the maps say: addresses that lead to the host port, and those of uplinks. */
  constructor(maps: DatapathMaps) {
    const { endpoints, ipcache, ipcachePrefixes, node } = maps
    for (let port = 0; port < PORTS_MAX; port++) {
      if (endpoints.kind(port) !== PortKind.UPLINK) continue
      const start = endpoints.rowStart(port) + Endpoint.ADDRESS
      this.add([endpoints.words.slice(start, start + 4)])
    }
    const prefix = new Int32Array(5)
    const value = new Int32Array(ipcachePrefixes.spec.valueWords)
    for (const slot of ipcachePrefixes.slots()) {
      if (!ipcachePrefixes.read(slot, prefix, value)) continue
      ipcache.find(prefix, 0)
      if (ipcache.endpoint === node.hostPort && ipcache.endpoint >= 0)
        this.add([prefix.slice(0, 4)])
    }
  }

  get all(): readonly number[] {
    return [...this.#found]
  }

  remove(addresses: readonly Int32Array[]): void {
    for (const address of addresses) {
      if (isIpv4Words(address)) this.#found.delete(address[3] as number)
    }
  }

  add(addresses: readonly Int32Array[]): void {
    for (const address of addresses) {
      if (isIpv4Words(address)) this.#found.add(address[3] as number)
    }
  }
}
