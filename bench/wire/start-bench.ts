/**
 * The first second of a datapath: it is started, and as soon as it says that frames flow they come
 * at a fixed rate, new flows first. What is lost of them, how long the slow ones take, and what compiled code
 * V8 throws out meanwhile; ours as it is started, without its training, and the yardstick's.
 */
import type { Benchmark, BenchOptions } from '../lib/benchmark.js'
import { type BenchResult, type Samples, summarize } from '../lib/result.js'
import type { Contender } from './contender.js'
import { Contest } from './contest.js'
import { DatapathContender } from './datapath-contender.js'
import { WIRE_FLOWS, wireProblem } from './prepare.js'
import { ChainContender } from './yardstick-contender.js'

const RATE = 500_000
const SECONDS = 1
const FRAME_BYTES = 64
const ROUNDS = { full: 5, quick: 2, smoke: 1 } as const
const PERCENT = 100
const MICROSECOND = 1000

const OURS = {
  chain: 'full',
  idle: 'spin',
  flows: WIRE_FLOWS,
  nodeArgs: ['--trace-deopt'],
} as const
const contenders = (): readonly Contender[] => [
  new ChainContender('c-full', 'full', WIRE_FLOWS),
  new DatapathContender({ ...OURS, name: 'full' }),
  new DatapathContender({ ...OURS, name: 'untrained', args: ['--no-training'] }),
]

interface Start {
  readonly loss: number
  readonly median: number
  readonly slowest: number
  readonly deoptimisations: number
}

const MEASURES = [
  { name: 'loss', unit: '%', of: (start: Start) => start.loss },
  { name: 'p50', unit: 'µs', of: (start: Start) => start.median },
  { name: 'p99.9', unit: 'µs', of: (start: Start) => start.slowest },
  { name: 'deoptimisations', unit: 'count', of: (start: Start) => start.deoptimisations },
] as const

export const startBenchmark: Benchmark = {
  name: 'start',
  isLong: true,
  problem: wireProblem,

  async run({ size, log }: BenchOptions): Promise<BenchResult[]> {
    const starts = new Map<string, Start[]>()
    for (let round = 0; round < ROUNDS[size]; round++) {
      for (const contender of contenders()) {
        const start = await firstSecond(contender, log)
        starts.set(contender.name, [...(starts.get(contender.name) ?? []), start])
        const [loss, slowest] = [start.loss.toFixed(2), start.slowest.toFixed(0)]
        log(`${contender.name}: ${loss} % lost, p99.9 ${slowest} µs`)
      }
    }
    const note = `${RATE / 1000} kpps in the first second after a cold start, ${WIRE_FLOWS} flows`
    return MEASURES.flatMap(({ name, unit, of }) => {
      const samples = (contender: string): Samples => {
        const values = (starts.get(contender) ?? []).map(of)
        return { name: `start/${contender}/${name}`, unit, values, note }
      }
      const known = [...starts.keys()].filter(
        (each) => name !== 'deoptimisations' || each !== 'c-full',
      )
      return known.map((contender) => summarize(samples(contender)))
    })
  },
}

async function firstSecond(contender: Contender, log: (line: string) => void): Promise<Start> {
  const contest = await Contest.open([contender], log)
  try {
    const { running, sink } = contest.entrant(contender.name)
    const before = deoptimisationsOf(running.process?.output)
    const traffic = { frameBytes: FRAME_BYTES, flows: WIRE_FLOWS, rate: RATE, seconds: SECONDS }
    const { sent, lost } = await contest.loss(contender.name, traffic)
    const latency = (await sink?.read())?.latency
    return {
      loss: (PERCENT * lost) / sent,
      median: (latency?.p50 ?? Number.NaN) / MICROSECOND,
      slowest: (latency?.p999 ?? Number.NaN) / MICROSECOND,
      deoptimisations: deoptimisationsOf(running.process?.output) - before,
    }
  } finally {
    await contest.close()
  }
}

const deoptimisationsOf = (output = ''): number => output.split('bailout (').length - 1
