/** Services as the maps have them: each frontend with the backends that packets can get. */
import { BackendTable } from '../lb/backend-table.js'
import {
  BACKEND_ROW_MASK,
  Backend,
  Scope,
  SERVICE_KEY_WORDS,
  SERVICE_VALUE_WORDS,
  Service,
  ServiceFlag,
} from '../lb/service-layout.js'
import type { ServiceMaps } from '../lb/service-maps.js'
import { formatAddress, formatIpv4 } from '../wire/address.js'
import { protocolName } from './flow.js'
import type { NameBook } from './names.js'

export interface BackendView {
  readonly address: string
  readonly port: number
  readonly state: string
  /** Gets new flows of this service. */
  readonly isOffered: boolean
}

export interface ServiceRowView {
  readonly service: string
  readonly address: string
  readonly port: number
  readonly protocol: string
  readonly type: string
  /** Whose view of the service it is: 'external', 'internal', or 'both'. */
  readonly scope: string
  readonly algorithm: string
  readonly affinitySeconds: number
  readonly revNatIndex: number
  readonly backends: readonly BackendView[]
}

const STATES = ['active', 'terminating', 'quarantined', 'maintenance']
const TYPES: readonly (readonly [number, string])[] = [
  [ServiceFlag.NODE_PORT, 'NodePort'],
  [ServiceFlag.EXTERNAL_IP, 'ExternalIP'],
  [ServiceFlag.LOAD_BALANCER, 'LoadBalancer'],
  [ServiceFlag.HOST_PORT, 'HostPort'],
  [ServiceFlag.LOCAL_REDIRECT, 'LocalRedirect'],
]

export function serviceRows(maps: ServiceMaps, names: NameBook): ServiceRowView[] {
  const key = new Int32Array(SERVICE_KEY_WORDS)
  const value = new Int32Array(SERVICE_VALUE_WORDS)
  const rows: ServiceRowView[] = []
  for (const slot of maps.services.slots()) {
    if (!maps.services.read(slot, key, value)) continue
    const portWord = key[4] ?? 0
    const port = portWord >>> 16
    // The entry that closes the other ports of an address is no frontend.
    if (port === 0) continue
    const number = (portWord >>> 8) & 0xff
    const protocol = number === 0 ? 'ANY' : protocolName(number)
    const address = formatAddress(key)
    const flags = value[Service.FLAGS] ?? 0
    rows.push({
      service: names.service(address, port, protocol),
      address,
      port,
      protocol,
      type: TYPES.find(([flag]) => (flags & flag) !== 0)?.[1] ?? 'ClusterIP',
      scope: scopeOf(portWord & 0xff, flags),
      algorithm: (value[Service.TABLE_SIZE] ?? 0) === 0 ? 'random' : 'maglev',
      affinitySeconds: value[Service.AFFINITY_SECONDS] ?? 0,
      revNatIndex: value[Service.REV_NAT_INDEX] ?? 0,
      backends: backendsOf(maps, value),
    })
  }
  return rows.sort((a, b) => a.revNatIndex - b.revNatIndex)
}

function scopeOf(scope: number, flags: number): string {
  if ((flags & ServiceFlag.TWO_SCOPES) === 0) return 'both'
  return scope === Scope.INTERNAL ? 'internal' : 'external'
}

function backendsOf(maps: ServiceMaps, value: Int32Array): BackendView[] {
  const total = value[Service.TOTAL] ?? 0
  const offered = value[Service.COUNT] ?? 0
  const first = maps.slots.valueStart(0) + (value[Service.SLOTS_START] ?? 0)
  const table = new BackendTable(maps.backends)
  const backends: BackendView[] = []
  for (let i = 0; i < total; i++) {
    const id = maps.slots.words[first + i] ?? 0
    if (!table.load(id)) continue
    const row = maps.backends.valueStart(id & BACKEND_ROW_MASK)
    const state = (maps.backends.words[row + Backend.STATE] ?? 0) & 0xff
    backends.push({
      address: formatIpv4(table.address4),
      port: table.port,
      state: STATES[state] ?? `${state}`,
      isOffered: i < offered,
    })
  }
  return backends
}
