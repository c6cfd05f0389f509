/**
 * What the datapath costs when there is less to do than it could: CPU at rest, at a tenth, at half
 * and at full load, in its default mode and in poll mode; and how much later the first frame after a
 * rest arrives than it does when the worker spins.
 */
import type { Benchmark, BenchOptions } from '../lib/benchmark.js'
import { cpuSeconds } from '../lib/cpu-share.js'
import { type BenchResult, summarize } from '../lib/result.js'
import { Contest, pause } from './contest.js'
import { DatapathContender, trainingArgs } from './datapath-contender.js'
import { WARM_UP_SHARE, WIRE_FLOWS, wireProblem } from './prepare.js'

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

const MODES = ['spin', 'adaptive', 'poll'] as const
type Mode = (typeof MODES)[number]

export const loadBenchmark: Benchmark = {
  name: 'idle',
  isLong: true,
  problem: wireProblem,

  async run(options: BenchOptions): Promise<BenchResult[]> {
    const { size, log } = options
    const ours = { chain: 'full', flows: WIRE_FLOWS, args: trainingArgs(size) } as const
    const contenders = MODES.map((idle) => new DatapathContender({ ...ours, name: idle, idle }))
    const contest = await Contest.open(contenders, log)
    try {
      await contest.startLoad(FRAME_BYTES, WIRE_FLOWS)
      await contest.warmUp(WARM_UP_SHARE[size])
      const full = (await contest.measure('adaptive', WINDOW_MILLISECONDS[size])).framesPerSecond
      await contest.stopLoad()
      const shares: BenchResult[] = []
      for (const mode of ['adaptive', 'poll'] as const) {
        for (const load of LOADS) shares.push(await shareAt(contest, mode, load, full, options))
      }
      return [...shares, await restDelay(contest, options)]
    } finally {
      await contest.close()
    }
  },
}

async function shareAt(
  contest: Contest,
  mode: Mode,
  load: number,
  fullRate: number,
  { size }: BenchOptions,
): Promise<BenchResult> {
  const entrant = contest.entrant(mode)
  const seconds = WINDOW_MILLISECONDS[size] / 1000
  const values: number[] = []
  for (let round = 0; round < ROUNDS[size]; round++) {
    const share = await contest.awake(entrant, async () => {
      const { pid } = entrant.running.process ?? {}
      await pause(SETTLE_MILLISECONDS)
      const [before, begin] = [cpuSeconds(pid), performance.now()]
      if (load === 0) await pause(seconds * 1000)
      else {
        const rate = load === 1 ? 0 : load * fullRate
        await contest.send(entrant, { frameBytes: FRAME_BYTES, flows: WIRE_FLOWS, rate, seconds })
      }
      return (cpuSeconds(pid) - before) / ((performance.now() - begin) / 1000)
    })
    values.push(share * PERCENT)
  }
  const name = load === 0 && mode === 'poll' ? 'idle/poll' : `cpu/${mode}/${load * PERCENT}`
  const rate = load === 1 ? 'full load' : `${((load * fullRate) / 1e6).toFixed(2)} Mpps`
  const note = `full chain, ${rate}; all threads of the datapath`
  return summarize({ name, unit: '% of a core', values, note })
}

/** Median of single frames, poll mode less spinning. */
async function restDelay(contest: Contest, { size }: BenchOptions): Promise<BenchResult> {
  const values: number[] = []
  for (let round = 0; round < ROUNDS[size]; round++) {
    const spin = await singleFrames(contest, 'spin', SINGLE_SECONDS[size])
    const poll = await singleFrames(contest, 'poll', SINGLE_SECONDS[size])
    values.push((poll - spin) / MICROSECOND)
  }
  const apart = `frames ${1000 / SINGLE_FRAMES_PER_SECOND} ms apart`
  const note = `${apart}: median in poll mode less median spinning`
  return summarize({ name: 'idle/first-packet', unit: 'µs', values, note })
}

async function singleFrames(contest: Contest, mode: Mode, seconds: number): Promise<number> {
  const { sink } = contest.entrant(mode)
  if (sink === undefined) throw new Error(`${mode} has no sink`)
  sink.reset()
  const rate = SINGLE_FRAMES_PER_SECOND
  await contest.loss(mode, { frameBytes: FRAME_BYTES, flows: WIRE_FLOWS, rate, seconds })
  return (await sink.read()).latency?.p50 ?? Number.NaN
}
