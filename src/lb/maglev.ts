/**
 * Maglev hashing (Eisenbud and others, "Maglev: A Fast and Reliable Software Network Load
 * Balancer", NSDI 2016, section 3.4): a table in which each backend has its share of the places,
 * and keeps nearly all of them when others come or go. Weights as in Envoy: a backend takes its
 * turn in a round only when its share is due.
 *
 * The table depends on the set of backends and the seed alone, not on their order, so that nodes
 * agree.
 */
import { NO_BACKEND } from './service-layout.js'

/** Primes, so that every step visits every place; Cilium's (pkg/maglev). */
export const MAGLEV_SIZES: readonly number[] = [
  251, 509, 1021, 2039, 4093, 8191, 16_381, 32_749, 65_521, 131_071,
]
export const MAGLEV_SIZE_DEFAULT = 16_381

export interface MaglevBackend {
  readonly id: number
  readonly address4: number
  readonly port: number
  /** 1 or more; only the ratios count. */
  readonly weight: number
}

/** Fills `table` with backend ids; all zero (NO_BACKEND) without backends. */
export function fillMaglev(
  table: Int32Array,
  backends: readonly MaglevBackend[],
  seed: number,
): void {
  table.fill(NO_BACKEND)
  const size = table.length
  const sorted = [...backends].sort(byAddress)
  const count = sorted.length
  if (count === 0) return
  const steps = sorted.map((b) => 1 + ((mix(b, seed ^ STEP_SEED) >>> 0) % (size - 1)))
  const nexts = sorted.map((b) => (mix(b, seed) >>> 0) % size)
  const weights = sorted.map((b) => b.weight)
  const heaviest = Math.max(...weights)
  // A turn is due when round * weight has reached what the turns so far are worth.
  const dues = new Array<number>(count).fill(0)
  let filled = 0
  for (let round = 1; filled < size; round++) {
    for (let i = 0; i < count && filled < size; i++) {
      if (round * (weights[i] as number) < (dues[i] as number)) continue
      dues[i] = (dues[i] as number) + heaviest
      let place = nexts[i] as number
      const step = steps[i] as number
      while (table[place] !== NO_BACKEND) place = (place + step) % size
      table[place] = (sorted[i] as MaglevBackend).id
      nexts[i] = (place + step) % size
      filled++
    }
  }
}

/**
 * The hash of a flow by which its place in a table is found, over the whole tuple: two services
 * with the same backends spread a client's flows differently.
 *
 * @param ports source << 16 | destination; with source 0 all flows of a client have the same hash
 */
export function maglevHash(
  words: Int32Array,
  start: number,
  ports: number,
  protocol: number,
  seed: number,
): number {
  let h = seed ^ FLOW_SEED
  for (let i = 0; i < 8; i++) h = stir(h, words[start + i] as number)
  h = stir(h, ports)
  h = stir(h, protocol & 0xff)
  return finish(h)
}

const STEP_SEED = 0x5bd1e995
const FLOW_SEED = 0x1b873593

function mix(backend: MaglevBackend, seed: number): number {
  return finish(stir(stir(seed ^ 0x2545f491, backend.address4), backend.port))
}

/** One step of MurmurHash3 (public domain). */
function stir(h: number, word: number): number {
  let k = Math.imul(word, 0xcc9e2d51)
  k = (k << 15) | (k >>> 17)
  const mixed = h ^ Math.imul(k, 0x1b873593)
  return (Math.imul((mixed << 13) | (mixed >>> 19), 5) + 0xe6546b64) | 0
}

function finish(mixed: number): number {
  let h = mixed
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return h ^ (h >>> 16)
}

function byAddress(a: MaglevBackend, b: MaglevBackend): number {
  return (a.address4 >>> 0) - (b.address4 >>> 0) || a.port - b.port
}
