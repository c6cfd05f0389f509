/**
 * Hostile input, systematically: every frame of every scenario, in the state that the scenario sends
 * it in, cut at every length and with every byte of its headers changed. `HOSTILE=all` tries all of
 * it; without it every third scenario, and of its mutations every n-th, another part for each.
 */
import t from 'tap'
import { canaryViolations, situationAfter } from '../support/hostile/corpus.js'
import { byteMutations, truncations } from '../support/hostile/mutate.js'
import { Watch } from '../support/hostile/watch.js'
import { toHex } from '../support/scenario/hex.js'
import { loadScenarios } from '../support/scenario/load.js'

const EVERY_TRUNCATION = process.env.HOSTILE === 'all' ? 1 : 8
const EVERY_MUTATION = process.env.HOSTILE === 'all' ? 1 : 40
const EVERY_SCENARIO = process.env.HOSTILE === 'all' ? 1 : 3
const FAILURES_TOLD = 10

// Who asks for more frames waits for them.
t.setTimeout(0)

t.test('no cut and no changed byte of any scenario’s frame breaks what must hold', async (t) => {
  let frames = 0
  let turn = 0
  const failures: string[] = []
  const scenarios = loadScenarios().filter((_, i) => i % EVERY_SCENARIO === 0)
  for (const loaded of scenarios) {
    const name = `${loaded.file}: ${loaded.scenario.name}`
    const situation = await situationAfter(loaded)
    const { world } = situation
    const watch = new Watch(world)
    const judge = (port: string, frame: Uint8Array) => {
      frames++
      const { violations } = watch.send(port, frame)
      if (violations.length > 0) failures.push(`${name}: ${port} ${toHex(frame)}`, ...violations)
    }
    for (const { port, frame } of situation.frames) {
      for (const cut of truncations(frame)) if (turn++ % EVERY_TRUNCATION === 0) judge(port, cut)
      for (const changed of byteMutations(frame)) {
        if (turn++ % EVERY_MUTATION === 0) judge(port, changed)
      }
    }
    const rest = [...watch.violationsOfState(), ...canaryViolations(watch, world, 7)]
    failures.push(...rest.map((violation) => `${name}: afterwards: ${violation}`))
    world.close()
    if (failures.length > FAILURES_TOLD) break
  }
  t.comment(`${frames} frames`)
  t.same(failures.slice(0, FAILURES_TOLD), [])
  t.ok(frames > 1000, 'the scenarios are there')
})
