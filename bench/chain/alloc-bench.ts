/**
 * What the engine allocates and collects at full load: a minute of the full chain (seconds, when it
 * has to be quick).
 */
import { tuneV8 } from '../../src/engine/v8-flags.js'
import type { Benchmark, BenchOptions } from '../lib/benchmark.js'
import { HeapWatch } from '../lib/heap-watch.js'
import { type BenchResult, summarize } from '../lib/result.js'
import { ChainRig } from './chain-rig.js'

const FLOWS = 1000
const SECONDS = { full: 60, quick: 5, smoke: 0.05 } as const
const WARM_UP_FRAMES = { full: 2_000_000, quick: 2_000_000, smoke: 1000 } as const
const FRAMES_PER_STEP = 1 << 16
const MINUTE_SECONDS = 60

export const allocBenchmark: Benchmark = {
  name: 'alloc',

  problem: () => Promise.resolve(undefined),

  async run(options: BenchOptions): Promise<BenchResult[]> {
    tuneV8()
    const rig = new ChainRig('full', FLOWS)
    rig.run(WARM_UP_FRAMES[options.size])
    const seconds = SECONDS[options.size]
    const watch = new HeapWatch()
    let frames = 0
    watch.begin()
    const end = performance.now() + seconds * 1000
    while (performance.now() < end) frames += rig.run(FRAMES_PER_STEP)
    watch.end()
    const { collections, heapBytes } = await watch.report()
    const note = `${frames} frames of ${FLOWS} flows in ${seconds} s, ${collections} collections`
    const perMinute = (collections * MINUTE_SECONDS) / seconds
    return [
      summarize({ name: 'alloc/full', unit: 'bytes/frame', values: [heapBytes / frames], note }),
      summarize({ name: 'alloc/collections', unit: 'per minute', values: [perMinute], note }),
    ]
  },
}
