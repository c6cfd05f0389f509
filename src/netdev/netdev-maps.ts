/**
 * What holds at the node's border, the uplinks: addresses that we answer ARP for, sources that may
 * not enter, VLANs that may. The maps as both planes open them; names are Cilium's where it has one.
 */
import { ArrayMap } from '../maps/array-map.js'
import { HashMap } from '../maps/hash-map.js'
import { LpmMap } from '../maps/lpm-map.js'
import type { MakeMap, MapSpec } from '../maps/map.js'

/** Address, UPLINK port. */
export const ANNOUNCEMENT_KEY_WORDS = 2
/** ARP requests answered; it wraps. */
export const ANSWERS_WORD = 0

const ANNOUNCED_SPEC: MapSpec = {
  name: 'l2_responder_v4',
  type: 'hash',
  keyWords: ANNOUNCEMENT_KEY_WORDS,
  valueWords: 1,
  maxEntries: 4096,
}

export const VLAN_IDS = 4096

/** A bit for each VLAN id that may pass. */
const VLANS_SPEC: MapSpec = {
  name: 'vlan_filter',
  type: 'array',
  keyWords: 0,
  valueWords: VLAN_IDS / 32,
  maxEntries: 1,
}

export interface NetdevSizes {
  /** Prefixes of denied sources. */
  readonly denied: number
}

export const NETDEV_SIZES: NetdevSizes = { denied: 4096 }

/** The value says nothing. */
const deniedSpec = (maxEntries: number): MapSpec => ({
  name: 'cidr_v4_dyn',
  type: 'lpm',
  keyWords: 4,
  valueWords: 1,
  maxEntries,
})

export class NetdevMaps {
  readonly announced: HashMap
  readonly denied: LpmMap
  readonly vlans: ArrayMap

  constructor(make: MakeMap, sizes: NetdevSizes = NETDEV_SIZES) {
    this.announced = make(HashMap, ANNOUNCED_SPEC)
    this.denied = make(LpmMap, deniedSpec(sizes.denied))
    this.vlans = make(ArrayMap, VLANS_SPEC)
  }
}

/** The sizes that maps were made with. @param entries of the map of that name */
export const netdevSizesOf = (entries: (name: string) => number): NetdevSizes => ({
  denied: entries(deniedSpec(NETDEV_SIZES.denied).name),
})
