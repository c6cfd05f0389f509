/**
 * New connections through the chain, in memory: every frame is the first of its flow. `setup/full`
 * is a service's: its choice of a backend, the entries of the service and of the flow, and a NAT
 * mapping, for the backends are outside. `setup/overlay` goes to backends behind the tunnel, without
 * NAT; `setup/pod` to a pod of this node, with an entry and a policy on either side.
 */
import { fileURLToPath } from 'node:url'
import { bundled } from '../../src/base/bundle.js'
import { AskedProcess } from '../lib/asked-process.js'
import type { Benchmark, BenchOptions } from '../lib/benchmark.js'
import type { ChainName } from '../lib/node-scenario.js'
import { type BenchResult, summarize } from '../lib/result.js'

const RUN = fileURLToPath(bundled(new URL('./setup-run.js', import.meta.url)))
/** Flows of one run. */
const FLOWS = { full: 100_000, quick: 50_000, smoke: 500 } as const
const CHAINS: Readonly<Record<string, ChainName>> = {
  full: 'outside',
  overlay: 'full',
  pod: 'pod',
}
/** Runs before the first measured one; they train the code, and fill the tables somewhat. */
const WARM_UP_RUNS = 2
const NANOSECONDS = 1e9
const NOTE = '64-byte UDP, first frames only, bursts of 64, no device'

interface Setup {
  readonly name: string
  readonly process: AskedProcess
  readonly values: number[]
}

export const setupBenchmark: Benchmark = {
  name: 'setup',

  problem: () => Promise.resolve(undefined),

  async run(options: BenchOptions): Promise<BenchResult[]> {
    const flows = FLOWS[options.size]
    const warmUp = WARM_UP_RUNS * flows
    const room = warmUp + flows * options.rounds
    const setups: Setup[] = []
    try {
      for (const [name, chain] of Object.entries(CHAINS)) {
        const args = [RUN, chain, String(room), String(warmUp)]
        const process = await AskedProcess.start(globalThis.process.execPath, args)
        setups.push({ name: `setup/${name}`, process, values: [] })
      }
      for (let round = 0; round < options.rounds; round++) {
        for (const { process, values } of setups) {
          values.push(NANOSECONDS / Number(await process.ask(`run ${flows}`)))
        }
      }
    } finally {
      for (const { process } of setups) await process.close()
    }
    return setups.map(({ name, values }) =>
      summarize({ name, unit: 'connections/s', values, note: NOTE }),
    )
  },
}
