/**
 * `npm run bench`: runs the benchmarks in turn, prints JSON lines and a table, and adds the lines
 * to a file: `npm run bench:report` makes the report of it.
 *
 *   --quick       fewer and shorter rounds, about two minutes in all
 *   --smoke       seconds, figures without meaning: does everything still run?
 *   --only NAMES  only what has a name that begins so, such as chain or wire/pod, separated by commas;
 *                 may be repeated
 *   --explain     no figures for the report: where the time of a packet goes
 *   --flows N     of --explain; 1000 unless told
 *   --rounds N    runs of each measure
 *   --install-peers  first install Debian's packages of the peers that are measured beside us
 *   --output F    where the JSON lines are added; build/bench/results.jsonl unless told
 */
import { parseArgs } from 'node:util'
import { allocBenchmark } from './chain/alloc-bench.js'
import { chainBenchmark } from './chain/chain-bench.js'
import { memoryBenchmark } from './chain/memory-bench.js'
import { setupBenchmark } from './chain/setup-bench.js'
import { explain, splitTable } from './explain/explain.js'
import { type Benchmark, type BenchOptions, isWanted } from './lib/benchmark.js'
import { thisMachine } from './lib/machine.js'
import { appendResults, jsonLine, table } from './lib/report.js'
import type { BenchResult } from './lib/result.js'
import { mapsBenchmark } from './micro-maps.js'
import { partsBenchmark } from './micro-parts.js'
import { installPeers, peerBenchmark } from './peers/peer-bench.js'
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
const ROUNDS = { full: 7, quick: 3, smoke: 1 } as const
const OUTPUT = 'build/bench/results.jsonl'

function readArguments() {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      smoke: { type: 'boolean', default: false },
      only: { type: 'string', multiple: true, default: [] },
      rounds: { type: 'string' },
      'install-peers': { type: 'boolean', default: false },
      explain: { type: 'boolean', default: false },
      flows: { type: 'string', default: '1000' },
      output: { type: 'string', default: OUTPUT },
    },
  })
  const size = values.smoke ? 'smoke' : values.quick ? 'quick' : 'full'
  const rounds = values.rounds === undefined ? ROUNDS[size] : Number(values.rounds)
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error('--rounds: a number of at least 1')
  const log = (line: string) => process.stderr.write(`${line}\n`)
  const only = values.only.flatMap((names) => names.split(','))
  const options: BenchOptions = { rounds, size, log, only }
  if (values['install-peers']) installPeers(log)
  const explainFlows = values.explain ? Number(values.flows) : 0
  return { options, output: values.output, explainFlows }
}

async function main(): Promise<void> {
  const { options, output, explainFlows } = readArguments()
  if (explainFlows > 0) {
    const splits = await explain(options.size, explainFlows, options.log)
    for (const split of splits) console.log(splitTable(split))
    return
  }
  const machine = thisMachine()
  const results: BenchResult[] = []
  for (const benchmark of BENCHMARKS) {
    if (!isWanted(benchmark.name, options.only)) continue
    const problem = await benchmark.problem()
    if (problem !== undefined) {
      options.log(`${benchmark.name}: not run: ${problem}`)
      continue
    }
    const found = await benchmark.run(options)
    for (const result of found) console.log(jsonLine(result, machine))
    if (options.size !== 'smoke') appendResults(output, found, machine)
    results.push(...found)
  }
  const { cpu, cores, kernel, node, commit } = machine
  console.log(`\n${cpu}, ${cores} cores, kernel ${kernel}, Node ${node}, commit ${commit}`)
  console.log(table(results))
}

await main()
