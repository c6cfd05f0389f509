/** What a stage is, and what all stages share. */
import type { Conntrack } from '../conntrack/conntrack.js'
import type { FragmentTable } from '../conntrack/fragment-table.js'
import type { EndpointTable } from '../endpoint/endpoint-table.js'
import type { NodeSettings } from '../endpoint/node-settings.js'
import type { Ipcache } from '../identity/ipcache.js'
import type { LoadBalancer } from '../lb/load-balancer.js'
import type { ReverseNatTable } from '../lb/reverse-nat-table.js'
import type { ServiceSettings } from '../lb/service-settings.js'
import type { LpmMap } from '../maps/lpm-map.js'
import type { Revisions } from '../maps/revision.js'
import type { Monitor } from '../monitor/monitor.js'
import type { EgressGateway } from '../nat/egress-gateway.js'
import type { Masquerade } from '../nat/masquerade.js'
import type { SourceNat } from '../nat/source-nat.js'
import type { L2Announcements } from '../netdev/l2-announcements.js'
import type { VlanFilter } from '../netdev/vlan-filter.js'
import type { Verdict } from '../packet/verdict.js'
import type { PolicyMap } from '../policy/policy-map.js'
import type { Fib } from '../routing/fib.js'
import type { NeighbourMemory } from '../routing/neighbour-memory.js'
import type { PacketContext } from './context.js'
import type { RateLimits } from './rate-limits.js'

/**
 * A step of the chain: reads the packet and the maps, and says what comes next. It allocates
 * nothing, throws nothing but broken invariants, awaits nothing, and keeps no reference to the
 * context. It edits the packet wholly or not at all.
 */
export interface Stage {
  process(ctx: PacketContext): Verdict
}

/** The maps, and what reads them, of one datapath; made once per worker. */
export interface DatapathState {
  readonly endpoints: EndpointTable
  readonly ipcache: Ipcache
  readonly conntrack: Conntrack
  readonly fragments: FragmentTable
  readonly policy: PolicyMap
  readonly monitor: Monitor
  readonly rateLimits: RateLimits
  readonly node: NodeSettings
  readonly loadBalancer: LoadBalancer
  readonly reverseNat: ReverseNatTable
  readonly serviceSettings: ServiceSettings
  readonly fib: Fib
  readonly neighbourMemory: NeighbourMemory
  readonly nat: SourceNat
  readonly masquerade: Masquerade
  readonly egressGateway: EgressGateway
  readonly announcements: L2Announcements
  /** Prefixes that nothing from outside may come from. */
  readonly deniedSources: LpmMap
  readonly vlans: VlanFilter
  /** Of all maps: says whether a decision may still be repeated. */
  readonly revisions: Revisions
}
