/**
 * What the control plane knows of each frontend in the maps, and how it learns that from the maps
 * alone when it takes over.
 */
import type { Cidr } from '../wire/address.js'
import type { BackendSet, BackendSets } from './backend-sets.js'
import {
  Scope,
  SERVICE_KEY_WORDS,
  SERVICE_VALUE_WORDS,
  Service,
  servicePortWord,
} from './service-layout.js'
import type { ServiceMaps } from './service-maps.js'
import { frontendKey, ownsAddress } from './service-spec.js'

export interface FrontendRecord {
  /**
   * Name of its service; undefined for one of an earlier control plane that no `set` has named
   * since.
   */
  service: string | undefined
  readonly address: Int32Array
  readonly port: number
  readonly protocol: number
  /** Of its type, which says whether it owns an address that is not the node's. */
  readonly flags: number
  ownsAddress: boolean
  readonly revNatIndex: number
  external: BackendSet
  /** Where the cluster's own traffic goes elsewhere. */
  internal: BackendSet | undefined
  affinityIds: readonly number[]
  sourceRanges: readonly Cidr[]
}

interface Masters {
  readonly key: Int32Array
  external?: Int32Array
  internal?: Int32Array
}

/**
 * The record of every frontend in the maps, by its key text. Entries that a killed writer left
 * behind alone are deleted.
 *
 * @param addresses the node's own, which no frontend owns
 */
export function adoptFrontends(
  maps: ServiceMaps,
  sets: BackendSets,
  addresses: readonly number[],
): Map<string, FrontendRecord> {
  const records = new Map<string, FrontendRecord>()
  for (const [text, { key, external, internal }] of readMasters(maps)) {
    if (external === undefined) {
      maps.services.delete(masterKey(key, key[4] as number, Scope.INTERNAL))
      continue
    }
    const portWord = key[4] as number
    const flags = external[Service.FLAGS] as number
    records.set(text, {
      service: undefined,
      address: key.slice(0, 4),
      port: portWord >>> 16,
      protocol: (portWord >>> 8) & 0xff,
      flags,
      ownsAddress: ownsAddress(flags, key[3] as number, addresses),
      revNatIndex: external[Service.REV_NAT_INDEX] as number,
      external: adoptSet(sets, external),
      internal: internal === undefined ? undefined : adoptSet(sets, internal),
      affinityIds: [],
      sourceRanges: [],
    })
  }
  return records
}

/** The same key in the other scope. */
function masterKey(key: Int32Array, portWord: number, scope: Scope): Int32Array {
  const other = key.slice()
  other[4] = servicePortWord(portWord >>> 16, (portWord >>> 8) & 0xff, scope)
  return other
}

function readMasters(maps: ServiceMaps): Map<string, Masters> {
  const found = new Map<string, Masters>()
  for (const slot of maps.services.slots()) {
    const key = new Int32Array(SERVICE_KEY_WORDS)
    const value = new Int32Array(SERVICE_VALUE_WORDS)
    if (!maps.services.read(slot, key, value)) continue
    const portWord = key[4] as number
    const [port, protocol] = [portWord >>> 16, (portWord >>> 8) & 0xff]
    if (port === 0) continue
    const text = frontendKey(key[3] as number, port, protocol)
    const masters = found.get(text) ?? { key }
    if ((portWord & 0xff) === Scope.INTERNAL) masters.internal = value
    else masters.external = value
    found.set(text, masters)
  }
  return found
}

function adoptSet(sets: BackendSets, value: Int32Array): BackendSet {
  const word = (index: number): number => value[index] as number
  return sets.adopt(
    word(Service.COUNT),
    word(Service.TOTAL),
    word(Service.SLOTS_START),
    word(Service.TABLE_START),
    word(Service.TABLE_SIZE),
  )
}
