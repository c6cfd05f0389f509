/**
 * What the node's NAT does, as the control plane says; effective with the next packet. Ports are
 * written by one store, so that a range is always a whole one.
 */
import type { ArrayMap } from '../maps/array-map.js'
import type { MapSpec } from '../maps/map.js'
import { SettingsRow } from '../maps/settings-row.js'

/** Behind the NodePorts, as Cilium's. */
export const NAT_PORT_LOW_DEFAULT = 32_768
export const NAT_PORT_HIGH_DEFAULT = 65_535

const FLAGS = 0
/** Low port in the upper half, high port in the lower; 0: the default. */
const PORTS = 1
const WORDS = 16

const IS_MASQUERADING = 1
const MASQUERADES_REMOTE_NODES = 2

export const NAT_SETTINGS_SPEC: MapSpec = {
  name: 'nat_settings',
  type: 'array',
  keyWords: 0,
  valueWords: WORDS,
  maxEntries: 1,
}

/** The ports that mappings may have, both ends included; NodeSettings is one. */
export interface NatPortRange {
  readonly natPortLow: number
  readonly natPortHigh: number
}

export class NatSettings {
  readonly #row: SettingsRow

  constructor(map: ArrayMap) {
    this.#row = new SettingsRow(map)
  }

  /** Pods' packets to the outside leave from the node's address. */
  get isMasquerading(): boolean {
    return (this.#flags & IS_MASQUERADING) !== 0
  }

  /** Other nodes see the node's address too, though they could answer the pod's. */
  get masqueradesRemoteNodes(): boolean {
    return (this.#flags & MASQUERADES_REMOTE_NODES) !== 0
  }

  get natPortLow(): number {
    return this.#ports >>> 16
  }

  get natPortHigh(): number {
    return this.#ports & 0xffff
  }

  /** @param low 1 to `high`, which is at most 65535 */
  set(isMasquerading: boolean, remoteNodes: boolean, low: number, high: number): void {
    const remote = remoteNodes ? MASQUERADES_REMOTE_NODES : 0
    this.#row.set(PORTS, (low << 16) | high)
    this.#row.set(FLAGS, (isMasquerading ? IS_MASQUERADING : 0) | remote)
  }

  get #flags(): number {
    return this.#row.get(FLAGS)
  }

  get #ports(): number {
    const ports = this.#row.get(PORTS)
    return ports === 0 ? (NAT_PORT_LOW_DEFAULT << 16) | NAT_PORT_HIGH_DEFAULT : ports
  }
}
