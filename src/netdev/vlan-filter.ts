/** VLAN ids whose frames may enter by an uplink (Cilium: --vlan-bpf-bypass). At first none. */
import type { ArrayMap } from '../maps/array-map.js'
import { type NetdevMaps, VLAN_IDS } from './netdev-maps.js'

export class VlanFilter {
  readonly #map: ArrayMap
  readonly #start: number

  constructor(maps: NetdevMaps) {
    this.#map = maps.vlans
    this.#start = maps.vlans.valueStart(0)
  }

  /** @param id 0 to 4095 */
  allows(id: number): boolean {
    return (((this.#map.words[this.#start + (id >> 5)] as number) >>> (id & 31)) & 1) !== 0
  }

  /** Control plane: those and no others. */
  set(ids: Iterable<number>): void {
    const wanted = new Int32Array(VLAN_IDS / 32)
    for (const id of ids) wanted[id >> 5] = (wanted[id >> 5] as number) | (1 << (id & 31))
    for (const [i, word] of wanted.entries()) {
      Atomics.store(this.#map.words, this.#start + i, word)
    }
    this.#map.changes.mark()
  }

  /** The ids that pass, in order. */
  ids(): number[] {
    return Array.from({ length: VLAN_IDS }, (_, id) => id).filter((id) => this.allows(id))
  }
}
