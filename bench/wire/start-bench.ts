/**
 * The first second of a datapath: it is started, and as soon as it says that frames flow they come
 * at a fixed rate. What is lost of them, and how long the slow ones take, ours and the yardstick's.
 */
import type { Benchmark, BenchOptions } from '../lib/benchmark.js'
import { type BenchResult, summarize } from '../lib/result.js'
import type { Contender } from './contender.js'
import { Contest } from './contest.js'
import { DatapathContender } from './datapath-contender.js'
import { WIRE_FLOWS, wireProblem } from './prepare.js'
import { ChainContender } from './yardstick-contender.js'

const RATE = 200_000
const SECONDS = 1
const FRAME_BYTES = 64
const ROUNDS = { full: 5, quick: 3, smoke: 1 } as const
const PERCENT = 100
const MICROSECOND = 1000

const YARDSTICK = 'c-full'
const contenders = (): readonly Contender[] => [
  new ChainContender(YARDSTICK, 'full', WIRE_FLOWS),
  new DatapathContender({ name: 'full', chain: 'full', idle: 'spin', flows: WIRE_FLOWS }),
]

export const startBenchmark: Benchmark = {
  name: 'start',
  problem: wireProblem,

  async run({ size, log }: BenchOptions): Promise<BenchResult[]> {
    const losses = new Map<string, number[]>()
    const slowest = new Map<string, number[]>()
    for (let round = 0; round < ROUNDS[size]; round++) {
      for (const contender of contenders()) {
        const { loss, latency } = await firstSecond(contender, log)
        losses.set(contender.name, [...(losses.get(contender.name) ?? []), loss])
        slowest.set(contender.name, [...(slowest.get(contender.name) ?? []), latency])
        log(`${contender.name}: ${loss.toFixed(2)} % lost, p99.9 ${latency.toFixed(0)} µs`)
      }
    }
    const note = `${RATE / 1000} kpps in the first second after a cold start, ${WIRE_FLOWS} flows`
    const summed = (figures: ReadonlyMap<string, number[]>, unit: string, what: string) =>
      [...figures].map(([name, values]) =>
        summarize({ name: `start/${name}/${what}`, unit, values, note }),
      )
    return [...summed(losses, '%', 'loss'), ...summed(slowest, 'µs', 'p99.9')]
  },
}

async function firstSecond(
  contender: Contender,
  log: (line: string) => void,
): Promise<{ loss: number; latency: number }> {
  const contest = await Contest.open([contender], log)
  try {
    const traffic = { frameBytes: FRAME_BYTES, flows: WIRE_FLOWS, rate: RATE, seconds: SECONDS }
    const { sent, lost } = await contest.loss(contender.name, traffic)
    const seen = await contest.entrant(contender.name).sink?.read()
    const slowest = seen?.latency?.p999 ?? Number.NaN
    return { loss: (PERCENT * lost) / sent, latency: slowest / MICROSECOND }
  } finally {
    await contest.close()
  }
}
