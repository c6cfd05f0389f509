/**
 * The first second of a datapath: how long its first bursts take and what code V8 throws out
 * meanwhile. It starts cold, or trained (src/engine/training) as at a start, or as one that stood by.
 * Each run is a process of its own, whose node has seen no packet: a flood of new connections by a
 * service and NAT, then their further packets, then the same between pods. What would be lost at a
 * given rate follows from the time of a burst: while it lasts, frames wait in a ring.
 */
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Benchmark, BenchOptions } from './lib/benchmark.js'
import { type BenchResult, type Samples, summarize } from './lib/result.js'

const FIRST_PACKET_MARK = '=== first packet ==='
const RUN = fileURLToPath(new URL('./warm-start-run.js', import.meta.url))
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024
const FRAMES_PER_BURST = 64
/** Frames in a second of the traffic whose loss is told, and what a queue's ring holds. */
const RATE = 200_000
const RING_FRAMES = 2048
const FIRST_FRAMES = 10_000

interface Start {
  readonly firstMicroseconds: number
  readonly p999Microseconds: number
  readonly lostFrames: number
  readonly deoptimisations: number
  readonly trainedMilliseconds: number
}

const FLOWS = { full: 32_768, quick: 32_768, smoke: 640 } as const

function start(mode: 'cold' | 'trained' | 'standby', flows: number): Start {
  const command = ['-o0', process.execPath, '--trace-deopt', RUN, mode, String(flows)]
  const output = execFileSync('stdbuf', command, { encoding: 'utf8', maxBuffer: OUTPUT_BYTES_MAX })
  const after = output.slice(output.indexOf(FIRST_PACKET_MARK))
  const line = after.split('\n').find((text) => text.startsWith('{"nanoseconds"')) ?? ''
  const { nanoseconds, trainedMilliseconds } = JSON.parse(line) as {
    nanoseconds: number[]
    trainedMilliseconds: number
  }
  const first = nanoseconds.slice(0, FIRST_FRAMES / FRAMES_PER_BURST)
  const sorted = [...nanoseconds].sort((a, b) => a - b)
  return {
    firstMicroseconds: first.reduce((sum, time) => sum + time, 0) / FIRST_FRAMES / 1000,
    p999Microseconds: (sorted[Math.floor(sorted.length * 0.999)] ?? Number.NaN) / 1000,
    lostFrames: lostAt(RATE, nanoseconds),
    deoptimisations: after.split('\n').filter((text) => text.includes('bailout (')).length,
    trainedMilliseconds,
  }
}

/** Frames that find the ring full, when they come evenly and the bursts take what they took. */
function lostAt(rate: number, nanoseconds: readonly number[]): number {
  let waiting = 0
  let lost = 0
  for (const time of nanoseconds) {
    waiting = Math.max(0, waiting - FRAMES_PER_BURST) + (time * rate) / 1e9
    if (waiting <= RING_FRAMES) continue
    lost += waiting - RING_FRAMES
    waiting = RING_FRAMES
  }
  return lost
}

const MEASURES = [
  ['first-10k', 'us/frame', (s: Start) => s.firstMicroseconds],
  ['burst-p99.9', 'us', (s: Start) => s.p999Microseconds],
  ['loss-200k', 'frames', (s: Start) => s.lostFrames],
  ['deoptimisations', 'count', (s: Start) => s.deoptimisations],
] as const

export const warmStartBenchmark: Benchmark = {
  name: 'warm-start',

  problem: () => Promise.resolve(undefined),

  run(options: BenchOptions): Promise<BenchResult[]> {
    const flows = FLOWS[options.size]
    const cold: Start[] = []
    const trained: Start[] = []
    const standby: Start[] = []
    for (let round = 0; round < options.rounds; round++) {
      cold.push(start('cold', flows))
      trained.push(start('trained', flows))
      standby.push(start('standby', flows))
    }
    const note = `from memory; ${2 * flows} new flows and their second packets`
    const results = MEASURES.flatMap(([name, unit, of]) => {
      const before: Samples = { name: `warm-start/${name}/cold`, unit, values: cold.map(of), note }
      const after = { name: `warm-start/${name}/trained`, unit, values: trained.map(of), note }
      const stood = { name: `warm-start/${name}/standby`, unit, values: standby.map(of), note }
      return [summarize(before), summarize(after, before), summarize(stood, before)]
    })
    const values = trained.map((s) => s.trainedMilliseconds)
    return Promise.resolve([
      ...results,
      summarize({
        name: 'warm-start/training',
        unit: 'ms',
        values,
        note: 'before ports are attached',
      }),
    ])
  },
}
