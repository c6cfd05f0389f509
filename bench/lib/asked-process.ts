/** A process that says "ready", and answers each line that it is given by one of its own. */
import { LabProcess } from '../../src/lab/lab-process.js'

const ANSWER_TIMEOUT_MILLISECONDS = 60_000

export class AskedProcess {
  readonly #process: LabProcess
  #answers = 0

  private constructor(process: LabProcess) {
    this.#process = process
  }

  static async start(program: string, args: readonly string[]): Promise<AskedProcess> {
    const process = new LabProcess(program, args)
    await process.waitForOutput(/ready/, ANSWER_TIMEOUT_MILLISECONDS)
    return new AskedProcess(process)
  }

  /** @param seconds that the answer takes in any case */
  async ask(line: string, seconds = 0): Promise<string> {
    this.#process.write(`${line}\n`)
    this.#answers++
    const pattern = new RegExp(`^ready\\n(?:[^\\n]*\\n){${this.#answers - 1}}([^\\n]*)\\n`)
    const timeout = ANSWER_TIMEOUT_MILLISECONDS + 1000 * seconds
    const match = await this.#process.waitForOutput(pattern, timeout)
    return match[1] ?? ''
  }

  async close(): Promise<void> {
    this.#process.closeInput()
    await this.#process.stop()
  }
}
