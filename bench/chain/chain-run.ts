/**
 * The chain in TypeScript as a process that is told what to run, line by line, as chain-run.c is: V8
 * compiles for the one lane that a worker has (src/pipeline/lane-passes.ts), so each chain has a
 * process of its own, as each worker has a thread.
 *
 * Arguments: chain, flows, frames to warm up. Answered by a `ChainTime` as JSON:
 *
 *   run <frames>        after a pass over all flows that is not measured
 *   sustain <seconds>   in one piece, with the renewals of flows that fall into it
 */
import { createInterface } from 'node:readline'
import { tuneV8 } from '../../src/engine/v8-flags.js'
import { REPEAT_SECONDS } from '../../src/pipeline/flow-access.js'
import type { ChainName } from '../lib/node-scenario.js'
import { ChainRig } from './chain-rig.js'

export interface ChainTime {
  /** Of a frame. */
  readonly nanoseconds: number
  /** The flow lane's share of the frames, 0 to 1. */
  readonly repeated: number
}

const [chain = 'full', flows = '1000', warmUp = '0'] = process.argv.slice(2)
// As the datapath's process does.
tuneV8()
const rig = new ChainRig(chain as ChainName, Number(flows))
rig.prime(Number(warmUp))
console.log('ready')

function timeBetweenRenewals(frames: number): ChainTime {
  // All flows, which began together, are renewed together: now, and not in whichever round is measured then.
  rig.advanceClock(REPEAT_SECONDS)
  rig.run(rig.flows)
  const before = rig.pipeline.framesRepeated
  const nanoseconds = rig.time(frames)
  return { nanoseconds, repeated: (rig.pipeline.framesRepeated - before) / frames }
}

function timeSustained(seconds: number): ChainTime {
  const before = rig.pipeline.framesRepeated
  const { nanoseconds, frames } = rig.timeSustained(seconds)
  return { nanoseconds, repeated: (rig.pipeline.framesRepeated - before) / frames }
}

for await (const line of createInterface(process.stdin)) {
  const [order, amount] = line.split(' ')
  const time = order === 'sustain' ? timeSustained : timeBetweenRenewals
  console.log(JSON.stringify(time(Number(amount))))
}
