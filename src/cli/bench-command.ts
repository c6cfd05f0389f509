/**
 * `ringpath bench`: runs the project's benchmarks of a checkout (bench/run.ts), which understand the
 * arguments; an installed package has none.
 */

import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Command } from 'commander'
import { bundled } from '../base/bundle.js'
import { CommandError, ExitCode } from './client.js'

const RUN = fileURLToPath(bundled(new URL('../../bench/run.js', import.meta.url)))
/** A V8 profile of the chain, and what was deoptimised. */
const PROFILE = fileURLToPath(new URL('../../bench/profile.js', import.meta.url))
const EXPLAIN = '--explain'
const SIGNAL_CODE = 130

export function addBenchCommand(program: Command): void {
  program
    .command('bench')
    .description('measure this machine: the project’s benchmarks, in a checkout')
    .argument('[options...]', 'for the benchmarks, such as --quick, --only NAME, --explain')
    .allowUnknownOption()
    .addHelpText(
      'after',
      `
Options of the benchmarks are handed on: --quick takes two minutes, --only wire runs those whose
names begin so (again for more). Results are JSON lines and a table. --explain measures nothing:
it tells where the time of a packet in the chain goes, and what V8 deoptimised.
docs/performance.md tells what the figures mean, and what was found.

Example:
  ringpath bench --quick --only chain`,
    )
    .action((options: readonly string[]) => bench(options))
}

async function bench(options: readonly string[]): Promise<void> {
  if (!existsSync(RUN)) {
    throw new CommandError(
      'the benchmarks are not part of an installed package: run it in a checkout, ' +
        'after `npm run setup`',
    )
  }
  const isExplained = options.includes(EXPLAIN)
  const rest = options.filter((option) => option !== EXPLAIN)
  const args = ['--enable-source-maps', isExplained ? PROFILE : RUN, ...rest]
  const child = spawn(process.execPath, args, { stdio: 'inherit' })
  // Ctrl-C at the terminal reaches the benchmarks, too: they clean up, and we wait.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal))
  const code = await new Promise<number>((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (status) => resolve(status ?? SIGNAL_CODE))
  })
  process.exitCode = code === 0 ? ExitCode.OK : ExitCode.FAILED
}
