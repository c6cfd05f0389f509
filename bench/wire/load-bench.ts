/**
 * What the datapath costs when there is less to do than it could: CPU at rest, at a tenth, at half
 * and at full load, in its default mode and in poll mode; and how much later the first frame after a
 * rest arrives than it does when the worker spins, beside the chain in C on the same rings. What happens
 * at rest is measured twice: as the machine has it, and with `--wake-latency 0`.
 */
import { WakeLatency } from '../../src/engine/wake-latency.js'
import type { Benchmark, BenchOptions } from '../lib/benchmark.js'
import { cpuSeconds } from '../lib/cpu-share.js'
import { type BenchResult, summarize } from '../lib/result.js'
import { Contest, pause, TRIES } from './contest.js'
import { DatapathContender, trainingArgs } from './datapath-contender.js'
import { WARM_UP_SHARE, WIRE_FLOWS, wireProblem } from './prepare.js'
import { notRun } from './throughput.js'
import { ChainContender } from './yardstick-contender.js'

const FRAME_BYTES = 64
const WINDOW_MILLISECONDS = { full: 5000, quick: 1000, smoke: 100 } as const
const ROUNDS = { full: 5, quick: 3, smoke: 1 } as const
/** What came while it slept has been worked off by then. */
const SETTLE_MILLISECONDS = 500
const LOADS = [0, 0.1, 0.5, 1] as const
/** So far apart that the worker sleeps in between. */
const SINGLE_FRAMES_PER_SECOND = 20
const SINGLE_SECONDS = { full: 5, quick: 1.5, smoke: 0.2 } as const
const PERCENT = 100
const MICROSECOND = 1000
/** Names begin so, and of what is measured while no core may halt. */
const AT_REST = 'idle/'
const AWAKE = 'idle/awake/'

const MODES = ['spin', 'adaptive', 'poll'] as const
const YARDSTICK = { spin: 'c-spin', poll: 'c-poll' } as const

export const loadBenchmark: Benchmark = {
  name: 'idle',
  isLong: true,
  problem: wireProblem,

  async run(options: BenchOptions): Promise<BenchResult[]> {
    const { size, log } = options
    const ours = { chain: 'full', flows: WIRE_FLOWS, args: trainingArgs(size) } as const
    const contenders = MODES.map((idle) => new DatapathContender({ ...ours, name: idle, idle }))
    const yardsticks = (['spin', 'poll'] as const).map(
      (idle) => new ChainContender(YARDSTICK[idle], ours.chain, ours.flows, idle),
    )
    const contest = await Contest.open([...contenders, ...yardsticks], log)
    try {
      await contest.startLoad(FRAME_BYTES, WIRE_FLOWS)
      await contest.warmUp(WARM_UP_SHARE[size])
      const full = (await contest.measure('adaptive', WINDOW_MILLISECONDS[size])).framesPerSecond
      await contest.stopLoad()
      const shares: BenchResult[] = []
      for (const mode of ['adaptive', 'poll'] as const) {
        for (const load of LOADS) shares.push(await shareAt(contest, mode, load, full, options))
      }
      const rest = await restDelays(contest, options)
      return [...shares, ...rest, ...(await keptAwake(contest, options))]
    } finally {
      await contest.close()
    }
  },
}

async function shareAt(
  contest: Contest,
  mode: 'adaptive' | 'poll',
  load: number,
  fullRate: number,
  { size }: BenchOptions,
): Promise<BenchResult> {
  const entrant = contest.entrant(mode)
  const seconds = WINDOW_MILLISECONDS[size] / 1000
  /** From the first frame to the last: what the generator takes to begin is no load. */
  const send = async (): Promise<number> => {
    const rate = load === 1 ? 0 : load * fullRate
    const traffic = { frameBytes: FRAME_BYTES, flows: WIRE_FLOWS, rate, seconds }
    const { firstNanoseconds, lastNanoseconds } = await contest.send(entrant, traffic)
    return (lastNanoseconds - firstNanoseconds) / 1e9
  }
  const values: number[] = []
  for (let round = 0; round < ROUNDS[size]; round++) {
    const share = await contest.awake(entrant, async () => {
      const { pid } = entrant.running.process ?? {}
      await pause(SETTLE_MILLISECONDS)
      const before = cpuSeconds(pid)
      const taken = load === 0 ? await rest(seconds) : await send()
      return (cpuSeconds(pid) - before) / taken
    })
    values.push(share * PERCENT)
  }
  const name = load === 0 && mode === 'poll' ? `${AT_REST}poll` : `cpu/${mode}/${load * PERCENT}`
  const rate = load === 1 ? 'full load' : `${((load * fullRate) / 1e6).toFixed(2)} Mpps`
  const note = `full chain, ${rate}; all threads of the datapath`
  return summarize({ name, unit: '% of a core', values, note })
}

/** @returns how many seconds it took */
async function rest(seconds: number): Promise<number> {
  const begin = performance.now()
  await pause(seconds * 1000)
  return (performance.now() - begin) / 1000
}

/** The request is the whole machine's: made by us, for a stopped datapath would keep its own. */
async function keptAwake(contest: Contest, options: BenchOptions): Promise<BenchResult[]> {
  let wakeLatency: WakeLatency
  try {
    wakeLatency = new WakeLatency(0)
  } catch (error) {
    const reason = (error as Error).message
    const delays = ['first-packet', 'c-first-packet'].map((name) =>
      notRun(`${AWAKE}${name}`, 'µs', reason),
    )
    return [notRun(`${AWAKE}poll`, '% of a core', reason), ...delays]
  }
  try {
    const share = await shareAt(contest, 'poll', 0, 0, options)
    return [share, ...(await restDelays(contest, options))].map(awakeResult)
  } finally {
    wakeLatency.close()
  }
}

function awakeResult(result: BenchResult): BenchResult {
  const named = (name: string): string => name.replace(AT_REST, AWAKE)
  const { name, yardstick, note } = result
  const more = yardstick === undefined ? {} : { yardstick: named(yardstick) }
  return { ...result, ...more, name: named(name), note: `${note}; --wake-latency 0` }
}

/** Medians of single frames, sleeping less spinning. */
async function restDelays(contest: Contest, { size }: BenchOptions): Promise<BenchResult[]> {
  const delay = async (spinning: string, sleeping: string): Promise<number> => {
    const spin = await singleFrames(contest, spinning, SINGLE_SECONDS[size])
    const poll = await singleFrames(contest, sleeping, SINGLE_SECONDS[size])
    return (poll - spin) / MICROSECOND
  }
  const ours: number[] = []
  const theirs: number[] = []
  for (let round = 0; round < ROUNDS[size]; round++) {
    ours.push(await delay('spin', 'poll'))
    theirs.push(await delay(YARDSTICK.spin, YARDSTICK.poll))
  }
  const unit = 'µs'
  const apart = `frames ${1000 / SINGLE_FRAMES_PER_SECOND} ms apart`
  const note = `${apart}: median sleeping in poll(2) less median spinning`
  const yardstick = { name: `${AT_REST}c-first-packet`, unit, values: theirs, note }
  return [
    summarize({ name: `${AT_REST}first-packet`, unit, values: ours, note }, yardstick),
    summarize(yardstick),
  ]
}

async function singleFrames(contest: Contest, name: string, seconds: number): Promise<number> {
  const { sink } = contest.entrant(name)
  if (sink === undefined) throw new Error(`${name} has no sink`)
  const rate = SINGLE_FRAMES_PER_SECOND
  // Again when something else had the contender's core, and not one arrived.
  for (let again = 1; ; again++) {
    await contest.loss(name, { frameBytes: FRAME_BYTES, flows: WIRE_FLOWS, rate, seconds })
    const { latency } = await sink.read()
    if (latency !== undefined || again === TRIES) return latency?.p50 ?? Number.NaN
  }
}
