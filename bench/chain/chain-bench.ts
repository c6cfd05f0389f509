/**
 * The engine from memory to memory: nanoseconds per frame of each chain at few and at many flows,
 * and beside it the same chain in C, in turn within each round.
 */
import { fileURLToPath } from 'node:url'
import { bundled } from '../../src/base/bundle.js'
import { AskedProcess } from '../lib/asked-process.js'
import type { Benchmark, BenchOptions } from '../lib/benchmark.js'
import { type ChainName, hasYardstick } from '../lib/node-scenario.js'
import { type BenchResult, median, type Samples, summarize } from '../lib/result.js'
import type { ChainTime } from './chain-run.js'
import { Yardstick, yardstickProblem } from './yardstick.js'

const RUN = fileURLToPath(bundled(new URL('./chain-run.js', import.meta.url)))
const FLOWS = {
  full: [1, 1000, 100_000, 1_000_000],
  quick: [1000, 1_000_000],
  smoke: [1, 100],
} as const
/** The others than `full`, by size of the run: beyond it, and in an overview, only `full` is measured. */
const FLOWS_OF_OTHERS = { full: 1_000_000, quick: 1000, smoke: 1 } as const
const CHAINS: readonly ChainName[] = ['full', 'pod', 'service', 'masquerade', 'overlay']
const FRAMES = { full: 4_000_000, quick: 2_000_000, smoke: 10_000 } as const
/** At least so many before the first measurement, so that the code is hot. */
const WARM_UP_FRAMES = { full: 2_000_000, quick: 1_000_000, smoke: 1000 } as const
const NOTE = '64-byte UDP, bursts of 64, no device'

export const flowsName = (flows: number): string =>
  flows >= 1_000_000 ? `${flows / 1_000_000}M` : flows >= 1000 ? `${flows / 1000}k` : `${flows}`

interface Case {
  readonly name: string
  readonly process: AskedProcess
  readonly values: number[]
  /** Of the frames of each round: the flow lane's share. */
  readonly repeated: number[]
  /** Undefined where C has no such chain. */
  readonly yardstick?: { readonly c: Yardstick; readonly values: number[] }
}

async function openCase(chain: ChainName, flows: number, warmUp: number): Promise<Case> {
  const args = [RUN, chain, String(flows), String(warmUp)]
  const process = await AskedProcess.start(globalThis.process.execPath, args)
  const name = `${chain}/${flowsName(flows)}`
  if (!hasYardstick(chain)) return { name, process, values: [], repeated: [] }
  const c = await Yardstick.start(chain, flows)
  await c.time(2 * Math.max(warmUp, flows))
  return { name, process, values: [], repeated: [], yardstick: { c, values: [] } }
}

function resultsOf({ name, values, yardstick, repeated }: Case): BenchResult[] {
  const share = (100 * median(repeated)).toFixed(0)
  const note = `${NOTE}; ${share} % repeated by the flow lane`
  const ours: Samples = { name: `chain/${name}`, unit: 'ns/frame', values, note }
  if (yardstick === undefined) return [summarize(ours)]
  const theirs = { ...ours, name: `chain/c-${name}`, values: yardstick.values, note: NOTE }
  return [summarize(ours, theirs), summarize(theirs)]
}

export const chainBenchmark: Benchmark = {
  name: 'chain',

  problem: () => Promise.resolve(yardstickProblem()),

  async run(options: BenchOptions): Promise<BenchResult[]> {
    const { size, isOverview = false } = options
    const results: BenchResult[] = []
    // One number of flows after the other, so that the tables of only one are held.
    for (const flows of FLOWS[size]) {
      const isFullOnly = isOverview || flows > FLOWS_OF_OTHERS[size]
      const chains = isFullOnly ? CHAINS.slice(0, 1) : CHAINS
      results.push(...(await runFlows(chains, flows, options)))
    }
    return results
  },
}

async function runFlows(
  chains: readonly ChainName[],
  flows: number,
  options: BenchOptions,
): Promise<BenchResult[]> {
  const cases: Case[] = []
  try {
    for (const chain of chains) {
      cases.push(await openCase(chain, flows, WARM_UP_FRAMES[options.size]))
    }
    for (let round = 0; round < options.rounds; round++) {
      for (const { name, process, values, repeated, yardstick } of cases) {
        const ours = JSON.parse(await process.ask(`run ${FRAMES[options.size]}`)) as ChainTime
        values.push(ours.nanoseconds)
        repeated.push(ours.repeated)
        await yardstick?.c.time(flows)
        const c = await yardstick?.c.time(FRAMES[options.size])
        if (c !== undefined) yardstick?.values.push(c)
        const beside = c === undefined ? '' : ` C ${c.toFixed(1)}`
        options.log(`round ${round + 1}, ${name}: ${ours.nanoseconds.toFixed(1)}${beside}`)
      }
    }
    return cases.flatMap(resultsOf)
  } finally {
    for (const { process, yardstick } of cases) {
      await process.close()
      await yardstick?.c.close()
    }
  }
}
