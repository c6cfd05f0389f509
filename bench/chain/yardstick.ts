/** The chain in C (bench/yardstick/chain-run.c) as a process that is told what to run, line by line. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { LabProcess } from '../../src/lab/lab-process.js'
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
const RUN_TIMEOUT_MILLISECONDS = 60_000

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
  readonly #process: LabProcess
  readonly #directory: string
  #answers = 0

  private constructor(process: LabProcess, directory: string) {
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
    const process = new LabProcess(PROGRAM, args)
    await process.waitForOutput(/ready/)
    return new Yardstick(process, directory)
  }

  /** Nanoseconds per frame, without what the rig takes by itself. */
  async time(frames: number): Promise<number> {
    const { ns, empty } = JSON.parse(await this.#ask(`run ${frames}`)) as Record<string, number>
    return ((ns ?? Number.NaN) - (empty ?? Number.NaN)) / frames
  }

  /** The port that a frame leaves by, -1 for none, and the frame as it does. */
  async send(port: number, frame: Uint8Array): Promise<{ port: number; frame: Uint8Array }> {
    const answer = await this.#ask(`frame ${port} ${Buffer.from(frame).toString('hex')}`)
    const [out, hex = ''] = answer.split(' ')
    return { port: Number(out), frame: new Uint8Array(Buffer.from(hex, 'hex')) }
  }

  async counters(): Promise<YardstickCounters> {
    return JSON.parse(await this.#ask('counters')) as YardstickCounters
  }

  async close(): Promise<void> {
    this.#process.closeInput()
    await this.#process.stop()
    rmSync(this.#directory, { recursive: true, force: true })
  }

  /** One line, and the line that answers it. */
  async #ask(line: string): Promise<string> {
    this.#process.write(`${line}\n`)
    this.#answers++
    const pattern = new RegExp(`^ready\\n(?:[^\\n]*\\n){${this.#answers - 1}}([^\\n]*)\\n`)
    const match = await this.#process.waitForOutput(pattern, RUN_TIMEOUT_MILLISECONDS)
    return match[1] ?? ''
  }
}

function configOf(chain: ChainName, flows: number): string {
  const maps = scenarioMaps(1)
  writeScenario(maps, MEMORY_DEVICES, flows)
  return yardstickConfig(maps, MEMORY_DEVICES, flows, chain)
}
