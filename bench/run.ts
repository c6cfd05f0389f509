/**
 * `npm run bench`: runs the benchmarks in turn, prints JSON lines and a table, and adds the lines
 * to a file: `npm run bench:report` makes the report of it. Options: `npm run bench -- --help`.
 */
import { readArguments } from './arguments.js'
import { allocBenchmark } from './chain/alloc-bench.js'
import { chainBenchmark } from './chain/chain-bench.js'
import { memoryBenchmark } from './chain/memory-bench.js'
import { setupBenchmark } from './chain/setup-bench.js'
import { explain, splitTable } from './explain/explain.js'
import { type Benchmark, isWanted } from './lib/benchmark.js'
import { thisMachine } from './lib/machine.js'
import { appendResults, jsonLine, table } from './lib/report.js'
import { type BenchResult, isBroken } from './lib/result.js'
import { mapsBenchmark } from './micro-maps.js'
import { partsBenchmark } from './micro-parts.js'
import { installPeers } from './peers/install.js'
import { peerBenchmark } from './peers/peer-bench.js'
import { scaleBenchmark } from './scale/scale-bench.js'
import { latencyBenchmark } from './wire/latency-bench.js'
import { loadBenchmark } from './wire/load-bench.js'
import { losslessBenchmark } from './wire/lossless-bench.js'
import { startBenchmark } from './wire/start-bench.js'
import { tcpBenchmark } from './wire/tcp-bench.js'
import { wireBenchmark } from './wire/wire-bench.js'

const BENCHMARKS: readonly Benchmark[] = [
  partsBenchmark,
  mapsBenchmark,
  chainBenchmark,
  setupBenchmark,
  allocBenchmark,
  memoryBenchmark,
  wireBenchmark,
  peerBenchmark,
  losslessBenchmark,
  latencyBenchmark,
  loadBenchmark,
  scaleBenchmark,
  startBenchmark,
  tcpBenchmark,
]
async function main(): Promise<void> {
  const names = BENCHMARKS.map(({ name }) => name)
  const { options, output, explainFlows, installsPeers } = readArguments(
    process.argv.slice(2),
    names,
  )
  if (installsPeers) installPeers(options.log)
  if (explainFlows > 0) {
    const splits = await explain(options.size, explainFlows, options.log)
    for (const split of splits) console.log(splitTable(split))
    return
  }
  const machine = thisMachine()
  const results: BenchResult[] = []
  const failures: string[] = []
  const { isOverview = false } = options
  for (const benchmark of BENCHMARKS) {
    if (!isWanted(benchmark.name, options.only)) continue
    if (benchmark.isLong === true && isOverview) continue
    const problem = await benchmark.problem()
    if (problem !== undefined) {
      options.log(`${benchmark.name}: not run: ${problem}`)
      continue
    }
    const begin = performance.now()
    const found = await benchmark.run(options).catch((error: unknown) => {
      // The others can be measured all the same.
      failures.push(`${benchmark.name}: ${(error as Error).stack}`)
      return []
    })
    options.log(`${benchmark.name}: ${((performance.now() - begin) / 1000).toFixed(0)} s`)
    for (const result of found) console.log(jsonLine(result, machine))
    if (options.size !== 'smoke') appendResults(output, found, machine)
    results.push(...found)
  }
  const { cpu, cores, kernel, node, commit } = machine
  console.log(`\n${cpu}, ${cores} cores, kernel ${kernel}, Node ${node}, commit ${commit}`)
  console.log(table(results))
  // One that could not run has said so; this one has run, and nobody would see it among the others.
  for (const { name, unit } of results.filter(isBroken)) {
    failures.push(`${name}: no figure in ${unit}`)
  }
  const leftOut = BENCHMARKS.filter(({ isLong }) => isLong === true && isOverview)
  if (leftOut.length > 0) {
    const names = leftOut.map(({ name }) => name).join(', ')
    options.log(`Left out, for want of time: ${names} (--only).`)
  }
  for (const failure of failures) options.log(failure)
  if (failures.length > 0) process.exitCode = 1
}

await main()
