/**
 * One process of bench/warm-start.ts: a node meets its first packets, with or without training
 * before. Prints the nanoseconds of each burst as a line of JSON, behind a mark, so that what V8 tells of
 * deoptimisations before it is left out. Arguments: `cold`, `trained` or `standby`, and flows of each way.
 */
import { writeSync } from 'node:fs'
import { performance } from 'node:perf_hooks'
import { STANDBY_TRAINING, trainPipeline } from '../src/engine/training/training.js'
import { tuneV8 } from '../src/engine/v8-flags.js'
import { SetupRig } from './chain/setup-rig.js'

/** Known to bench/warm-start.ts. */
export const FIRST_PACKET_MARK = '=== first packet ==='
const NANOSECONDS = 1e6
const STDOUT = 1

tuneV8()
const [mode, flowsText = '32768'] = process.argv.slice(2)
const flows = Number(flowsText)
const trainings = { trained: {}, standby: STANDBY_TRAINING, cold: { roundsMax: 0 } }
const report = trainPipeline(trainings[mode as keyof typeof trainings])
const rigs = [new SetupRig('full', flows), new SetupRig('pods', flows)]
const nanoseconds: number[] = []
writeSync(STDOUT, `${FIRST_PACKET_MARK}\n`)
// A flood of SYNs by a service to the outside, the packets that follow, and the same between pods.
for (const rig of rigs) {
  for (const run of [rig.openBurst, rig.goOnBurst]) {
    for (let flow = 0; flow < flows; flow += rig.burstFrames) {
      const begin = performance.now()
      run.call(rig, flow)
      nanoseconds.push((performance.now() - begin) * NANOSECONDS)
    }
  }
}
writeSync(STDOUT, `${JSON.stringify({ nanoseconds, trainedMilliseconds: report.milliseconds })}\n`)
