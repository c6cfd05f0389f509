/**
 * What the engine allocates and collects at full load: a minute of the full chain (seconds, when it
 * has to be quick).
 */
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { bundled } from '../../src/base/bundle.js'
import type { Benchmark, BenchOptions } from '../lib/benchmark.js'
import { type BenchResult, summarize } from '../lib/result.js'
import type { AllocReport } from './alloc-run.js'

const RUN = fileURLToPath(bundled(new URL('./alloc-run.js', import.meta.url)))
const SECONDS = { full: 60, quick: 5, smoke: 0.05 } as const
const WARM_UP_FRAMES = { full: 2_000_000, quick: 2_000_000, smoke: 1000 } as const
const MINUTE_SECONDS = 60

export const allocBenchmark: Benchmark = {
  name: 'alloc',

  problem: () => Promise.resolve(undefined),

  run(options: BenchOptions): Promise<BenchResult[]> {
    const seconds = SECONDS[options.size]
    const args = ['--expose-gc', RUN, String(seconds), String(WARM_UP_FRAMES[options.size])]
    const output = execFileSync(process.execPath, args)
    const { frames, collections, heapBytes } = JSON.parse(output.toString()) as AllocReport
    const note = `${frames} frames in ${seconds} s, ${collections} collections`
    const perMinute = (collections * MINUTE_SECONDS) / seconds
    return Promise.resolve([
      summarize({ name: 'alloc/full', unit: 'bytes/frame', values: [heapBytes / frames], note }),
      summarize({ name: 'alloc/collections', unit: 'per minute', values: [perMinute], note }),
    ])
  },
}
