/** Changes to maps that can be taken back while a larger one is under way. Control plane only. */
import { ErrorCode, RingpathError } from '../base/errors.js'
import type { HashMap } from '../maps/hash-map.js'
import { FULL, NOT_FOUND, UpdateFlag } from '../maps/map.js'

/** What takes back the steps made so far, the last one first. */
export class UndoList {
  readonly #steps: (() => void)[] = []

  add(step: () => void): void {
    this.#steps.push(step)
  }

  run(): void {
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) step()
  }
}

/**
 * Writes an entry that is not there yet; one that is stays as it is. EMAP_FULL when there is no
 * room.
 */
export function insert(map: HashMap, key: Int32Array, value: Int32Array, undo: UndoList): void {
  if (map.lookup(key) !== NOT_FOUND) return
  if (map.update(key, value, UpdateFlag.NO_EXIST) === FULL) {
    const { name } = map.spec
    const message = `map ${name}: full with ${map.size} entries; raise its size`
    throw new RingpathError(ErrorCode.MAP_FULL, message)
  }
  const copy = key.slice()
  undo.add(() => map.delete(copy))
}
