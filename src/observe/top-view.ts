/** Who fills the connection table and the NAT's: by address and name, without a copy of the tables. */

import type { HashReader } from '../maps/hash-reader.js'
import {
  connectionSource,
  mappingSource,
  readTopSources,
  type SourceOf,
} from '../monitor/top-sources.js'
import { formatIpv4 } from '../wire/address.js'
import { protocolName } from './flow.js'
import type { NameBook } from './names.js'
import type { NodeView } from './node-view.js'

export interface TableUse {
  readonly entries: number
  readonly capacity: number
  /** Entries that had to go for new ones, since the table was made. */
  readonly evictions: number
  /** Those with the most entries first. */
  readonly sources: readonly SourceUse[]
}

export interface SourceUse {
  readonly address: string
  /** "default/client"; '' for one that is no endpoint here. */
  readonly name: string
  readonly entries: number
}

export interface TopView {
  readonly connections: TableUse
  readonly nat: TableUse & {
    /** Flows refused because no port was free (167). */
    readonly exhausted: number
    /** Destinations toward which the most ports are in use. */
    readonly destinations: readonly {
      readonly destination: string
      readonly protocol: string
      readonly ports: number
    }[]
  }
}

/** @param limit rows of each list */
export async function topView(view: NodeView, limit: number): Promise<TopView> {
  const { maps, names } = view
  const report = view.natReport(limit)
  const connections = await tableUse(maps.conntrackTable, connectionSource, names, limit)
  const nat = await tableUse(maps.nat.snat, mappingSource, names, limit)
  const destinations = report.destinations.map(({ address, port, protocol, ports }) => ({
    destination: port === 0 ? address : `${address}:${port}`,
    protocol: protocolName(protocol),
    ports,
  }))
  return { connections, nat: { ...nat, exhausted: report.exhausted, destinations } }
}

async function tableUse(
  table: HashReader & { readonly evictions: number },
  sourceOf: SourceOf,
  names: NameBook,
  limit: number,
): Promise<TableUse> {
  const { sources } = await readTopSources(table, sourceOf, { limit })
  return {
    entries: table.size,
    capacity: table.capacity,
    evictions: table.evictions >>> 0,
    sources: sources.map(({ address4, entries }) => {
      const address = formatIpv4(address4)
      return { address, name: names.ofAddress(address), entries }
    }),
  }
}
