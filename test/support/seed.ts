/** Random tests: one seed for the whole file, printed, and taken from `SEED=` to repeat a run. */
import type { Test } from 'tap'
import { Prng } from '../../src/base/prng.js'

export function seededPrng(t: Pick<Test, 'comment'>): Prng {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000_007) | 0
  t.comment(`SEED=${seed}`)
  return new Prng(seed)
}
