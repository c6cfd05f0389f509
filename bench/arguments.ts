/** The command line of `npm run bench`, which `ringpath bench` hands on as it is. */
import { Command, InvalidArgumentError, Option } from 'commander'
import type { BenchOptions } from './lib/benchmark.js'

export interface BenchArguments {
  readonly options: BenchOptions
  /** File that results are added to. */
  readonly output: string
  /** Flows to explain the time of; 0: benchmarks are run. */
  readonly explainFlows: number
  readonly installsPeers: boolean
}

const ROUNDS = { full: 3, quick: 3, smoke: 1 } as const
/** Of `--quick` for everything, which ends within two minutes. */
const OVERVIEW_ROUNDS = 3
const OUTPUT = 'build/bench/results.jsonl'
const FLOWS = 1000
const FLOWS_MAX = 1_000_000

const amount =
  (most: number) =>
  (text: string): number => {
    const value = Number(text)
    if (Number.isInteger(value) && value >= 1 && value <= most) return value
    throw new InvalidArgumentError(`It is not a whole number from 1 to ${most}.`)
  }

/**
 * Ends the process after help, and with exit code 1 and a message when an argument is wrong.
 *
 * @param names of the benchmarks, which those of `--only` begin with
 */
export function readArguments(args: readonly string[], names: readonly string[]): BenchArguments {
  const isKnown = (wanted: string): boolean => names.includes(wanted.split('/')[0] as string)
  const known = (text: string, before: readonly string[]): string[] => {
    const wanted = text.split(',')
    const unknown = wanted.find((name) => !isKnown(name))
    if (unknown === undefined) return [...before, ...wanted]
    throw new InvalidArgumentError(`There is no benchmark "${unknown}": ${names.join(', ')}.`)
  }
  const command = new Command('npm run bench --')
    .description(
      'Runs the benchmarks in turn; prints JSON lines, then a table (docs/benchmarks.md).',
    )
    .option('--quick', 'an overview within two minutes; with --only, fewer and shorter rounds')
    .option('--smoke', 'seconds, figures without meaning: does everything still run?')
    .addOption(
      new Option('--only <names>', 'what has a name that begins so, such as chain or wire/pod')
        .argParser(known)
        .default([]),
    )
    .option('--rounds <n>', 'runs of each measure', amount(1000))
    .option('--explain', 'no figures for the report: where the time of a packet goes')
    .option('--flows <n>', 'of --explain', amount(FLOWS_MAX), FLOWS)
    .option('--install-peers', "first install Debian's packages of the peers measured beside us")
    .option('--output <file>', 'where the JSON lines are added', OUTPUT)
    .allowExcessArguments(false)
    .parse(args, { from: 'user' })
  const values = command.opts()
  const size = values.smoke ? 'smoke' : values.quick ? 'quick' : 'full'
  const isOverview = size === 'quick' && values.only.length === 0
  const rounds = isOverview ? OVERVIEW_ROUNDS : ROUNDS[size]
  const log = (line: string) => process.stderr.write(`${line}\n`)
  return {
    options: { rounds: values.rounds ?? rounds, size, log, only: values.only, isOverview },
    output: values.output,
    explainFlows: values.explain ? values.flows : 0,
    installsPeers: values.installPeers === true,
  }
}
