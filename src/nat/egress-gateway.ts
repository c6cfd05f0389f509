/**
 * Egress gateway (Cilium: bpf/lib/egress_gateway.h): a pod's packets to destinations outside the
 * cluster leave by a node that is chosen for them, from an address that is chosen for them.
 *
 * A policy is an entry by the pod's whole address and a prefix of destinations: the longest one
 * decides. Its gateway is a node's address; NO_GATEWAY where the choice met no node, EXCLUDED where
 * the packets go the ordinary way in spite of a shorter prefix.
 *
 * It names an address, not an uplink: which one the packets leave by, the routes say.
 */
import type { NodeSettings } from '../endpoint/node-settings.js'
import { Identity } from '../identity/identity.js'
import { type Ipcache, IpcacheFlag, NO_ENDPOINT } from '../identity/ipcache.js'
import type { LpmMap } from '../maps/lpm-map.js'
import { type MapSpec, NOT_FOUND } from '../maps/map.js'
import { TupleWord } from '../wire/tuple.js'
import type { EgressPolicy } from './masquerade.js'

/** Source, destination, and two words of zero: a key of 128 bits that is no IPv4 address. */
export const EGRESS_KEY_WORDS = 4
/** Bits of the key in front of those of the destination's prefix. */
export const EGRESS_SOURCE_BITS = 32
/** Words of a policy. */
export const EgressWord = {
  /** Source of what leaves; 0 when the gateway has none for it. */
  EGRESS_ADDRESS: 0,
  /** Address of the gateway node, or one of the two below. */
  GATEWAY: 1,
} as const
export const EGRESS_VALUE_WORDS = 2

/** In place of a gateway's address; numbers are Cilium's. */
export const NO_GATEWAY = 0
export const EXCLUDED = 1

export const egressPoliciesSpec = (maxEntries: number): MapSpec => ({
  name: 'egress_gw_policy_v4',
  type: 'lpm',
  keyWords: EGRESS_KEY_WORDS,
  valueWords: EGRESS_VALUE_WORDS,
  maxEntries,
  // No prefix is of IPv4, so none is spread over tables.
  tables: 1,
})

/** Entries; as many as Cilium's (pkg/maps/egressmap). */
export const EGRESS_POLICIES = 16_384

/** Which way a packet goes. */
export const EgressWay = {
  /** No policy for it. */
  ORDINARY: 0,
  /** Out of this node, from `address4`. */
  HERE: 1,
  /** By the node `gateway4`. */
  ELSEWHERE: 2,
  /** There is a policy, and no node for it (194). */
  NO_GATEWAY: 3,
  /** Out of this node, which has no address for it (204). */
  NO_ADDRESS: 4,
} as const
export type EgressWay = (typeof EgressWay)[keyof typeof EgressWay]

const SOURCE4 = TupleWord.SOURCE + 3
const DESTINATION4 = TupleWord.DESTINATION + 3
/** Identities below are reserved; of those only WORLD is outside. */
const RESERVED_END = 256

export class EgressGateway implements EgressPolicy {
  readonly #policies: LpmMap
  readonly #node: NodeSettings
  readonly #ipcache: Ipcache
  readonly #key = new Int32Array(EGRESS_KEY_WORDS)
  readonly #value = new Int32Array(EGRESS_VALUE_WORDS)

  /** Of the last `find` that answered HERE: the address to leave from. */
  address4 = 0
  /** Of the last `find` that answered ELSEWHERE: the node to leave by. */
  gateway4 = 0

  constructor(policies: LpmMap, node: NodeSettings, ipcache: Ipcache) {
    this.#policies = policies
    this.#node = node
    this.#ipcache = ipcache
  }

  /** @param start index of the packet's tuple in `words`. The ipcache's last answer is another. */
  find(words: Int32Array, start: number): EgressWay {
    if (this.#policies.isEmpty) return EgressWay.ORDINARY
    this.#key[0] = words[start + SOURCE4] as number
    this.#key[1] = words[start + DESTINATION4] as number
    if (this.#policies.lookupInto(this.#key, 0, this.#value) === NOT_FOUND) {
      return EgressWay.ORDINARY
    }
    const gateway4 = this.#value[EgressWord.GATEWAY] as number
    if (gateway4 === EXCLUDED || !this.#isOutside(words, start)) return EgressWay.ORDINARY
    if (gateway4 === NO_GATEWAY) return EgressWay.NO_GATEWAY
    if (gateway4 !== this.#node.nodeAddress) {
      this.gateway4 = gateway4
      return EgressWay.ELSEWHERE
    }
    this.address4 = this.#value[EgressWord.EGRESS_ADDRESS] as number
    return this.address4 === 0 ? EgressWay.NO_ADDRESS : EgressWay.HERE
  }

  /** The address that the packet is to leave this node from; 0: no policy, or not by this node. */
  egressAddress4(words: Int32Array, start: number): number {
    return this.find(words, start) === EgressWay.HERE ? this.address4 : 0
  }

  /** Neither a node of the cluster nor behind one. */
  #isOutside(words: Int32Array, start: number): boolean {
    const ipcache = this.#ipcache
    const identity = ipcache.find(words, start + TupleWord.DESTINATION)
    if (ipcache.endpoint !== NO_ENDPOINT || (ipcache.flags & IpcacheFlag.REMOTE) !== 0) return false
    return identity === Identity.WORLD || identity >= RESERVED_END
  }
}
