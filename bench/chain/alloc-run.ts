/**
 * The full chain for a while, as a process of its own, as a worker has a thread: what another benchmark
 * left on the heap is collected by somebody else, and what this one left, before it begins. Prints an
 * `AllocReport` as JSON.
 *
 * Arguments: seconds, frames to warm up. Needs --expose-gc.
 */
import { tuneV8 } from '../../src/engine/v8-flags.js'
import { type HeapReport, HeapWatch } from '../lib/heap-watch.js'
import { ChainRig } from './chain-rig.js'

export interface AllocReport extends HeapReport {
  readonly frames: number
}

const FLOWS = 1000
/** Whole ticks of the rig. */
const FRAMES_PER_STEP = 1 << 20

const [seconds = '1', warmUp = '1000'] = process.argv.slice(2)
// As the datapath's process does.
tuneV8()
const rig = new ChainRig('full', FLOWS)
rig.run(Number(warmUp))
const watch = new HeapWatch()
let frames = 0
globalThis.gc?.({ type: 'minor', execution: 'sync' })
watch.begin()
const end = performance.now() + Number(seconds) * 1000
do {
  frames += rig.run(FRAMES_PER_STEP)
} while (performance.now() < end)
watch.end()
console.log(JSON.stringify({ ...(await watch.report()), frames } satisfies AllocReport))
