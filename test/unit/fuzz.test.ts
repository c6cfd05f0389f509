/**
 * A seeded fuzzer over whole frames and sequences of them. `SEED=` repeats a run, `FUZZ_FRAMES=` says
 * how many frames it has. A failure names the seed of its round: with that and FUZZ_FRAMES=1 the round
 * alone runs again.
 */
import t from 'tap'
import { Prng } from '../../src/base/prng.js'
import { canaryViolations } from '../support/hostile/corpus.js'
import { FrameFuzzer, type FuzzFrame } from '../support/hostile/fuzz.js'
import { corpusOf, FUZZ_ADDRESSES, fuzzWorld, randomChange } from '../support/hostile/fuzz-world.js'
import { Watch } from '../support/hostile/watch.js'
import { toHex } from '../support/scenario/hex.js'
import { loadScenarios } from '../support/scenario/load.js'

const FRAMES = Number(process.env.FUZZ_FRAMES ?? 6000)
const ROUND_FRAMES = 1000
const EVERY_SCENARIO = 9

// Who asks for more frames waits for them.
t.setTimeout(0)

/** What does not hold, with the frame that showed it; the round ends there. */
async function playRound(seed: number, corpus: readonly FuzzFrame[]): Promise<string[]> {
  const prng = new Prng(seed)
  const world = await fuzzWorld(prng)
  const fuzzer = new FrameFuzzer(world, prng, corpus, FUZZ_ADDRESSES)
  let watch = new Watch(world)
  const failures: string[] = []
  for (let i = 0; i < ROUND_FRAMES && failures.length === 0; i++) {
    const chance = prng.below(200)
    if (chance === 0) world.passTime(1 + prng.below(120))
    if (chance === 1) await world.configure(randomChange(prng))
    if (chance <= 1) watch = new Watch(world)
    const batch = fuzzer.next()
    if (chance > 190) for (let more = 0; more < 8; more++) batch.push(...fuzzer.next())
    const judge = (frames: readonly FuzzFrame[]) => {
      const [only] = frames
      const isOne = frames.length === 1 && only !== undefined
      const { sent, violations } = isOne ? watch.send(only.port, only.frame) : watch.sendAll(frames)
      fuzzer.remember(sent)
      if (violations.length === 0) return
      const texts = frames.map(({ port, frame }) => `${port} ${toHex(frame)}`)
      failures.push(`SEED=${seed} FUZZ_FRAMES=1, frame ${i}`, ...texts, ...violations)
    }
    if (chance > 190) judge(batch)
    else for (const frame of batch) judge([frame])
  }
  failures.push(...watch.violationsOfState(), ...canaryViolations(watch, world, 7))
  world.close()
  return failures
}

t.test('nothing that must hold is broken by random frames', async (t) => {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000_007) | 0
  t.comment(`SEED=${seed} FUZZ_FRAMES=${FRAMES}`)
  const scenarios = loadScenarios('').filter((_, i) => i % EVERY_SCENARIO === 0)
  const corpus = await corpusOf(scenarios)
  const rounds = Math.ceil(FRAMES / ROUND_FRAMES)
  for (let round = 0; round < rounds; round++) {
    const failures = await playRound((seed + round) | 0, corpus)
    if (failures.length > 0) {
      t.same(failures, [])
      return
    }
  }
  t.pass(`${rounds} rounds`)
})
