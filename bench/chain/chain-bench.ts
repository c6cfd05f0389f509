/**
 * The engine from memory to memory: nanoseconds per frame of each chain at few and at many flows,
 * and beside it the same chain in C, in turn within each round.
 */
import { fileURLToPath } from 'node:url'
import { bundled } from '../../src/base/bundle.js'
import { REPEATED_SECONDS_MAX } from '../../src/base/limits.js'
import { AskedProcess } from '../lib/asked-process.js'
import { type Benchmark, type BenchOptions, isWanted, STARTS } from '../lib/benchmark.js'
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
/**
 * In one piece, at the most flows, and no more than the full chain. So long that the chain sees each flow once:
 * those that began together come together, and a shorter piece would have all of them or none.
 */
const SUSTAINED_SECONDS = { full: REPEATED_SECONDS_MAX, quick: 0, smoke: 0.1 } as const
/** Of C, in which nothing grows old. */
const YARDSTICK_SECONDS_MAX = 16
const SUSTAINED_CHAIN = 'full'
const NOTE = '64-byte UDP, bursts of 64, no device'

export const flowsName = (flows: number): string =>
  flows >= 1_000_000 ? `${flows / 1_000_000}M` : flows >= 1000 ? `${flows / 1000}k` : `${flows}`

/** What was measured of all starts and rounds. */
interface Figures {
  readonly name: string
  readonly values: number[]
  /** Of the frames of each round: the flow lane's share. */
  readonly repeated: number[]
  /** Of C; none where it has no such chain. */
  readonly yardstick: number[]
  /** For how long it is measured in one piece; 0: it is measured in rounds. */
  readonly sustainedSeconds: number
}

interface Measure {
  readonly chain: ChainName
  readonly figures: Figures
  readonly sustained?: Figures
}

interface Case extends Measure {
  readonly process: AskedProcess
  readonly c?: Yardstick
}

async function openCase(measure: Measure, flows: number, warmUp: number): Promise<Case> {
  const { chain } = measure
  const args = [RUN, chain, String(flows), String(warmUp)]
  const process = await AskedProcess.start(globalThis.process.execPath, args)
  if (!hasYardstick(chain)) return { ...measure, process }
  const c = await Yardstick.start(chain, flows)
  await c.time(2 * Math.max(warmUp, flows))
  return { ...measure, process, c }
}

function resultsOf({
  name,
  values,
  yardstick,
  repeated,
  sustainedSeconds,
}: Figures): BenchResult[] {
  const share = (100 * median(repeated)).toFixed(sustainedSeconds > 0 ? 2 : 0)
  const noteOf = (seconds: number) => (seconds > 0 ? `${NOTE}; ${seconds} s in one piece` : NOTE)
  const note = `${noteOf(sustainedSeconds)}; ${share} % repeated by the flow lane`
  const ours: Samples = { name: `chain/${name}`, unit: 'ns/frame', values, note }
  if (yardstick.length === 0) return [summarize(ours)]
  const theirNote = noteOf(Math.min(sustainedSeconds, YARDSTICK_SECONDS_MAX))
  const theirs = { ...ours, name: `chain/c-${name}`, values: yardstick, note: theirNote }
  return [summarize(ours, theirs), summarize(theirs)]
}

export const chainBenchmark: Benchmark = {
  name: 'chain',

  problem: () => Promise.resolve(yardstickProblem()),

  async run(options: BenchOptions): Promise<BenchResult[]> {
    const { size, only, isOverview = false } = options
    const results: BenchResult[] = []
    // One number of flows after the other, so that the tables of only one are held.
    for (const flows of FLOWS[size]) {
      const isFullOnly = isOverview || flows > FLOWS_OF_OTHERS[size]
      const chains = (isFullOnly ? CHAINS.slice(0, 1) : CHAINS).filter((chain) =>
        isWanted(`chain/${chain}/${flowsName(flows)}`, only),
      )
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
  const measures = chains.map((chain) => measureOf(chain, flows, options.size))
  for (let start = 0; start < STARTS[options.size]; start++) {
    await runStart(measures, flows, options)
  }
  return measures.flatMap(({ figures, sustained }) =>
    [figures, ...(sustained === undefined ? [] : [sustained])].flatMap(resultsOf),
  )
}

function measureOf(chain: ChainName, flows: number, size: BenchOptions['size']): Measure {
  const name = `${chain}/${flowsName(flows)}`
  const nothing = (): Omit<Figures, 'name' | 'sustainedSeconds'> => {
    return { values: [], repeated: [], yardstick: [] }
  }
  const figures = { name, sustainedSeconds: 0, ...nothing() }
  const sustainedSeconds = SUSTAINED_SECONDS[size]
  const isSustained = chain === SUSTAINED_CHAIN && flows === FLOWS[size].at(-1)
  if (sustainedSeconds === 0 || !isSustained) return { chain, figures }
  const sustained = { name: `${name}/sustained`, sustainedSeconds, ...nothing() }
  return { chain, figures, sustained }
}

/** The rounds of one start of each. */
async function runStart(
  measures: readonly Measure[],
  flows: number,
  options: BenchOptions,
): Promise<void> {
  const { size, rounds, log } = options
  const cases: Case[] = []
  try {
    for (const each of measures) cases.push(await openCase(each, flows, WARM_UP_FRAMES[size]))
    for (let round = 0; round < rounds; round++) {
      for (const { figures, process, c } of cases) {
        const ours = await process.ask(`run ${FRAMES[size]}`)
        await c?.time(flows)
        log(`round ${round + 1}, ${noted(figures, ours, await c?.time(FRAMES[size]))}`)
      }
    }
    for (const { sustained, process, c } of cases) {
      if (sustained === undefined) continue
      const { sustainedSeconds: seconds } = sustained
      const ours = await process.ask(`sustain ${seconds}`, seconds)
      const theirs = await c?.time(0, Math.min(seconds, YARDSTICK_SECONDS_MAX))
      log(`${seconds} s, ${noted(sustained, ours, theirs)}`)
    }
  } finally {
    for (const { process, c } of cases) {
      await process.close()
      await c?.close()
    }
  }
}

/** Adds what a run of each found, and tells it. */
function noted(figures: Figures, answer: string, theirs: number | undefined): string {
  const { nanoseconds, repeated } = JSON.parse(answer) as ChainTime
  figures.values.push(nanoseconds)
  figures.repeated.push(repeated)
  if (theirs !== undefined) figures.yardstick.push(theirs)
  const beside = theirs === undefined ? '' : ` C ${theirs.toFixed(1)}`
  return `${figures.name}: ${nanoseconds.toFixed(1)}${beside}`
}
