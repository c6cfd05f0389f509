/** The chain in C (bench/yardstick/chain-run.c) as a process that is told what to run, line by line. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AskedProcess } from '../lib/asked-process.js'
import { buildPrograms, programPath } from '../lib/native-programs.js'
import {
  type ChainName,
  MEMORY_DEVICES,
  SENDER_PORT,
  scenarioMaps,
  writeScenario,
  yardstickConfig,
} from '../lib/node-scenario.js'
import { firstFrame } from './chain-rig.js'

const PROGRAM = programPath('chain')

/** Nanoseconds, with the chain and without it. */
interface RunAnswer {
  readonly frames: number
  readonly ns: number
  readonly empty: number
}

export interface YardstickCounters {
  readonly forwarded: number
  readonly bytes: number
  readonly dropped: number
  readonly created: number
  readonly evicted: number
  readonly connections: number
  readonly slots: number
}

/** Compiles it where its sources are newer; why that is not possible, or undefined. */
export function yardstickProblem(): string | undefined {
  try {
    buildPrograms('../build/bench/chain')
    return undefined
  } catch (error) {
    const { stderr } = error as { stderr?: Buffer }
    const [line = String(error)] = (stderr?.toString() ?? '').split('\n')
    return `make -C bench ../build/bench/chain: ${line}`
  }
}

export class Yardstick {
  readonly #process: AskedProcess
  readonly #directory: string

  private constructor(process: AskedProcess, directory: string) {
    this.#process = process
    this.#directory = directory
  }

  /** @param config lines for chain-config.c; those of the benchmarks' node unless given */
  static async start(chain: ChainName, flows: number, config?: string): Promise<Yardstick> {
    const directory = mkdtempSync(join(tmpdir(), 'ringpath-bench-'))
    mkdirSync(directory, { recursive: true })
    const path = join(directory, 'node.conf')
    writeFileSync(path, config ?? configOf(chain, flows))
    const frame = Buffer.from(firstFrame(MEMORY_DEVICES, chain)).toString('hex')
    const args = [path, String(SENDER_PORT), frame, String(flows)]
    return new Yardstick(await AskedProcess.start(PROGRAM, args), directory)
  }

  /** Nanoseconds per frame, without what the rig takes by itself; of so many seconds at least. */
  async time(frames: number, seconds = 0): Promise<number> {
    const answer = await this.#process.ask(`run ${frames} ${seconds}`, seconds)
    const { frames: done, ns, empty } = JSON.parse(answer) as RunAnswer
    return (ns - empty) / done
  }

  /** The port that a frame leaves by, -1 for none, and the frame as it does. */
  async send(port: number, frame: Uint8Array): Promise<{ port: number; frame: Uint8Array }> {
    const answer = await this.#process.ask(`frame ${port} ${Buffer.from(frame).toString('hex')}`)
    const [out, hex = ''] = answer.split(' ')
    return { port: Number(out), frame: new Uint8Array(Buffer.from(hex, 'hex')) }
  }

  async counters(): Promise<YardstickCounters> {
    return JSON.parse(await this.#process.ask('counters')) as YardstickCounters
  }

  async close(): Promise<void> {
    await this.#process.close()
    rmSync(this.#directory, { recursive: true, force: true })
  }
}

function configOf(chain: ChainName, flows: number): string {
  const maps = scenarioMaps(1)
  writeScenario(maps, MEMORY_DEVICES, flows)
  return yardstickConfig(maps, MEMORY_DEVICES, flows, chain)
}
