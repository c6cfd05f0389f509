/**
 * New connections through the chain, in memory: every frame is the first of its flow. `setup/full`
 * is a service's: its choice of a backend, the entries of the service and of the flow, and a NAT
 * mapping, for the backends are outside. `setup/overlay` goes to backends behind the tunnel, without
 * NAT; `setup/pod` to a pod of this node, with an entry and a policy on either side.
 */
import { tuneV8 } from '../../src/engine/v8-flags.js'
import type { Benchmark, BenchOptions } from '../lib/benchmark.js'
import type { ChainName } from '../lib/node-scenario.js'
import { type BenchResult, summarize } from '../lib/result.js'
import { ChainRig } from './chain-rig.js'

/** Flows of one run. */
const FLOWS = { full: 100_000, quick: 50_000, smoke: 500 } as const
const CHAINS = { full: 'outside', overlay: 'full', pod: 'pod' } as const
/** Runs before the first measured one; they train the code, and fill the tables somewhat. */
const WARM_UP_RUNS = 2
const NOTE = '64-byte UDP, first frames only, bursts of 64, no device'

interface Setup {
  readonly name: string
  readonly rig: ChainRig
  readonly values: number[]
  nextFlow: number
}

export const setupBenchmark: Benchmark = {
  name: 'setup',

  problem: () => Promise.resolve(undefined),

  run(options: BenchOptions): Promise<BenchResult[]> {
    tuneV8()
    const flows = FLOWS[options.size]
    const room = flows * (options.rounds + WARM_UP_RUNS)
    const setups: Setup[] = Object.entries(CHAINS).map(([name, chain]) => ({
      name: `setup/${name}`,
      rig: new ChainRig(chain as ChainName, flows, { room }),
      values: [],
      nextFlow: 0,
    }))
    for (let run = 0; run < WARM_UP_RUNS; run++) for (const setup of setups) connect(setup, flows)
    for (let round = 0; round < options.rounds; round++) {
      for (const setup of setups) setup.values.push(connect(setup, flows))
    }
    const results = setups.map(({ name, values }) =>
      summarize({ name, unit: 'connections/s', values, note: NOTE }),
    )
    return Promise.resolve(results)
  },
}

/** Connections a second, with flows that nobody has seen. */
function connect(setup: Setup, flows: number): number {
  setup.rig.aim(setup.nextFlow, flows)
  setup.nextFlow += flows
  return 1e9 / setup.rig.time(flows)
}
