/** `ringpath demo` as a process, and what one of its runs left behind. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import * as fs from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { stateDirectory } from '../../src/demo/state-directory.js'
import { listRuns, namespacesOf, processOfRun } from '../../src/lab/run-record.js'

const CLI = fileURLToPath(new URL('../../src/cli/ringpath.js', import.meta.url))
const GONE_TIMEOUT_MS = 15_000

export class Demo {
  readonly process: ChildProcess
  output = ''

  constructor(...args: readonly string[]) {
    const all = ['--enable-source-maps', CLI, 'demo', ...args]
    this.process = spawn(process.execPath, all, { stdio: ['ignore', 'pipe', 'pipe'] })
    const take = (chunk: Buffer) => {
      this.output += chunk.toString()
    }
    this.process.stdout?.on('data', take)
    this.process.stderr?.on('data', take)
  }

  /** The exit code, or the signal's name. */
  async end(): Promise<number | string | null> {
    const [code, signal] = await once(this.process, 'close')
    return signal ?? code
  }

  /** The run's id, as soon as the show has begun. */
  async begun(): Promise<string> {
    while (!this.output.includes('these programs run')) {
      if (this.process.exitCode !== null) throw new Error(`it ended: ${this.output}`)
      await sleep(20)
    }
    const id = listRuns().find((run) => processOfRun(run) === this.process.pid)
    if (id === undefined) throw new Error(`it has no lab: ${this.output}`)
    return id
  }
}

export const leftovers = (id: string): string[] => [
  ...namespacesOf(id),
  ...listRuns().filter((run) => run === id),
  ...(fs.existsSync(stateDirectory(id)) ? [stateDirectory(id)] : []),
]

export async function leftAfterAWhile(id: string): Promise<string[]> {
  const end = Date.now() + GONE_TIMEOUT_MS
  while (leftovers(id).length > 0 && Date.now() < end) await sleep(50)
  return leftovers(id)
}
