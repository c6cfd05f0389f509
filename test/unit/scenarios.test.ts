/** Every scenario of test/scenarios on a node in memory; docs/scenarios.md. */
import t from 'tap'
import { loadScenarios } from '../support/scenario/load.js'
import { MemoryWorld } from '../support/scenario/memory-world.js'
import { runScenario } from '../support/scenario/run.js'

const scenarios = loadScenarios()

for (const loaded of scenarios) {
  const { file, scenario, node } = loaded
  t.test(`${file}: ${scenario.name}`, async (t) => {
    const world = await MemoryWorld.create(node)
    const differences = await runScenario(loaded, world)
    if (differences.length === 0) t.pass(scenario.reference)
    else t.fail(scenario.reference, { differences })
    world.close()
  })
}
