/**
 * What all services of a node have in common; written by the control plane, effective with the next
 * packet.
 */
import type { ArrayMap } from '../maps/array-map.js'
import { markChanged } from '../maps/revision.js'
import { ServiceSetting } from './service-layout.js'

/** Source of what a pod sends to itself through a service: an address of ours, or the pod's own. */
export const LoopbackMode = { ADDRESS: 0, POD: 1 } as const
export type LoopbackMode = (typeof LoopbackMode)[keyof typeof LoopbackMode]

/** What the client of a service without backends gets (Cilium: --service-no-backend-response). */
export const NoBackendResponse = { REJECT: 0, DROP: 1 } as const
export type NoBackendResponse = (typeof NoBackendResponse)[keyof typeof NoBackendResponse]

/** 169.254.42.1, as Cilium's --ipv4-service-loopback-address. */
const LOOPBACK_ADDRESS_DEFAULT = 0xa9fe2a01 | 0

export class ServiceSettings {
  readonly #words: Int32Array
  readonly #start: number

  constructor(map: ArrayMap) {
    this.#words = map.words
    this.#start = map.valueStart(0)
  }

  get loopbackAddress(): number {
    const address = this.#words[this.#start + ServiceSetting.LOOPBACK_ADDRESS] as number
    return address === 0 ? LOOPBACK_ADDRESS_DEFAULT : address
  }

  set loopbackAddress(address: number) {
    this.#set(ServiceSetting.LOOPBACK_ADDRESS, address)
  }

  get loopbackMode(): LoopbackMode {
    return this.#words[this.#start + ServiceSetting.LOOPBACK_MODE] as LoopbackMode
  }

  set loopbackMode(mode: LoopbackMode) {
    this.#set(ServiceSetting.LOOPBACK_MODE, mode)
  }

  get noBackendResponse(): NoBackendResponse {
    return this.#words[this.#start + ServiceSetting.NO_BACKEND_RESPONSE] as NoBackendResponse
  }

  set noBackendResponse(response: NoBackendResponse) {
    this.#set(ServiceSetting.NO_BACKEND_RESPONSE, response)
  }

  /** An int32, equal on all nodes of a cluster, so that they choose the same backend for a flow. */
  get maglevSeed(): number {
    return this.#words[this.#start + ServiceSetting.MAGLEV_SEED] as number
  }

  set maglevSeed(seed: number) {
    this.#set(ServiceSetting.MAGLEV_SEED, seed)
  }

  #set(word: number, value: number): void {
    this.#words[this.#start + word] = value
    markChanged(this.#words)
  }

  /** May clients from outside use ClusterIPs (Cilium: --bpf-lb-external-clusterip)? At first not. */
  get externalClusterIp(): boolean {
    return this.#words[this.#start + ServiceSetting.EXTERNAL_CLUSTER_IP] !== 0
  }

  set externalClusterIp(isAllowed: boolean) {
    this.#words[this.#start + ServiceSetting.EXTERNAL_CLUSTER_IP] = isAllowed ? 1 : 0
  }
}
