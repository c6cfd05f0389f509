/** Addresses announced on this uplink: ARP about them is ours. */
import type { HashMap } from '../../maps/hash-map.js'
import { Revisions } from '../../maps/revision.js'
import { ANNOUNCEMENT_KEY_WORDS } from '../../netdev/netdev-maps.js'
import type { DatapathMaps } from '../../pipeline/datapath-maps.js'
import { AddressBytes, type SteeringPart, type SteeringProgram } from './steering-program.js'

export class AnnouncedSteering implements SteeringPart {
  readonly #map: HashMap
  readonly #port: number
  readonly #program: SteeringProgram
  readonly #revisions: Revisions
  readonly #bytes = new AddressBytes()
  #told: ReadonlySet<number> = new Set()
  #seen: number | undefined

  constructor(maps: DatapathMaps, program: SteeringProgram, port: number) {
    this.#map = maps.netdev.announced
    this.#port = port
    this.#program = program
    this.#revisions = new Revisions([this.#map])
  }

  step(): boolean {
    const revision = this.#revisions.sum
    if (revision === this.#seen) return true
    this.#seen = revision
    const wanted = this.#wanted()
    for (const address of this.#told) {
      if (!wanted.has(address)) this.#program.removeAnnounced(this.#bytes.of(address))
    }
    for (const address of wanted) {
      if (!this.#told.has(address)) this.#program.addAnnounced(this.#bytes.of(address))
    }
    this.#told = wanted
    return true
  }

  #wanted(): Set<number> {
    const wanted = new Set<number>()
    const key = new Int32Array(ANNOUNCEMENT_KEY_WORDS)
    const value = new Int32Array(1)
    for (const slot of this.#map.slots()) {
      if (!this.#map.read(slot, key, value) || key[1] !== this.#port) continue
      wanted.add(key[0] as number)
    }
    return wanted
  }
}
