/**
 * The engine from memory to memory: nanoseconds per frame of each chain at few and at many flows,
 * and beside it the same chain in C, in turn within each round.
 */
import { fileURLToPath } from 'node:url'
import { bundled } from '../../src/base/bundle.js'
import { AskedProcess } from '../lib/asked-process.js'
import { type Benchmark, type BenchOptions, STARTS } from '../lib/benchmark.js'
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

/** What was measured of a chain, of all starts and rounds. */
interface Figures {
  readonly chain: ChainName
  readonly name: string
  readonly values: number[]
  /** Of the frames of each round: the flow lane's share. */
  readonly repeated: number[]
  /** Of C; none where it has no such chain. */
  readonly yardstick: number[]
}

interface Case {
  readonly figures: Figures
  readonly process: AskedProcess
  readonly c?: Yardstick
}

async function openCase(figures: Figures, flows: number, warmUp: number): Promise<Case> {
  const { chain } = figures
  const args = [RUN, chain, String(flows), String(warmUp)]
  const process = await AskedProcess.start(globalThis.process.execPath, args)
  if (!hasYardstick(chain)) return { figures, process }
  const c = await Yardstick.start(chain, flows)
  await c.time(2 * Math.max(warmUp, flows))
  return { figures, process, c }
}

function resultsOf({ name, values, yardstick, repeated }: Figures): BenchResult[] {
  const share = (100 * median(repeated)).toFixed(0)
  const note = `${NOTE}; ${share} % repeated by the flow lane`
  const ours: Samples = { name: `chain/${name}`, unit: 'ns/frame', values, note }
  if (yardstick.length === 0) return [summarize(ours)]
  const theirs = { ...ours, name: `chain/c-${name}`, values: yardstick, note: NOTE }
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
  const all = chains.map((chain): Figures => {
    const name = `${chain}/${flowsName(flows)}`
    return { chain, name, values: [], repeated: [], yardstick: [] }
  })
  for (let start = 0; start < STARTS[options.size]; start++) {
    await runStart(all, flows, options)
  }
  return all.flatMap(resultsOf)
}

/** The rounds of one start of each. */
async function runStart(
  all: readonly Figures[],
  flows: number,
  { size, rounds, log }: BenchOptions,
): Promise<void> {
  const cases: Case[] = []
  try {
    for (const figures of all) cases.push(await openCase(figures, flows, WARM_UP_FRAMES[size]))
    for (let round = 0; round < rounds; round++) {
      for (const { figures, process, c } of cases) {
        const ours = JSON.parse(await process.ask(`run ${FRAMES[size]}`)) as ChainTime
        figures.values.push(ours.nanoseconds)
        figures.repeated.push(ours.repeated)
        await c?.time(flows)
        const theirs = await c?.time(FRAMES[size])
        if (theirs !== undefined) figures.yardstick.push(theirs)
        const beside = theirs === undefined ? '' : ` C ${theirs.toFixed(1)}`
        log(`round ${round + 1}, ${figures.name}: ${ours.nanoseconds.toFixed(1)}${beside}`)
      }
    }
  } finally {
    for (const { process, c } of cases) {
      await process.close()
      await c?.close()
    }
  }
}
