/**
 * How many ports of a NAT address are in use toward one destination address and port: what runs out
 * first, for a port can be used again toward another destination. Kept by all
 * workers; the control plane reads it (`readDestinations`). When there are more destinations than room
 * for them, those with the fewest ports are forgotten, and begin at zero when they come again.
 */
import type { LruHashMap } from '../maps/lru-hash-map.js'
import { EXISTS, type MapSpec, NOT_FOUND, UpdateFlag } from '../maps/map.js'
import { formatIpv4 } from '../wire/address.js'
import { SnatKey } from './snat-entry.js'

/** NAT address, destination address, destination port << 16 | protocol. */
const KEY_WORDS = 3
/** Count of an entry that is being deleted: far below anything that is added meanwhile. */
const GOING = -(2 ** 30)
/** Times that an entry is met while it goes. */
const TRIES_MAX = 1_000

export const natDestinationsSpec = (maxEntries: number): MapSpec => ({
  name: 'nat_destinations',
  type: 'lru-hash',
  keyWords: KEY_WORDS,
  valueWords: 1,
  maxEntries,
  // The count itself: see above who is forgotten.
  stampWord: 0,
})

export class DestinationUse {
  readonly #map: LruHashMap
  readonly #key = new Int32Array(KEY_WORDS)
  readonly #value = new Int32Array(1)

  constructor(map: LruHashMap) {
    this.#map = map
  }

  /** Ports in use toward the source of the reverse entry with this key. */
  count(reverseKey: Int32Array): number {
    this.#readKey(reverseKey)
    const slot = this.#map.lookup(this.#key)
    return slot === NOT_FOUND
      ? 0
      : Math.max(0, this.#map.words[this.#map.valueStart(slot)] as number)
  }

  take(reverseKey: Int32Array): void {
    this.#readKey(reverseKey)
    const map = this.#map
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const slot = map.lookup(this.#key)
      if (slot === NOT_FOUND) {
        this.#value[0] = 1
        if (map.update(this.#key, this.#value, UpdateFlag.NO_EXIST) !== EXISTS) return
        continue
      }
      const generation = map.foundGeneration
      const count = map.valueStart(slot)
      if (Atomics.add(map.words, count, 1) >= 0 && map.generation(slot) === generation) return
      // It goes, or has gone: counted is what comes in its place.
      Atomics.sub(map.words, count, 1)
    }
  }

  release(reverseKey: Int32Array): void {
    this.#readKey(reverseKey)
    const map = this.#map
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const slot = map.lookup(this.#key)
      if (slot === NOT_FOUND) return
      const generation = map.foundGeneration
      const count = map.valueStart(slot)
      const before = map.words[count] as number
      if (map.generation(slot) !== generation) continue
      // It goes, or was forgotten and counted anew: then there is nothing left of this one.
      if (before <= 0) return
      // The last one closes the entry, which nobody counts on after: so it is never 0, nor below but GOING.
      const after = before === 1 ? GOING : before - 1
      if (Atomics.compareExchange(map.words, count, before, after) !== before) continue
      // Evicted in between, and another destination's: it gets its one back.
      const isLost = after === GOING && !map.deleteSlot(slot, generation)
      if (isLost) Atomics.add(map.words, count, 1 - GOING)
      return
    }
  }

  reset(): void {
    for (const slot of this.#map.slots()) this.#map.deleteSlot(slot)
  }

  #readKey(reverseKey: Int32Array): void {
    const key = this.#key
    key[0] = reverseKey[SnatKey.DESTINATION] as number
    key[1] = reverseKey[SnatKey.SOURCE] as number
    const port = (reverseKey[SnatKey.PORTS] as number) >>> 16
    key[2] = (port << 16) | ((reverseKey[SnatKey.PROTOCOL] as number) & 0xff)
  }
}

/** One destination and what it takes of the NAT's ports. */
export interface DestinationLine {
  readonly natAddress: string
  readonly address: string
  /** 0 for ICMP. */
  readonly port: number
  /** IANA's number. */
  readonly protocol: number
  readonly ports: number
}

/** The destinations with most ports in use, at most `limit`, the fullest first. */
export function readDestinations(map: LruHashMap, limit = 20): DestinationLine[] {
  const key = new Int32Array(KEY_WORDS)
  const value = new Int32Array(1)
  const lines: DestinationLine[] = []
  for (const slot of map.slots()) {
    if (!map.read(slot, key, value) || (value[0] ?? 0) <= 0) continue
    const [natAddress = 0, address = 0, last = 0] = key
    lines.push({
      natAddress: formatIpv4(natAddress),
      address: formatIpv4(address),
      port: last >>> 16,
      protocol: last & 0xffff,
      ports: value[0] ?? 0,
    })
  }
  return lines.sort((a, b) => b.ports - a.ports).slice(0, limit)
}
