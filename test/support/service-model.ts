/** A plain model of what services should be in the maps, and the questions that packets ask of the maps. */
import { Prng } from '../../src/base/prng.js'
import { AddressFilter } from '../../src/lb/address-filter.js'
import { BackendTable } from '../../src/lb/backend-table.js'
import { ReverseNatTable } from '../../src/lb/reverse-nat-table.js'
import { Scope, type ServiceSizes } from '../../src/lb/service-layout.js'
import { ServiceMaps } from '../../src/lb/service-maps.js'
import type { FrontendSpec, ServiceSpec } from '../../src/lb/service-spec.js'
import { ServiceMatch, ServiceTable } from '../../src/lb/service-table.js'
import { formatIpv4, ipv4Words, parseIpv4 } from '../../src/wire/address.js'

export const SMALL: ServiceSizes = {
  services: 64,
  backends: 64,
  slots: 128,
  maglevWords: 251 * 8,
  affinities: 64,
  sourceRanges: 32,
}

const NUMBERS = { TCP: 6, UDP: 17, SCTP: 132, ANY: 0 } as const

export function serviceMaps(sizes: ServiceSizes = SMALL): ServiceMaps {
  return new ServiceMaps((kind, spec) => {
    return kind.create(spec, new SharedArrayBuffer(kind.bytesFor(spec)))
  }, sizes)
}

/** The packet path's view of the maps. */
export class ServiceView {
  readonly services: ServiceTable
  readonly filter: AddressFilter
  readonly backends: BackendTable
  readonly reverseNat: ReverseNatTable

  constructor(maps: ServiceMaps, seed = 1) {
    this.services = new ServiceTable(maps, new Prng(seed))
    this.filter = new AddressFilter(maps.addressFilter)
    this.backends = new BackendTable(maps.backends)
    this.reverseNat = new ReverseNatTable(maps.reverseNat)
  }

  /** 'none', 'unknown port', or the backends that `tries` flows were given, sorted, and the frontend that replies get. */
  ask(frontend: Omit<FrontendSpec, 'type'>, tries = 40): string {
    const address = ipv4Words(parseIpv4(frontend.address))
    const protocol = NUMBERS[frontend.protocol]
    if (!this.filter.mayHold(address[3] as number)) return 'none'
    const match = this.services.lookup(address, 0, frontend.port, protocol, Scope.INTERNAL)
    if (match === ServiceMatch.NONE) return 'none'
    if (match === ServiceMatch.UNKNOWN_PORT) return 'unknown port'
    const found = new Set<string>()
    const tuple = new Int32Array(10)
    for (let i = 0; i < tries; i++) {
      tuple[3] = i
      const id = this.services.choose(tuple, 0, (1000 + i) << 16, protocol, 0)
      if (id === 0) found.add('no backend')
      else if (!this.backends.load(id)) found.add(`dangling ${id}`)
      else found.add(`${formatIpv4(this.backends.address4)}:${this.backends.port}`)
    }
    const hasRow = this.reverseNat.load(this.services.revNatIndex)
    const back = hasRow
      ? `${formatIpv4(this.reverseNat.address4)}:${this.reverseNat.port}`
      : 'nowhere'
    return `${[...found].sort().join(' ')} back to ${back}`
  }
}

/** What `ask` should answer, by the documented rules alone. Backends are named as local by `isLocal`. */
export function expectedAnswer(
  services: Iterable<ServiceSpec>,
  asked: Omit<FrontendSpec, 'type'>,
): string {
  let isOwned = false
  let any: string | undefined
  for (const spec of services) {
    for (const frontend of spec.frontends) {
      if (frontend.address !== asked.address) continue
      isOwned ||= frontend.type === 'ClusterIP' || frontend.type === 'LoadBalancer'
      if (frontend.port !== asked.port) continue
      if (frontend.protocol === asked.protocol) return answerOf(spec, frontend)
      if (frontend.protocol === 'ANY') any = answerOf(spec, frontend)
    }
  }
  return any ?? (isOwned ? 'unknown port' : 'none')
}

function answerOf(spec: ServiceSpec, frontend: FrontendSpec): string {
  // Pods see the internal view.
  const isLocal = spec.internalTrafficPolicy === 'Local'
  const usable = spec.backends.filter((b) => (b.isLocal || !isLocal) && (b.weight ?? 1) > 0)
  const active = usable.filter((b) => (b.state ?? 'active') === 'active')
  const chosen = active.length > 0 ? active : usable.filter((b) => b.state === 'terminating')
  const names = chosen.map((b) => `${b.address}:${b.port}`).sort()
  const back = `${frontend.address}:${frontend.port}`
  return `${names.length === 0 ? 'no backend' : names.join(' ')} back to ${back}`
}

/** What must be gone when every service is: empty when it is. */
export function leftovers(maps: ServiceMaps): string[] {
  const found: string[] = []
  const { services, affinityMatch, sourceRanges } = maps
  for (const map of [services, affinityMatch, sourceRanges]) {
    if (map.size > 0) found.push(`${map.spec.name}: ${map.size} entries`)
  }
  for (let row = 0; row < maps.backends.capacity; row++) {
    if (maps.backends.words[maps.backends.valueStart(row)] !== 0) found.push(`backend row ${row}`)
  }
  for (let row = 0; row < maps.reverseNat.capacity; row++) {
    const port = maps.reverseNat.words[maps.reverseNat.valueStart(row) + 4]
    if (port !== 0) found.push(`reverse NAT row ${row}`)
  }
  const { addressFilter, sourceRangeLengths } = maps
  for (const map of [addressFilter, sourceRangeLengths]) {
    const words = map.words.subarray(map.valueStart(0))
    if (words.some((word) => word !== 0)) found.push(`${map.spec.name}: bits`)
  }
  return found
}
