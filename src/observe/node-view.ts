/**
 * All that can be read of a node, from its maps and the record beside them: the same answers whether
 * an agent gives them or a command reads the files of a node that does not run.
 */
import { isDropReason, notedReasonName, notedReasonText, readMetrics } from '../monitor/metrics.js'
import { type NatReport, readNatReport } from '../nat/nat-report.js'
import { dropReasonName, dropReasonText } from '../packet/drop-reason.js'
import { DatapathMaps } from '../pipeline/datapath-maps.js'
import {
  type EndpointRowView,
  endpointRows,
  type IdentityRowView,
  type IpcacheRowView,
  identityRows,
  ipcacheRows,
} from './endpoint-view.js'
import { type MapEntryView, type MapRowView, mapPage, mapRows } from './map-view.js'
import { NameBook } from './names.js'
import { type ServiceRowView, serviceRows } from './service-view.js'
import {
  type ConnectionView,
  connectionPage,
  type NatView,
  natPage,
  type Page,
  type PageRequest,
  type PolicyEntryView,
  policyPage,
} from './table-view.js'

export interface CountedReason {
  /** 0 for what was forwarded. */
  readonly code: number
  readonly reason: string
  readonly text: string
  readonly direction: string
  readonly packets: number
  readonly bytes: number
}

const DIRECTIONS = ['none', 'ingress', 'egress', 'service']

export class NodeView {
  readonly maps: DatapathMaps
  readonly directory: string
  readonly #names: () => NameBook
  readonly #datapathPid: () => number

  constructor(
    directory: string,
    maps: DatapathMaps,
    names: () => NameBook,
    datapathPid: () => number,
  ) {
    this.directory = directory
    this.maps = maps
    this.#names = names
    this.#datapathPid = datapathPid
  }

  /** Of the files of a state directory; EXDP_SHARED_MEMORY when they are not there. */
  static open(directory: string, datapathPid: () => number): NodeView {
    const names = NameBook.ofDirectory(directory)
    return new NodeView(directory, DatapathMaps.openFiles(directory), () => names, datapathPid)
  }

  get names(): NameBook {
    return this.#names()
  }

  endpoints(): EndpointRowView[] {
    return endpointRows(this.maps, this.names, this.#datapathPid())
  }

  services(): ServiceRowView[] {
    return serviceRows(this.maps.services, this.names)
  }

  ipcache(): IpcacheRowView[] {
    return ipcacheRows(this.maps, this.names)
  }

  identities(): IdentityRowView[] {
    return identityRows(this.maps, this.names)
  }

  connections(request: PageRequest): Page<ConnectionView> {
    return connectionPage(this.maps, request, monotonicSeconds())
  }

  /** How full the NAT is, and toward where. @param limit of destinations */
  natReport(limit: number): NatReport {
    return readNatReport(this.maps.nat, limit)
  }

  nat(request: PageRequest): Page<NatView> {
    return natPage(this.maps, request, monotonicSeconds())
  }

  /** @param endpoint id whose policy is meant; every policy when absent */
  policy(request: PageRequest, endpoint?: number): Page<PolicyEntryView> {
    const row = this.endpoints().find(({ id }) => id === endpoint)
    const policy = endpoint === undefined ? undefined : (row?.policy ?? -1)
    return policyPage(this.maps, this.names, request, policy)
  }

  mapList(): MapRowView[] {
    return mapRows(this.directory)
  }

  map(name: string, request: PageRequest): Page<MapEntryView> {
    return mapPage(this.directory, name, request)
  }

  /** What was dropped and forwarded since the maps were made. */
  counters(): CountedReason[] {
    const lines = readMetrics(this.maps.metrics)
    const fates = lines.filter(({ reason }) => reason === 0 || isDropReason(reason))
    return fates.map(({ reason, direction, frames, bytes }) => ({
      code: reason,
      reason: reason === 0 ? 'FORWARDED' : dropReasonName(reason),
      text: reason === 0 ? 'forwarded' : dropReasonText(reason),
      direction: DIRECTIONS[direction] ?? `${direction}`,
      packets: frames,
      bytes,
    }))
  }

  /** What else was counted, of packets that were forwarded or dropped all the same. */
  noted(): CountedReason[] {
    const lines = readMetrics(this.maps.metrics)
    const noted = lines.filter(({ reason }) => reason !== 0 && !isDropReason(reason))
    return noted.map(({ reason, direction, frames, bytes }) => ({
      code: reason,
      reason: notedReasonName(reason),
      text: notedReasonText(reason),
      direction: DIRECTIONS[direction] ?? `${direction}`,
      packets: frames,
      bytes,
    }))
  }
}

const NANOSECONDS_PER_SECOND = 1_000_000_000n

/** The clock that the datapath stamps with. */
export const monotonicSeconds = (): number =>
  Number(process.hrtime.bigint() / NANOSECONDS_PER_SECOND)
