/** Endpoints, ports, identities and addresses of a node as rows that people and programs read. */
import { PORTS_MAX } from '../base/limits.js'
import { Endpoint, PortKind } from '../endpoint/endpoint-table.js'
import { IpcacheFlag } from '../identity/ipcache.js'
import type { DatapathMaps } from '../pipeline/datapath-maps.js'
import { readPortStatistics } from '../port/port-statistics.js'
import { PortStatus } from '../port/port-table.js'
import { formatAddress, formatCidr, formatIpv4, formatMac } from '../wire/address.js'
import type { NameBook } from './names.js'

const KINDS = new Map<number, string>([
  [PortKind.POD, 'pod'],
  [PortKind.HOST, 'host'],
  [PortKind.UPLINK, 'uplink'],
])
const STATUSES = new Map<number, string>([
  [PortStatus.ATTACHED, 'attached'],
  [PortStatus.DETACHED, 'detached'],
  [PortStatus.FAILED, 'failed'],
])

export interface EndpointRowView {
  readonly id: number
  readonly name: string
  readonly kind: string
  readonly address: string
  readonly identity: number
  readonly labels: string
  readonly port: number
  readonly device: string
  readonly mac: string
  readonly nodeMac: string
  /** Revision of its policy. */
  readonly policy: number
  readonly status: string
  /** Why it is not attached, an errno; 0 when it is. */
  readonly errno: number
  readonly xdp: string
  readonly receivedFrames: number
  readonly sentFrames: number
  readonly dropped: number
}

/** @param datapathPid whose reports on ports count; 0 when none runs */
export function endpointRows(
  maps: DatapathMaps,
  names: NameBook,
  datapathPid: number,
): EndpointRowView[] {
  const rows: EndpointRowView[] = []
  for (let port = 0; port < PORTS_MAX; port++) {
    const kind = maps.endpoints.kind(port)
    if (kind === PortKind.NONE) continue
    const row = maps.endpoints.rowStart(port)
    const words = maps.endpoints.words
    const word = (index: number): number => words[row + index] ?? 0
    const report = maps.ports.report(port, datapathPid)
    const statistics = readPortStatistics((cell) => maps.portStatistics.sum(cell), port)
    const isAttached = report.status === PortStatus.ATTACHED
    const copy = report.isZeroCopy ? 'zero copy' : 'copy'
    rows.push({
      id: word(Endpoint.ID),
      name: kind === PortKind.POD ? names.endpoint(word(Endpoint.ID)) : (KINDS.get(kind) ?? ''),
      kind: KINDS.get(kind) ?? `${kind}`,
      address: formatAddress(words, row + Endpoint.ADDRESS),
      identity: word(Endpoint.IDENTITY),
      labels: names.identity(word(Endpoint.IDENTITY)),
      port,
      device: maps.ports.device(port),
      mac: formatMac(word(Endpoint.MAC), word(Endpoint.MAC + 1)),
      nodeMac: formatMac(word(Endpoint.NODE_MAC), word(Endpoint.NODE_MAC + 1)),
      policy: word(Endpoint.POLICY) >>> 0,
      status: STATUSES.get(report.status) ?? 'unknown',
      errno: report.errno,
      xdp: isAttached ? `${report.isNative ? 'native' : 'generic'}, ${copy}` : '',
      receivedFrames: statistics.receivedFrames,
      sentFrames: statistics.sentFrames,
      dropped: statistics.sendDropped + statistics.receiveDropped,
    })
  }
  return rows
}

export interface IpcacheRowView {
  readonly prefix: string
  readonly identity: number
  readonly labels: string
  /** Name of the endpoint here that has it, or ''. */
  readonly endpoint: string
  readonly tunnelEndpoint: string
  readonly flags: string
}

const IDENTITY = 0
const ENDPOINT = 1
const TUNNEL_ENDPOINT = 2
const FLAGS = 3

export function ipcacheRows(maps: DatapathMaps, names: NameBook): IpcacheRowView[] {
  const map = maps.ipcachePrefixes
  const prefix = new Int32Array(map.spec.keyWords + 1)
  const value = new Int32Array(map.spec.valueWords)
  const rows: IpcacheRowView[] = []
  for (const slot of map.slots()) {
    if (!map.read(slot, prefix, value)) continue
    const identity = value[IDENTITY] ?? 0
    const port = (value[ENDPOINT] ?? 0) - 1
    const tunnel = value[TUNNEL_ENDPOINT] ?? 0
    const flags = value[FLAGS] ?? 0
    const remote = (flags & IpcacheFlag.REMOTE) === 0 ? [] : ['remote']
    const skip = (flags & IpcacheFlag.SKIP_TUNNEL) === 0 ? [] : ['skip-tunnel']
    rows.push({
      prefix: formatCidr({ words: prefix.slice(0, 4), prefixBits: prefix[4] ?? 0 }),
      identity,
      labels: names.identity(identity),
      endpoint: port < 0 ? '' : endpointNameOfPort(maps, names, port),
      tunnelEndpoint: tunnel === 0 ? '' : formatIpv4(tunnel),
      flags: [...remote, ...skip].join(','),
    })
  }
  return rows
}

export function endpointNameOfPort(maps: DatapathMaps, names: NameBook, port: number): string {
  if (port < 0 || port >= PORTS_MAX) return ''
  const kind = maps.endpoints.kind(port)
  if (kind === PortKind.NONE) return `port ${port}`
  if (kind === PortKind.UPLINK) return `uplink ${maps.ports.device(port)}`
  const id = maps.endpoints.words[maps.endpoints.rowStart(port) + Endpoint.ID] ?? 0
  return names.endpoint(id)
}

export interface IdentityRowView {
  readonly identity: number
  readonly labels: string
  readonly addresses: number
  readonly endpoints: readonly string[]
}

/** Identities in use: those that an address of the ipcache has. */
export function identityRows(maps: DatapathMaps, names: NameBook): IdentityRowView[] {
  const found = new Map<number, { addresses: number; endpoints: string[] }>()
  for (const { identity, endpoint } of ipcacheRows(maps, names)) {
    const row = found.get(identity) ?? { addresses: 0, endpoints: [] }
    row.addresses++
    if (endpoint !== '' && !row.endpoints.includes(endpoint)) row.endpoints.push(endpoint)
    found.set(identity, row)
  }
  return [...found]
    .sort(([a], [b]) => a - b)
    .map(([identity, row]) => {
      return { identity, labels: names.identityLabels(identity).join(', '), ...row }
    })
}
