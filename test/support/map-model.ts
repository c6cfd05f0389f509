/** Maps against plain models: the same random operations on both, compared after each. */
import type { Prng } from '../../src/base/prng.js'
import type { HashTable } from '../../src/maps/hash-table.js'
import type { LpmMap } from '../../src/maps/lpm-map.js'
import { NOT_FOUND } from '../../src/maps/map.js'

/** A key as text, for a plain Map. */
export const keyText = (key: ArrayLike<number>): string => Array.from(key).join(',')

/** One of `kinds` keys, filled into `key`: the first word decides, the others follow from it. */
export function fillKey(key: Int32Array, kind: number): Int32Array {
  for (let i = 0; i < key.length; i++) key[i] = Math.imul(kind + 1, 0x9e3779b1 + i * 2)
  return key
}

export function fillValue(value: Int32Array, prng: Prng): Int32Array {
  for (let i = 0; i < value.length; i++) value[i] = prng.nextInt32()
  return value
}

/** All entries by key text, read through `read`. */
export function contentsOf(map: HashTable): Map<string, string> {
  const key = new Int32Array(map.spec.keyWords)
  const value = new Int32Array(map.spec.valueWords)
  const contents = new Map<string, string>()
  for (const slot of map.slots()) {
    if (map.read(slot, key, value)) contents.set(keyText(key), keyText(value))
  }
  return contents
}

const answer = new Int32Array(1)

/** The first word of the value that an address is answered with, or NOT_FOUND. */
export function answerOf(map: LpmMap, address: Int32Array, start = 0): number {
  return map.lookupInto(address, start, answer) === NOT_FOUND ? NOT_FOUND : (answer[0] as number)
}

/** Slots of each state, for tests of what deletion leaves behind. */
export function countStates(map: HashTable): { empty: number; deleted: number; live: number } {
  const counts = { empty: 0, deleted: 0, live: 0 }
  for (let slot = 0; slot < map.slotCount; slot++) {
    const state = map.words[map.keyStart(slot) - 1]
    if (map.isLive(slot)) counts.live++
    else if (state === 0) counts.empty++
    else counts.deleted++
  }
  return counts
}
