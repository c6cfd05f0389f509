/**
 * Does a packet that leaves the node get another source address, and which (Cilium:
 * snat_v4_needs_masquerade of bpf/lib/nat.h)? The order of the questions is Cilium's.
 */
import { Endpoint, EndpointFlag, type EndpointTable } from '../endpoint/endpoint-table.js'
import type { NodeSettings } from '../endpoint/node-settings.js'
import { Identity } from '../identity/identity.js'
import { type Ipcache, IpcacheFlag, NO_ENDPOINT } from '../identity/ipcache.js'
import type { LpmMap } from '../maps/lpm-map.js'
import { type MapSpec, NOT_FOUND } from '../maps/map.js'
import { TupleWord } from '../wire/tuple.js'
import type { NatSettings } from './nat-settings.js'

/**
 * Destinations that pods reach with their own address: where pods are routed (native-routing CIDR),
 * and what ip-masq-agent's configuration names. The value says which, for dumps.
 */
export const MASQUERADE_EXCLUSIONS_SPEC: MapSpec = {
  name: 'masquerade_exclusions',
  type: 'lpm',
  keyWords: 4,
  valueWords: 1,
  maxEntries: 1024,
}
export const Exclusion = { NATIVE_ROUTING: 1, MASQ_AGENT: 2 } as const

/** Egress gateway: the address that a pod's packets to a destination are to leave from. */
export interface EgressPolicy {
  /**
   * An IPv4 address of this node, or 0: no policy, or not by this node.
   *
   * @param start index of the packet's tuple in `words`
   */
  egressAddress4(words: Int32Array, start: number): number
}

export interface MasqueradeState {
  readonly settings: NatSettings
  readonly node: NodeSettings
  readonly exclusions: LpmMap
  readonly endpoints: EndpointTable
  readonly ipcache: Ipcache
  readonly egressPolicy: EgressPolicy
}

const SOURCE4 = TupleWord.SOURCE + 3

export class Masquerade {
  readonly #state: MasqueradeState

  /** Of the last packet that is masqueraded: its new source. */
  address4 = 0
  /** It comes from that address already, and only its port has to be one that no pod has. */
  isOfHost = false

  constructor(state: MasqueradeState) {
    this.#state = state
  }

  /**
   * @param start index of the packet's tuple in `words`
   * @param endpoint row of the pod that sent it, or NO_ENDPOINT
   * @param isReply of a connection that the other side began
   * @param uplinkAddress4 the node's address on the way out, 0 for none
   */
  applies(
    words: Int32Array,
    start: number,
    endpoint: number,
    isReply: boolean,
    uplinkAddress4: number,
  ): boolean {
    const { settings, egressPolicy } = this.#state
    const source4 = words[start + SOURCE4] as number
    this.address4 = uplinkAddress4
    // A pod has this source only when its reply comes from a service again.
    const isOwnAddress = source4 === uplinkAddress4 && endpoint === NO_ENDPOINT
    this.isOfHost = settings.isMasquerading && isOwnAddress
    if (this.isOfHost) return true
    if (isReply) return false
    const egressAddress4 = egressPolicy.egressAddress4(words, start)
    if (egressAddress4 !== 0) {
      this.address4 = egressAddress4
      return true
    }
    if (!settings.isMasquerading || endpoint === NO_ENDPOINT || uplinkAddress4 === 0) return false
    return (
      !this.#isExcluded(words, start) &&
      !this.#keepsAddress(endpoint) &&
      this.#mayHide(words, start)
    )
  }

  #isExcluded(words: Int32Array, start: number): boolean {
    const { exclusions } = this.#state
    if (exclusions.isEmpty) return false
    return exclusions.lookup(words, start + TupleWord.DESTINATION) !== NOT_FOUND
  }

  #keepsAddress(endpoint: number): boolean {
    const { endpoints } = this.#state
    const flags = endpoints.words[endpoints.rowStart(endpoint) + Endpoint.FLAGS] as number
    return (flags & EndpointFlag.SKIP_MASQUERADE_V4) !== 0
  }

  /** Another node can answer a pod's own address, unless pods are hidden from it in tunnels. */
  #mayHide(words: Int32Array, start: number): boolean {
    const { ipcache, settings, node } = this.#state
    const identity = ipcache.find(words, start + TupleWord.DESTINATION)
    const isRemoteNode = identity === Identity.REMOTE_NODE || identity === Identity.KUBE_APISERVER
    if (!isRemoteNode || settings.masqueradesRemoteNodes) return true
    return node.tunnelPort !== 0 && (ipcache.flags & IpcacheFlag.SKIP_TUNNEL) === 0
  }
}
