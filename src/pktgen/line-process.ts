/**
 * A program that answers lines with lines, such as a sender or a counting sink: started, asked,
 * ended. It may run in another network namespace or on one core; no shell is involved.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { ErrorCode, RingpathError } from '../base/errors.js'

export interface Place {
  /** As `ip netns` knows it; our own when none is given. */
  readonly namespace?: string
  readonly core?: number
}

const ANSWER_MILLISECONDS = 10_000
const STOP_MILLISECONDS = 3_000
const READY = 'ready'

interface Waiting {
  readonly resolve: (line: string) => void
  readonly reject: (error: Error) => void
}

export class LineProcess {
  /** Settles when the program is gone, with its exit code; null when a signal ended it. */
  readonly ended: Promise<number | null>
  readonly #child: ChildProcessWithoutNullStreams
  readonly #title: string
  readonly #lines: string[] = []
  readonly #waiting: Waiting[] = []
  #problem = ''
  #isRunning = true

  constructor(command: string, args: readonly string[], place: Place = {}) {
    const [program = command, ...rest] = commandLine([command, ...args], place)
    this.#title = command.split('/').at(-1) ?? command
    // A group of its own: a Ctrl-C at the terminal is ours to hand on.
    this.#child = spawn(program, rest, { stdio: 'pipe', detached: true })
    this.#child.stdin.on('error', () => undefined)
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#problem = (this.#problem + text).slice(-2_000)
    })
    createInterface({ input: this.#child.stdout }).on('line', (line) => this.#take(line))
    this.ended = new Promise((resolve) => {
      this.#child.on('error', (error) => {
        this.#problem ||= error.message
        this.#end()
        resolve(null)
      })
      this.#child.on('close', (code) => {
        this.#end()
        resolve(code)
      })
    })
  }

  write(text: string): void {
    this.#child.stdin.write(text)
  }

  /** @throws RingpathError GENERATOR when the program ends before it is ready */
  async ready(): Promise<void> {
    const line = await this.nextLine()
    if (line !== READY) throw this.#failure(`said ${JSON.stringify(line)} instead of "${READY}"`)
  }

  /** Writes a line and reads the answer. */
  async ask<T>(line = ''): Promise<T> {
    this.write(`${line}\n`)
    return JSON.parse(await this.nextLine()) as T
  }

  /** @param milliseconds how long to wait at most; 0 for without end */
  nextLine(milliseconds = ANSWER_MILLISECONDS): Promise<string> {
    const line = this.#lines.shift()
    if (line !== undefined) return Promise.resolve(line)
    if (!this.#isRunning) return Promise.reject(this.#failure('has ended'))
    return new Promise((resolve, reject) => {
      const late = () => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1)
        reject(this.#failure(`did not answer within ${milliseconds} ms`))
      }
      const timer = milliseconds === 0 ? undefined : setTimeout(late, milliseconds)
      const waiting: Waiting = {
        resolve: (text) => {
          clearTimeout(timer)
          resolve(text)
        },
        reject: (error) => {
          clearTimeout(timer)
          reject(error)
        },
      }
      this.#waiting.push(waiting)
    })
  }

  /** Ends the program's input, which asks it to end; after 3 s it is killed. */
  async close(): Promise<number | null> {
    this.#child.stdin.end()
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_MILLISECONDS)
    try {
      return await this.ended
    } finally {
      clearTimeout(timer)
    }
  }

  #take(line: string): void {
    const waiting = this.#waiting.shift()
    if (waiting === undefined) this.#lines.push(line)
    else waiting.resolve(line)
  }

  #end(): void {
    this.#isRunning = false
    for (const waiting of this.#waiting.splice(0)) waiting.reject(this.#failure('has ended'))
  }

  #failure(what: string): RingpathError {
    const detail = this.#problem.trim() === '' ? '' : `: ${this.#problem.trim()}`
    return new RingpathError(ErrorCode.GENERATOR, `${this.#title} ${what}${detail}`)
  }
}

function commandLine(command: readonly string[], place: Place): readonly string[] {
  const pinned = place.core === undefined ? command : ['taskset', '-c', `${place.core}`, ...command]
  return place.namespace === undefined
    ? pinned
    : ['ip', 'netns', 'exec', place.namespace, ...pinned]
}
