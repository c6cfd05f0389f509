/**
 * All maps of one node's datapath, by name: what the two planes meet in. Made or opened over files
 * of a state directory (/run/ringpath/<node>), or over plain memory for tests, simulation and
 * replay.
 */
import { randomInt } from 'node:crypto'
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { SharedMemory } from 'xdp-socket-napi'
import { assert } from '../base/assert.js'
import { PORTS_MAX, WORKERS_MAX } from '../base/limits.js'
import { Prng } from '../base/prng.js'
import { Conntrack } from '../conntrack/conntrack.js'
import { CT_TIMEOUTS, conntrack4Spec } from '../conntrack/ct-entry.js'
import { FRAGMENTS_DEFAULT, FragmentTable, fragmentsSpec } from '../conntrack/fragment-table.js'
import { ENDPOINTS_SPEC, EndpointTable } from '../endpoint/endpoint-table.js'
import { NODE_SETTINGS_SPEC, NodeSettings } from '../endpoint/node-settings.js'
import { Ipcache, ipcacheSpec } from '../identity/ipcache.js'
import { LoadBalancer } from '../lb/load-balancer.js'
import { ReverseNatTable } from '../lb/reverse-nat-table.js'
import type { ServiceSizes } from '../lb/service-layout.js'
import { ServiceMaps, serviceSizesOf } from '../lb/service-maps.js'
import { ServiceSettings } from '../lb/service-settings.js'
import { ArrayMap } from '../maps/array-map.js'
import { CounterMap } from '../maps/counter-map.js'
import { EventRing } from '../maps/event-ring.js'
import { HashMap } from '../maps/hash-map.js'
import { LpmMap } from '../maps/lpm-map.js'
import { LruHashMap } from '../maps/lru-hash-map.js'
import {
  type FixedMap,
  type MakeMap,
  type MapKind,
  type MapOptions,
  type MapSpec,
  MapType,
} from '../maps/map.js'
import { isBlank, specIn } from '../maps/map-header.js'
import { Revisions } from '../maps/revision.js'
import { CAPTURE_SPEC } from '../monitor/capture.js'
import { EVENT_WORDS } from '../monitor/event.js'
import { EventRings } from '../monitor/event-rings.js'
import { METRIC_COUNTERS, Metrics } from '../monitor/metrics.js'
import { Monitor } from '../monitor/monitor.js'
import { PORT_RINGS_CELLS, WORKER_CELLS } from '../monitor/worker-statistics.js'
import { EGRESS_POLICIES, EgressGateway, egressPoliciesSpec } from '../nat/egress-gateway.js'
import { Masquerade } from '../nat/masquerade.js'
import { NatMaps, type NatSizes, natSizesOf } from '../nat/nat-maps.js'
import { L2Announcements } from '../netdev/l2-announcements.js'
import { NetdevMaps, type NetdevSizes, netdevSizesOf } from '../netdev/netdev-maps.js'
import { VlanFilter } from '../netdev/vlan-filter.js'
import { POLICY_PREFIXES_SPEC, PolicyMap, policyMapSpec } from '../policy/policy-map.js'
import { PORT_STATISTICS_CELLS } from '../port/port-statistics.js'
import { PORTS_SPEC, PortTable } from '../port/port-table.js'
import { Fib } from '../routing/fib.js'
import { NEIGHBOUR_MEMORY_SPEC, NeighbourMemory } from '../routing/neighbour-memory.js'
import type { RoutingSizes } from '../routing/route-layout.js'
import { RoutingMaps, routingSizesOf } from '../routing/routing-maps.js'
import { RATE_LIMITS_SPEC, RateLimits } from './rate-limits.js'
import type { DatapathState } from './stage.js'

/** Entries of the maps whose size an operator chooses. */
export interface MapSizes {
  readonly connections: number
  readonly identities: number
  readonly policies: number
  /** Records of a worker's event ring; a power of two. */
  readonly events: number
  /** Workers that a datapath on these maps may have; 1 unless given. */
  readonly workers?: number
  /** Datagrams in fragments at one time; FRAGMENTS_DEFAULT unless given. */
  readonly fragments?: number
  /** SERVICE_SIZES unless given. */
  readonly services?: ServiceSizes
  /** NAT_SIZES unless given. */
  readonly nat?: NatSizes
  /** NETDEV_SIZES unless given. */
  readonly netdev?: NetdevSizes
  /** Of the egress gateway; EGRESS_POLICIES unless given. */
  readonly egressPolicies?: number
  /** ROUTING_SIZES unless given. */
  readonly routing?: RoutingSizes
}

export const MAP_SIZES: MapSizes = {
  connections: 131_072,
  identities: 65_536,
  policies: 65_536,
  events: 8192,
}

/** What decides on no packet. */
const RECORD_TYPES: ReadonlySet<MapType> = new Set([MapType.COUNTER, MapType.EVENT_RING])

const TABLE_TYPES: ReadonlySet<MapType> = new Set([
  MapType.HASH,
  MapType.LRU_HASH,
  MapType.LPM,
  MapType.EVENT_RING,
])

/** Nothing but a header, in which the changes of all maps that decide on packets are counted. */
const DECISIONS_SPEC: MapSpec = {
  name: 'decisions',
  type: MapType.ARRAY,
  keyWords: 0,
  valueWords: 0,
  maxEntries: 1,
}

/** So that ports and backends are chosen by different numbers of one seed. */
const NAT_SEED = 0x5a17

/** Memory for a map: `bytes` of zeros, or what a map of that name left there. */
export type Allocate = (name: string, bytes: number) => ArrayBufferLike

export class DatapathMaps {
  readonly endpoints: EndpointTable
  readonly ipcache: Ipcache
  readonly ipcachePrefixes: LpmMap
  readonly conntrackTable: LruHashMap
  readonly fragmentsMap: LruHashMap
  readonly policyEntries: HashMap
  readonly policyPrefixes: ArrayMap
  readonly ports: PortTable
  readonly node: NodeSettings
  readonly metrics: CounterMap
  readonly portStatistics: CounterMap
  readonly events: EventRings
  /** Workers that a datapath on these maps may have. */
  readonly workers: number
  readonly #rateLimits: ArrayMap
  /** How the workers fare, and the rings of their ports (src/monitor/worker-statistics.ts). */
  readonly workerStatistics: CounterMap
  readonly portRings: CounterMap
  /** What a reader wants captured: words as CaptureWord has them. */
  readonly capture: ArrayMap
  readonly services: ServiceMaps
  readonly routing: RoutingMaps
  readonly neighbourMemory: LruHashMap
  readonly nat: NatMaps
  readonly netdev: NetdevMaps
  readonly egressPolicies: LpmMap
  /** Every map that can be full: what `readPressure` is asked for. */
  readonly tables: readonly FixedMap[]
  /** Of all maps that decisions rest on, in one place: another sum says that they may be others now. */
  readonly revisions: Revisions

  constructor(allocate: Allocate, sizes: MapSizes = MAP_SIZES, options: MapOptions = {}) {
    const tables: FixedMap[] = []
    let total: Pick<MapOptions, 'total'> = {}
    const make: MakeMap = <M extends FixedMap>(kind: MapKind<M>, spec: MapSpec): M => {
      const buffer = allocate(spec.name, kind.bytesFor(spec))
      const own = RECORD_TYPES.has(spec.type) ? options : { ...options, ...total }
      const map = isBlank(buffer) ? kind.create(spec, buffer, own) : kind.open(buffer, spec, own)
      if (TABLE_TYPES.has(spec.type)) tables.push(map)
      return map
    }
    const decisions = make(ArrayMap, DECISIONS_SPEC)
    total = { total: decisions.words }
    this.revisions = new Revisions([decisions])
    this.endpoints = new EndpointTable(make(ArrayMap, ENDPOINTS_SPEC))
    this.ipcachePrefixes = make(LpmMap, ipcacheSpec(sizes.identities))
    this.ipcache = new Ipcache(this.ipcachePrefixes)
    this.conntrackTable = make(LruHashMap, conntrack4Spec(sizes.connections))
    this.fragmentsMap = make(LruHashMap, fragmentsSpec(sizes.fragments ?? FRAGMENTS_DEFAULT))
    this.policyEntries = make(HashMap, policyMapSpec(sizes.policies))
    this.policyPrefixes = make(ArrayMap, POLICY_PREFIXES_SPEC)
    this.ports = new PortTable(make(ArrayMap, PORTS_SPEC))
    this.node = new NodeSettings(make(ArrayMap, NODE_SETTINGS_SPEC))
    this.metrics = make(CounterMap, counterSpec('metrics', METRIC_COUNTERS))
    const cells = PORTS_MAX * PORT_STATISTICS_CELLS
    this.portStatistics = make(CounterMap, counterSpec('port_statistics', cells))
    this.workers = sizes.workers ?? 1
    const rings = Array.from({ length: this.workers }, (_, worker) =>
      make(EventRing, eventsSpec(sizes.events, worker)),
    )
    this.events = new EventRings(rings)
    this.#rateLimits = make(ArrayMap, RATE_LIMITS_SPEC)
    this.workerStatistics = make(CounterMap, counterSpec('worker_statistics', WORKER_CELLS))
    this.portRings = make(CounterMap, counterSpec('port_rings', PORT_RINGS_CELLS))
    this.capture = make(ArrayMap, CAPTURE_SPEC)
    this.services = new ServiceMaps(make, sizes.services)
    this.routing = new RoutingMaps(make, sizes.routing)
    this.neighbourMemory = make(LruHashMap, NEIGHBOUR_MEMORY_SPEC)
    this.nat = new NatMaps(make, sizes.nat)
    this.netdev = new NetdevMaps(make, sizes.netdev)
    const egressPolicies = sizes.egressPolicies ?? EGRESS_POLICIES
    this.egressPolicies = make(LpmMap, egressPoliciesSpec(egressPolicies))
    this.tables = tables
  }

  /**
   * In memory of this process, shared between its threads. A seed among the options makes hashes,
   * and so what full tables evict, the same in every run.
   */
  static inMemory(sizes: MapSizes = MAP_SIZES, options: MapOptions = {}): DatapathMaps {
    return new DatapathMaps((_name, bytes) => new SharedArrayBuffer(bytes), sizes, options)
  }

  /**
   * Over one file per map, made where missing; maps of an earlier run are adopted with their
   * entries.
   */
  static createFiles(directory: string, sizes: MapSizes = MAP_SIZES): DatapathMaps {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    const allocate: Allocate = (name, bytes) =>
      SharedMemory.open(join(directory, name), bytes, { create: true }).buffer
    return new DatapathMaps(allocate, sizes)
  }

  /** The sizes that the maps of a directory were made with; undefined when they are not all there. */
  static sizesIn(directory: string): MapSizes | undefined {
    try {
      return sizesOf(directory)
    } catch {
      return undefined
    }
  }

  /** Over the files that the control plane made; EXDP_SHARED_MEMORY names one that is missing. */
  static openFiles(directory: string): DatapathMaps {
    const allocate: Allocate = (name, bytes) =>
      SharedMemory.open(join(directory, name), bytes).buffer
    return new DatapathMaps(allocate, sizesOf(directory))
  }

  /**
   * Copies of those files in memory of our own: what is run on them changes nothing and nobody. The
   * maps are copied while others write them; an entry may be one moment's and the next one's.
   */
  static copyOfFiles(directory: string): DatapathMaps {
    const allocate: Allocate = (name, bytes) => {
      const memory = SharedMemory.open(join(directory, name), bytes)
      const copy = memory.buffer.slice(0)
      memory.close()
      return copy
    }
    return new DatapathMaps(allocate, sizesOf(directory))
  }

  /** A datapath before had more workers: what they counted of ports is the past's. */
  forgetWorkersFrom(worker: number): void {
    for (let row = worker; row < WORKERS_MAX; row++) {
      this.portStatistics.row(row).fill(0)
      this.workerStatistics.row(row).fill(0)
      this.portRings.row(row).fill(0)
    }
  }

  /**
   * What one worker's stages need. Those of worker 0 are made before all others: it takes over what
   * an earlier datapath has left behind.
   *
   * @param seed of its random choices, such as that of a backend
   * @param goesOn the datapath before settles everything and stops by itself: nothing is repaired
   */
  stateFor(worker: number, seed = randomInt(2 ** 31), goesOn = false): DatapathState {
    const repairs = worker === 0 && !goesOn
    assert(worker >= 0 && worker < this.workers, 'a worker without an event ring')
    const conntrack = new Conntrack(this.conntrackTable, CT_TIMEOUTS, this.workers > 1)
    const rateLimits = new RateLimits(this.#rateLimits)
    if (repairs) rateLimits.unlock()
    const egressGateway = new EgressGateway(this.egressPolicies, this.node, this.ipcache)
    return {
      endpoints: this.endpoints,
      ipcache: this.ipcache,
      conntrack,
      fragments: new FragmentTable(this.fragmentsMap),
      policy: new PolicyMap(this.policyEntries, this.policyPrefixes),
      monitor: new Monitor(
        new Metrics(this.metrics, worker),
        this.events.rings[worker] as EventRing,
      ),
      rateLimits,
      node: this.node,
      loadBalancer: new LoadBalancer(this.services, conntrack, new Prng(seed)),
      reverseNat: new ReverseNatTable(this.services.reverseNat),
      serviceSettings: new ServiceSettings(this.services.settings),
      fib: new Fib(this.routing),
      neighbourMemory: new NeighbourMemory(this.neighbourMemory),
      nat: this.nat.sourceNat(worker, new Prng(seed ^ NAT_SEED), repairs),
      masquerade: new Masquerade({
        settings: this.nat.settings,
        exclusions: this.nat.exclusions,
        node: this.node,
        endpoints: this.endpoints,
        ipcache: this.ipcache,
        egressPolicy: egressGateway,
      }),
      egressGateway,
      announcements: new L2Announcements(this.netdev),
      deniedSources: this.netdev.denied,
      vlans: new VlanFilter(this.netdev),
      revisions: this.revisions,
    }
  }
}

/** The sizes that the maps in a directory were made with. */
function sizesOf(directory: string): MapSizes {
  const entries = (name: string): number => {
    const memory = SharedMemory.open(join(directory, name), 0)
    const { maxEntries } = specIn(memory.buffer, 0, name)
    memory.close()
    return maxEntries
  }
  return {
    connections: entries('ct4'),
    identities: entries('ipcache'),
    policies: entries('policy'),
    fragments: entries('fragments'),
    events: entries('events'),
    workers: workersOf(directory),
    services: serviceSizesOf(entries),
    routing: routingSizesOf(entries),
    nat: natSizesOf(entries),
    netdev: netdevSizesOf(entries),
    egressPolicies: entries('egress_gw_policy_v4'),
  }
}

const counterSpec = (name: string, maxEntries: number): MapSpec => ({
  name,
  type: 'counter',
  keyWords: 0,
  valueWords: 2,
  maxEntries,
  workers: WORKERS_MAX,
})

/** As many as have an event ring. */
function workersOf(directory: string): number {
  let workers = 1
  while (workers < WORKERS_MAX && existsSync(join(directory, eventsName(workers)))) workers++
  return workers
}

const eventsName = (worker: number): string => (worker === 0 ? 'events' : `events_${worker}`)

const eventsSpec = (maxEntries: number, worker: number): MapSpec => ({
  name: eventsName(worker),
  type: 'event-ring',
  keyWords: 0,
  valueWords: EVENT_WORDS,
  maxEntries,
})
