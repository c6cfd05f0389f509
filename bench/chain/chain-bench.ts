/**
 * The pipeline without ports: nanoseconds per frame from pod to pod, with connection tracking and
 * policy on both sides, at few and at many flows; what it allocates; and how fast it makes new
 * connections.
 */
import { performance } from 'node:perf_hooks'
import { tuneV8 } from '../../src/engine/v8-flags.js'
import type { Benchmark, BenchOptions } from '../lib/benchmark.js'
import { HeapWatch } from '../lib/heap-watch.js'
import { type BenchResult, summarize } from '../lib/result.js'
import { ChainRig } from './chain-rig.js'

const FLOWS = {
  full: [1, 1000, 100_000, 1_000_000],
  quick: [1, 1000, 100_000],
  smoke: [1, 100],
} as const
const FRAMES = { full: 4_000_000, quick: 1_000_000, smoke: 10_000 } as const
/** At least so many before the first measurement, so that the code is hot. */
const WARM_UP_FRAMES = { full: 1_000_000, quick: 500_000, smoke: 1000 } as const
const NANOSECONDS = 1e6

const flowsName = (flows: number): string =>
  flows >= 1_000_000 ? `${flows / 1_000_000}M` : flows >= 1000 ? `${flows / 1000}k` : `${flows}`

/** Nanoseconds per frame of the pipeline in one run: what the rig takes by itself is left out. */
function time(rig: ChainRig, frames: number): number {
  const begin = performance.now()
  const done = rig.run(frames)
  const middle = performance.now()
  rig.runEmpty(frames)
  const empty = performance.now() - middle
  return ((middle - begin - empty) * NANOSECONDS) / done
}

export const chainBenchmark: Benchmark = {
  name: 'chain',

  problem: () => Promise.resolve(undefined),

  async run(options: BenchOptions): Promise<BenchResult[]> {
    const warmUp = WARM_UP_FRAMES[options.size]
    // As the datapath's process does.
    tuneV8()
    // The code is trained on one rig first, so that new connections are timed with hot code.
    new ChainRig(1).run(warmUp)
    const cases = FLOWS[options.size].map((flows) => {
      const rig = new ChainRig(flows)
      const newConnection = time(rig, flows)
      rig.run(Math.max(warmUp, flows))
      return { flows, rig, newConnection, values: [] as number[] }
    })
    const watch = new HeapWatch()
    let frames = 0
    watch.begin()
    for (let round = 0; round < options.rounds; round++) {
      for (const { rig, values } of cases) {
        values.push(time(rig, FRAMES[options.size]))
        frames += FRAMES[options.size]
      }
    }
    watch.end()
    const heap = await watch.report()
    const most = cases.at(-1)
    const note = '64-byte UDP, bursts of 64, conntrack and policy on both sides'
    return [
      ...cases.map(({ flows, values }) =>
        summarize({ name: `chain/pods/${flowsName(flows)}`, unit: 'ns/frame', values, note }),
      ),
      summarize({
        name: 'setup/pods',
        unit: 'connections/s',
        values: [1e9 / (most?.newConnection ?? Number.NaN)],
        note: `first pass over ${flowsName(most?.flows ?? 0)} flows`,
      }),
      summarize({
        name: 'alloc/pods',
        unit: 'bytes/frame',
        values: [heap.heapBytes / frames],
        note: `${heap.collections} collections in ${frames} frames`,
      }),
    ]
  },
}
