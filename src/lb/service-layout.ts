/**
 * Layout of the service maps, what both planes agree on (Cilium: bpf/lib/lb.h,
 * pkg/loadbalancer/maps). Names are Cilium's without the prefix.
 *
 * Deliberate differences: the backends of a service are a run of ids in one array instead of a hash
 * entry each, so that one store of the master entry swaps them all; a Maglev table is a run of
 * another array. A master entry names both runs.
 */
import type { MapSpec } from '../maps/map.js'

/** address[4] as ::ffff:a.b.c.d for IPv4, then port << 16 | protocol << 8 | scope. */
export const SERVICE_KEY_WORDS = 5
export const ServiceKey = { ADDRESS: 0, PORT: 4 } as const

/**
 * Whose view of a service an entry is, where the two differ: that of outside, or that of the
 * cluster's own pods.
 */
export const Scope = { EXTERNAL: 0, INTERNAL: 1 } as const
export type Scope = (typeof Scope)[keyof typeof Scope]

/** In a key: any protocol, and (with protocol any) any port of the address. */
export const ANY_PROTOCOL = 0
export const ANY_PORT = 0

export function servicePortWord(port: number, protocol: number, scope: Scope): number {
  return (port << 16) | (protocol << 8) | scope
}

/** Words of a master entry. */
export const Service = {
  /** Backends to choose from: the first ones of its run. */
  COUNT: 0,
  /** All backends of its run; those behind `COUNT` only keep the flows they have. */
  TOTAL: 1,
  /** Index of the run in the array of backend slots. */
  SLOTS_START: 2,
  REV_NAT_INDEX: 3,
  /** ServiceFlag bits. */
  FLAGS: 4,
  /** Session affinity in seconds, 0 for none. */
  AFFINITY_SECONDS: 5,
  /** Index of its Maglev table, and the table's size; size 0: backends are chosen at random. */
  TABLE_START: 6,
  TABLE_SIZE: 7,
} as const
export const SERVICE_VALUE_WORDS = 8

/** The low byte is Cilium's `flags`, the next one its `flags2` (bpf/lib/common.h, SVC_FLAG_…), what is above is ours. */
export const ServiceFlag = {
  EXTERNAL_IP: 1,
  NODE_PORT: 2,
  EXTERNAL_LOCAL: 4,
  HOST_PORT: 8,
  AFFINITY: 16,
  LOAD_BALANCER: 32,
  /** May be reached from outside of the cluster. */
  ROUTABLE: 64,
  SOURCE_RANGE: 128,
  /** A local redirect policy chose its backends. */
  LOCAL_REDIRECT: 1 << 8,
  INTERNAL_LOCAL: 16 << 8,
  TWO_SCOPES: 32 << 8,
  /** The source ranges name clients that are not admitted. */
  SOURCE_RANGE_DENY: 64 << 8,
  /** The address is somebody else's: only this port of it is redirected, for pods alone. */
  FOREIGN_ADDRESS: 1 << 16,
  /** Its backends themselves reach the address (Cilium: the map lb4_skip). */
  SKIP_FROM_BACKEND: 1 << 17,
} as const

/** Words of a backend's row. */
export const Backend = {
  /** Its id while it is there, else 0. */
  ID: 0,
  /** Four words. */
  ADDRESS: 1,
  PORT: 5,
  /** BackendState in the low byte, protocol in the next. */
  STATE: 6,
  /** The id that this row had last, so that the next one differs. */
  LAST_ID: 7,
} as const
const BACKEND_WORDS = 8

/** Numbers of Cilium's (pkg/loadbalancer, BackendState). */
export const BackendState = { ACTIVE: 0, TERMINATING: 1, QUARANTINED: 2, MAINTENANCE: 3 } as const
export type BackendState = (typeof BackendState)[keyof typeof BackendState]

export const NO_BACKEND = 0
/**
 * An id is a row number and, above it, how often the row was given out: a stale id never names
 * another backend.
 */
export const BACKEND_ROW_BITS = 16
export const BACKEND_ROW_MASK = (1 << BACKEND_ROW_BITS) - 1

/** Words of a reverse NAT row: address[4] and port of the frontend; port 0 where there is none. */
export const ReverseNat = { ADDRESS: 0, PORT: 4 } as const
const REVERSE_NAT_WORDS = 8
/** An index is 16 bits of a connection entry. */
export const REVERSE_NAT_MAX = 65_536

/** Client address[4], reverse NAT index. */
export const AFFINITY_KEY_WORDS = 5
export const AffinityWord = { LAST_USED: 0, BACKEND_ID: 1 } as const
export const AFFINITY_VALUE_WORDS = 2
/** Backend id, reverse NAT index. */
export const AFFINITY_MATCH_KEY_WORDS = 2

/** Reverse NAT index << 8 | prefix length (of 128 bits), then the masked address[4]. */
export const SOURCE_RANGE_KEY_WORDS = 5
/** Bits of the prefix lengths that a service uses: 0 to 128. */
export const SOURCE_RANGE_LENGTH_WORDS = 5

/** Bits of the filter of service addresses. */
export const ADDRESS_FILTER_BITS = 65_536

/** Settings of all services of the node; zero is the default of each. */
export const ServiceSetting = {
  /** What a pod sees as the source when it reaches itself through a service; 0 for 169.254.42.1. */
  LOOPBACK_ADDRESS: 0,
  /** LoopbackMode. */
  LOOPBACK_MODE: 1,
  /** NoBackendResponse. */
  NO_BACKEND_RESPONSE: 2,
  /** Of Maglev tables and of the hash over a flow: equal on all nodes. */
  MAGLEV_SEED: 3,
  /** Not 0: a ClusterIP may be reached from outside. */
  EXTERNAL_CLUSTER_IP: 4,
} as const
const SERVICE_SETTING_WORDS = 8

/** Entries of the maps whose size an operator chooses. */
export interface ServiceSizes {
  readonly services: number
  /** At most 65,536. */
  readonly backends: number
  /** Backends of all services together, each counted once per service and protocol. */
  readonly slots: number
  /**
   * Words of all Maglev tables: one service needs the table size, and as much again while it is
   * changed.
   */
  readonly maglevWords: number
  readonly affinities: number
  readonly sourceRanges: number
}

/**
 * Entries; as many as Cilium's (pkg/loadbalancer/maps), with 256 Maglev tables of the default size.
 * Memory is taken as it is used.
 */
export const SERVICE_SIZES: ServiceSizes = {
  services: 65_536,
  backends: 65_536,
  slots: 262_144,
  maglevWords: 256 * 16_381,
  affinities: 65_536,
  sourceRanges: 65_536,
}

/** The specs of all service maps. */
export function serviceSpecs(sizes: ServiceSizes) {
  const { services, backends, slots, maglevWords, affinities, sourceRanges } = sizes
  const reverseNats = Math.min(REVERSE_NAT_MAX, services)
  const matches = Math.max(affinities, backends)
  return {
    services: hash('lb4_services_v2', SERVICE_KEY_WORDS, SERVICE_VALUE_WORDS, services),
    backends: array('lb4_backends_v3', BACKEND_WORDS, backends),
    slots: array('lb4_backend_slots', 1, slots),
    maglev: array('lb4_maglev', 1, maglevWords),
    reverseNat: array('lb4_reverse_nat', REVERSE_NAT_WORDS, reverseNats),
    affinity: {
      ...hash('lb4_affinity', AFFINITY_KEY_WORDS, AFFINITY_VALUE_WORDS, affinities),
      type: 'lru-hash',
      stampWord: AffinityWord.LAST_USED,
    },
    affinityMatch: hash('lb_affinity_match', AFFINITY_MATCH_KEY_WORDS, 1, matches),
    sourceRanges: hash('lb4_source_range', SOURCE_RANGE_KEY_WORDS, 1, sourceRanges),
    sourceRangeLengths: array('lb4_source_range_lengths', SOURCE_RANGE_LENGTH_WORDS, reverseNats),
    addressFilter: array('lb_address_filter', 1, ADDRESS_FILTER_BITS / 32),
    settings: array('lb_settings', SERVICE_SETTING_WORDS, 1),
  } as const satisfies Record<string, MapSpec>
}

const hash = (name: string, keyWords: number, valueWords: number, maxEntries: number) =>
  ({ name, type: 'hash', keyWords, valueWords, maxEntries }) as const

const array = (name: string, valueWords: number, maxEntries: number) =>
  ({ name, type: 'array', keyWords: 0, valueWords, maxEntries }) as const
