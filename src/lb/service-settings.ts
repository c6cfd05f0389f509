/**
 * What all services of a node have in common; written by the control plane, effective with the next
 * packet.
 */
import type { ArrayMap } from '../maps/array-map.js'
import { SettingsRow } from '../maps/settings-row.js'
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
  readonly #row: SettingsRow

  constructor(map: ArrayMap) {
    this.#row = new SettingsRow(map)
  }

  get loopbackAddress(): number {
    const address = this.#row.get(ServiceSetting.LOOPBACK_ADDRESS)
    return address === 0 ? LOOPBACK_ADDRESS_DEFAULT : address
  }

  set loopbackAddress(address: number) {
    this.#row.set(ServiceSetting.LOOPBACK_ADDRESS, address)
  }

  get loopbackMode(): LoopbackMode {
    return this.#row.get(ServiceSetting.LOOPBACK_MODE) as LoopbackMode
  }

  set loopbackMode(mode: LoopbackMode) {
    this.#row.set(ServiceSetting.LOOPBACK_MODE, mode)
  }

  get noBackendResponse(): NoBackendResponse {
    return this.#row.get(ServiceSetting.NO_BACKEND_RESPONSE) as NoBackendResponse
  }

  set noBackendResponse(response: NoBackendResponse) {
    this.#row.set(ServiceSetting.NO_BACKEND_RESPONSE, response)
  }

  /** An int32, equal on all nodes of a cluster, so that they choose the same backend for a flow. */
  get maglevSeed(): number {
    return this.#row.get(ServiceSetting.MAGLEV_SEED)
  }

  set maglevSeed(seed: number) {
    this.#row.set(ServiceSetting.MAGLEV_SEED, seed)
  }

  /** May clients from outside use ClusterIPs (Cilium: --bpf-lb-external-clusterip)? At first not. */
  get externalClusterIp(): boolean {
    return this.#row.get(ServiceSetting.EXTERNAL_CLUSTER_IP) !== 0
  }

  set externalClusterIp(isAllowed: boolean) {
    this.#row.set(ServiceSetting.EXTERNAL_CLUSTER_IP, isAllowed ? 1 : 0)
  }
}
