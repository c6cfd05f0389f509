/**
 * A program that runs in the background of a lab: it can be waited for, written to and stopped, and
 * ends with its lab.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { ErrorCode, RingpathError } from '../base/errors.js'
import { DEFAULT_TIMEOUT_MS, killGroup, startError } from './command.js'

export interface ProcessEnd {
  /** Null when a signal ended the program. */
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** The older half is dropped beyond this, so that a talkative program does not fill the memory. */
const OUTPUT_CHARACTERS_MAX = 1024 * 1024
const STOP_TIMEOUT_MS = 5_000

export class LabProcess {
  /** Resolves when the program has ended, however it did; rejects when it could not be started. */
  readonly ended: Promise<ProcessEnd>
  readonly #child: ChildProcessWithoutNullStreams
  readonly #title: string
  readonly #watchers = new Set<() => void>()
  #output = ''
  #isRunning = true

  constructor(command: string, args: readonly string[]) {
    this.#title = [command, ...args].join(' ')
    this.#child = spawn(command, args, { detached: true, stdio: 'pipe' })
    const take = (chunk: string) => this.#take(chunk)
    this.#child.stdout.setEncoding('utf8').on('data', take)
    this.#child.stderr.setEncoding('utf8').on('data', take)
    this.#child.stdin.on('error', () => undefined)
    this.ended = new Promise((resolve, reject) => {
      this.#child.on('error', (error) => {
        this.#hasEnded()
        reject(startError(command, error))
      })
      this.#child.on('close', (code, signal) => {
        this.#hasEnded()
        resolve({ code, signal })
      })
    })
    // Whoever does not look at `ended` must not be stopped by it; `waitForOutput` tells them.
    this.ended.catch(() => undefined)
  }

  /** Undefined when the program could not be started. */
  get pid(): number | undefined {
    return this.#child.pid
  }

  get isRunning(): boolean {
    return this.#isRunning
  }

  /** What the program printed to both outputs so far, at most the last 1 Mi characters. */
  get output(): string {
    return this.#output
  }

  write(text: string): void {
    this.#child.stdin.write(text)
  }

  closeInput(): void {
    this.#child.stdin.end()
  }

  /**
   * Resolves with the match as soon as the output so far matches.
   * @throws RingpathError LAB_TIMEOUT when it does not in time, LAB_SETUP when the program ends
   *   before.
   */
  waitForOutput(pattern: RegExp, timeoutMs = DEFAULT_TIMEOUT_MS): Promise<RegExpMatchArray> {
    return new Promise((resolve, reject) => {
      const finish = (settle: () => void) => {
        clearTimeout(timer)
        this.#watchers.delete(look)
        settle()
      }
      const fail = (code: ErrorCode, what: string) => {
        const printed = this.#output.trim().slice(-500) || 'nothing'
        const text = `${this.#title} ${what} ${pattern}; it printed: ${printed}`
        finish(() => reject(new RingpathError(code, text)))
      }
      const look = () => {
        const match = this.#output.match(pattern)
        if (match !== null) finish(() => resolve(match))
        else if (!this.#isRunning) fail(ErrorCode.LAB_SETUP, 'ended before it printed')
      }
      const timer = setTimeout(
        () => fail(ErrorCode.LAB_TIMEOUT, `did not print within ${timeoutMs} ms`),
        timeoutMs,
      )
      this.#watchers.add(look)
      look()
    })
  }

  /**
   * Sends the signal to the program and its children, and after 5 s SIGKILL; resolves when the
   * program has ended.
   */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<ProcessEnd> {
    this.kill(signal)
    const timer = setTimeout(() => this.kill('SIGKILL'), STOP_TIMEOUT_MS)
    try {
      return await this.ended
    } finally {
      clearTimeout(timer)
    }
  }

  /** Sends the signal and does not wait. */
  kill(signal: NodeJS.Signals = 'SIGKILL'): void {
    if (this.#isRunning) killGroup(this.#child.pid, signal)
  }

  #take(chunk: string): void {
    this.#output += chunk
    if (this.#output.length > OUTPUT_CHARACTERS_MAX) {
      this.#output = this.#output.slice(-OUTPUT_CHARACTERS_MAX / 2)
    }
    this.#tellWatchers()
  }

  #hasEnded(): void {
    this.#isRunning = false
    this.#tellWatchers()
  }

  #tellWatchers(): void {
    for (const look of this.#watchers) look()
  }
}
