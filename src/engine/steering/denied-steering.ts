/**
 * Denied sources, which the program drops before the kernel or we see them. The map is compared in
 * pieces when it has changed: a list has thousands of prefixes, and each costs a system call.
 */
import type { LpmMap } from '../../maps/lpm-map.js'
import { Revisions } from '../../maps/revision.js'
import type { DatapathMaps } from '../../pipeline/datapath-maps.js'
import { AddressBytes, type SteeringPart, type SteeringProgram } from './steering-program.js'

/** Of one step. */
const CHANGES_MAX = 64
const PREFIX_WORDS = 5

/** A prefix as one number: the address, then eight bits of length. */
const codeOf = (address4: number, bits: number): number => (address4 >>> 0) * 256 + bits

export class DeniedSteering implements SteeringPart {
  readonly #map: LpmMap
  readonly #program: SteeringProgram
  readonly #refused: (reason: string) => void
  readonly #revisions: Revisions
  readonly #bytes = new AddressBytes()
  readonly #told = new Set<number>()
  /** Prefixes to add, then those to take out; a prefix is told before another one goes. */
  #toAdd: number[] = []
  #toRemove: number[] = []
  #seen: number | undefined

  constructor(maps: DatapathMaps, program: SteeringProgram, refused: (reason: string) => void) {
    this.#map = maps.netdev.denied
    this.#program = program
    this.#refused = refused
    this.#revisions = new Revisions([this.#map])
  }

  step(): boolean {
    const revision = this.#revisions.sum
    if (revision !== this.#seen) {
      this.#seen = revision
      this.#compare()
    }
    for (let changes = 0; changes < CHANGES_MAX; changes++) if (!this.#changeOne()) return true
    return false
  }

  #compare(): void {
    const wanted = new Set<number>()
    const prefix = new Int32Array(PREFIX_WORDS)
    const value = new Int32Array(1)
    for (const slot of this.#map.slots()) {
      if (!this.#map.read(slot, prefix, value)) continue
      wanted.add(codeOf(prefix[3] as number, prefix[4] as number))
    }
    this.#toAdd = [...wanted].filter((code) => !this.#told.has(code))
    this.#toRemove = [...this.#told].filter((code) => !wanted.has(code))
  }

  /** False when there is nothing left to do. */
  #changeOne(): boolean {
    const added = this.#toAdd.pop()
    if (added !== undefined) {
      this.#add(added)
      return true
    }
    const removed = this.#toRemove.pop()
    if (removed === undefined) return false
    this.#program.removeDenied(this.#bytes.of(Math.floor(removed / 256) | 0), removed % 256)
    this.#told.delete(removed)
    return true
  }

  #add(code: number): void {
    try {
      this.#program.addDenied(this.#bytes.of(Math.floor(code / 256) | 0), code % 256)
      this.#told.add(code)
    } catch (error) {
      // The program's map is full: such packets are dropped here, as far as they are ours.
      this.#toAdd = []
      const reason = error instanceof Error ? error.message : String(error)
      this.#refused(`not all denied sources can be steered: ${reason}`)
    }
  }
}
