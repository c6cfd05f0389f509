/**
 * The VLAN filter: once one VLAN is allowed, the frames of all others come here to be dropped. With
 * none on the list the kernel gets every tagged frame, as before we came.
 */
import { Revisions } from '../../maps/revision.js'
import { VlanFilter } from '../../netdev/vlan-filter.js'
import type { DatapathMaps } from '../../pipeline/datapath-maps.js'
import type { SteeringPart, SteeringProgram } from './steering-program.js'

export class VlanSteering implements SteeringPart {
  readonly #filter: VlanFilter
  readonly #program: SteeringProgram
  readonly #revisions: Revisions
  #told: ReadonlySet<number> = new Set()
  #seen: number | undefined

  constructor(maps: DatapathMaps, program: SteeringProgram) {
    this.#filter = new VlanFilter(maps.netdev)
    this.#program = program
    this.#revisions = new Revisions([maps.netdev.vlans])
  }

  step(): boolean {
    const revision = this.#revisions.sum
    if (revision === this.#seen) return true
    this.#seen = revision
    const wanted = new Set(this.#filter.ids())
    // Allowed before there is a filter, so that no frame of theirs is dropped in between.
    for (const id of wanted) if (!this.#told.has(id)) this.#program.addVlan(id)
    if (wanted.size > 0 !== this.#told.size > 0) this.#program.setVlanFilter(wanted.size > 0)
    for (const id of this.#told) if (!wanted.has(id)) this.#program.removeVlan(id)
    this.#told = wanted
    return true
  }
}
