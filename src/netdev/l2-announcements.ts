/** Addresses, mostly of services, that this node answers ARP for on an uplink (Cilium: bpf/lib/l2_responder.h). */
import type { HashMap } from '../maps/hash-map.js'
import { NOT_FOUND } from '../maps/map.js'
import { ANNOUNCEMENT_KEY_WORDS, ANSWERS_WORD, type NetdevMaps } from './netdev-maps.js'

export class L2Announcements {
  readonly #map: HashMap
  readonly #key = new Int32Array(ANNOUNCEMENT_KEY_WORDS)

  constructor(maps: NetdevMaps) {
    this.#map = maps.announced
  }

  /** True when the address is ours to answer for on this port; counts the answer. */
  take(address4: number, port: number): boolean {
    this.#key[0] = address4
    this.#key[1] = port
    const slot = this.#map.lookup(this.#key)
    if (slot === NOT_FOUND) return false
    const words = this.#map.words
    const at = this.#map.valueStart(slot) + ANSWERS_WORD
    words[at] = (words[at] as number) + 1
    return true
  }
}
