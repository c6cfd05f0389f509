/**
 * Runs one program to its end, without a shell, and gives back what it printed. A program that does
 * not end in time is killed with everything it started. Programs that stay in the background are
 * `LabProcess`.
 */
import { spawn } from 'node:child_process'
import { ErrorCode, RingpathError } from '../base/errors.js'

export interface CommandOptions {
  /** Milliseconds until the program and its children are killed; 30,000 when not given. */
  readonly timeoutMs?: number
  /** Written to the program's standard input, which is then closed. */
  readonly input?: string | Uint8Array
}

export interface CommandResult {
  readonly stdout: string
  readonly stderr: string
  /** The exit code, or 128 + the signal's number when a signal ended the program. */
  readonly code: number
}

export const DEFAULT_TIMEOUT_MS = 30_000
/** A program that prints more than this is killed: nothing in the lab needs more. */
const OUTPUT_BYTES_MAX = 16 * 1024 * 1024
const SIGNAL_CODE_BASE = 128

/** Kills a process group; one that is gone already is fine. */
export function killGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** What `spawn` failed on, in words that say what to do. */
export function startError(command: string, cause: Error): RingpathError {
  const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT'
  const advice = missing ? 'it is not installed: run scripts/setup.sh as root' : cause.message
  return new RingpathError(ErrorCode.LAB_SETUP, `cannot start ${command}: ${advice}`, cause)
}

/**
 * Resolves with the exit code whatever it is; the caller judges it.
 * @throws RingpathError LAB_SETUP when the program cannot be started, LAB_TIMEOUT when it did not
 *   end in time.
 */
export function run(
  command: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS
  return new Promise((resolve, reject) => {
    // A group of its own, so that a timeout ends the program's children too.
    const child = spawn(command, args, { detached: true, stdio: 'pipe' })
    const stdout: Buffer[] = []
    const stderr: Buffer[] = []
    let bytes = 0
    let refused = ''
    const stop = (reason: string) => {
      refused ||= reason
      killGroup(child.pid, 'SIGKILL')
    }
    const collect = (chunks: Buffer[]) => (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes > OUTPUT_BYTES_MAX) stop(`printed more than ${OUTPUT_BYTES_MAX} bytes`)
      else chunks.push(chunk)
    }
    const timer = setTimeout(() => stop(`did not end within ${timeoutMs} ms`), timeoutMs)
    child.stdout.on('data', collect(stdout))
    child.stderr.on('data', collect(stderr))
    child.on('error', (error) => {
      clearTimeout(timer)
      reject(startError(command, error))
    })
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      const text = { stdout: textOf(stdout), stderr: textOf(stderr) }
      if (refused === '') resolve({ ...text, code: code ?? signalCode(signal) })
      else reject(timeoutError([command, ...args], refused, text))
    })
    // A program may end before it has read its input (EPIPE): its exit code tells the story.
    child.stdin.on('error', () => undefined)
    child.stdin.end(options.input)
  })
}

/** As `run`, for programs of which only success is expected. */
export async function runOrFail(
  command: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<string> {
  const result = await run(command, args, options)
  if (result.code === 0) return result.stdout
  const input = typeof options.input === 'string' ? `\ninput:\n${options.input}` : ''
  throw new RingpathError(
    ErrorCode.LAB_SETUP,
    `${command} ${args.join(' ')} ended with ${result.code}: ${result.stderr.trim()}${input}`,
  )
}

function timeoutError(
  command: readonly string[],
  reason: string,
  text: { readonly stdout: string; readonly stderr: string },
): RingpathError {
  const printed = `${text.stdout}${text.stderr}`.trim().slice(-500)
  return new RingpathError(
    ErrorCode.LAB_TIMEOUT,
    `${command.join(' ')} ${reason} and was killed; it printed: ${printed || 'nothing'}`,
  )
}

const textOf = (chunks: readonly Buffer[]): string => Buffer.concat(chunks).toString('utf8')

function signalCode(signal: NodeJS.Signals | null): number {
  return SIGNAL_CODE_BASE + (signal === 'SIGKILL' ? 9 : signal === 'SIGTERM' ? 15 : 0)
}
