/**
 * Memory that a tracked connection takes: what a process with the engine grows by (resident pages,
 * not sizes on paper) when it carries a million of them, divided by their number. It counts every
 * table of the engine: connections, the lane's flows, and what belongs to no connection as well.
 */

import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { bundled } from '../../src/base/bundle.js'
import type { Benchmark, BenchOptions } from '../lib/benchmark.js'
import { type BenchResult, summarize } from '../lib/result.js'
import type { MemoryReport } from './memory-run.js'

const RUN = fileURLToPath(bundled(new URL('./memory-run.js', import.meta.url)))
const CONNECTIONS = { full: 1_000_000, quick: 1_000_000, smoke: 1000 } as const
const MAPS_SHOWN = 4

export const memoryBenchmark: Benchmark = {
  name: 'memory',
  isLong: true,

  problem: () => Promise.resolve(undefined),

  run(options: BenchOptions): Promise<BenchResult[]> {
    const connections = CONNECTIONS[options.size]
    const output = execFileSync(process.execPath, ['--expose-gc', RUN, String(connections)])
    const { residentBefore, residentAfter, maps } = JSON.parse(output.toString()) as MemoryReport
    const total = residentAfter - residentBefore
    const inMaps = Object.values(maps).reduce((sum, bytes) => sum + bytes, 0)
    const largest = Object.entries(maps).sort((a, b) => b[1] - a[1])
    const parts = [...largest.slice(0, MAPS_SHOWN), ['lane and others', total - inMaps] as const]
    const perConnection = parts.map(([name, bytes]) => `${name} ${Math.round(bytes / connections)}`)
    const note = `${connections} connections of the full chain; each: ${perConnection.join(', ')}`
    const values = [total / connections]
    const result = summarize({ name: 'memory/connection', unit: 'bytes', values, note })
    return Promise.resolve([result])
  },
}
