/**
 * The control plane's side of the reverse NAT table. A frontend keeps its index for its life. Freed
 * ones are used again as late as possible, for connections of a deleted service may still name
 * them.
 */
import { ErrorCode, RingpathError } from '../base/errors.js'
import type { ArrayMap } from '../maps/array-map.js'
import { ReverseNat } from './service-layout.js'

export class ReverseNatWriter {
  readonly #map: ArrayMap
  readonly #isUsed: Uint8Array
  #next = 1

  constructor(map: ArrayMap) {
    this.#map = map
    this.#isUsed = new Uint8Array(map.capacity)
  }

  /**
   * Notes an index as used by a frontend of an earlier control plane; it, and all before it, are
   * given out last.
   */
  adopt(index: number): void {
    this.#isUsed[index] = 1
    this.#next = Math.max(this.#next, index + 1)
  }

  /** Empties the rows that no frontend has. */
  clearUnused(): void {
    const { words } = this.#map
    for (let i = 1; i < this.#map.capacity; i++) {
      // Reading leaves pages that nobody wrote yet unclaimed.
      const isWritten = words[this.#map.valueStart(i) + ReverseNat.PORT] !== 0
      if (isWritten && this.#isUsed[i] === 0) this.#clear(i)
    }
  }

  /** Writes a row for a new frontend and returns its index; EMAP_FULL when all are in use. */
  add(address: Int32Array, port: number): number {
    const count = this.#map.capacity - 1
    for (let i = 0; i < count; i++) {
      const index = 1 + ((this.#next - 1 + i) % count)
      if (this.#isUsed[index] === 1) continue
      this.#isUsed[index] = 1
      this.#next = index + 1
      const start = this.#map.valueStart(index)
      this.#map.words.set(address, start + ReverseNat.ADDRESS)
      Atomics.store(this.#map.words, start + ReverseNat.PORT, port)
      return index
    }
    const message = `map ${this.#map.spec.name}: all ${count} indexes are in use; raise its size`
    throw new RingpathError(ErrorCode.MAP_FULL, message)
  }

  remove(index: number): void {
    this.#isUsed[index] = 0
    this.#clear(index)
  }

  #clear(index: number): void {
    Atomics.store(this.#map.words, this.#map.valueStart(index) + ReverseNat.PORT, 0)
  }
}
