/** The scenarios that are marked `live`, over real AF_XDP (docs/scenarios.md). */
import t from 'tap'
import { LiveNode } from '../support/live-node.js'
import { LiveStage, LiveWorld } from '../support/scenario/live-world.js'
import { loadScenarios } from '../support/scenario/load.js'
import { runScenario } from '../support/scenario/run.js'

const LIVE_MIN = 20

const all = loadScenarios().filter(({ scenario }) => scenario.live === true)
t.ok(all.length >= LIVE_MIN || process.env.SCENARIO !== undefined, `${all.length} scenarios`)

for (const hasUplink of [false, true]) {
  const scenarios = all.filter(({ node }) => (node.uplink === true) === hasUplink)
  t.test(`on a node ${hasUplink ? 'with' : 'without'} an uplink`, async (t) => {
    const live = await LiveNode.create('scenarios', { hasUplink })
    t.after(() => live.close())
    const stage = await LiveStage.create(live)
    for (const loaded of scenarios) {
      const { file, scenario, node } = loaded
      await t.test(`${file}: ${scenario.name}`, async (t) => {
        const world = await LiveWorld.create(stage, node)
        const differences = await runScenario(loaded, world)
        if (differences.length === 0) t.pass(scenario.reference)
        else t.fail(scenario.reference, { differences })
        world.restore()
      })
    }
  })
}
