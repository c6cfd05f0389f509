/**
 * A datapath as a child process: started, waited for, and stopped, by whoever controls the node.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { ErrorCode, RingpathError } from '../base/errors.js'

const CLI_FILE = fileURLToPath(new URL('../cli/ringpath.js', import.meta.url))
/** The line that the command prints when frames flow (src/cli/datapath-command.ts). */
const READY_LINE = 'datapath ready'
const READY_TIMEOUT_MILLISECONDS = 20_000
const STOP_TIMEOUT_MILLISECONDS = 5_000

export interface DatapathProcessOptions {
  readonly stateDirectory: string
  /** Network namespace (a name of `ip netns`) in which the node's devices are; absent: ours. */
  readonly networkNamespace?: string
  readonly idle?: 'spin' | 'adaptive' | 'poll'
  /** Worker threads; 1 unless given. */
  readonly workers?: number
  /** False: ports are attached at once, with code that is not compiled yet. */
  readonly training?: boolean
  /** In a bpffs: programs stay on their devices when the process ends. */
  readonly pinDirectory?: string
}

export class DatapathProcess {
  readonly #child: ChildProcess
  readonly #lines: string[] = []
  readonly exited: Promise<number | null>

  private constructor(child: ChildProcess) {
    this.#child = child
    this.exited = once(child, 'exit').then(([code]) => code as number | null)
    const collect = (chunk: Buffer): void => {
      this.#lines.push(...chunk.toString().split('\n').filter(Boolean))
    }
    child.stdout?.on('data', collect)
    child.stderr?.on('data', collect)
  }

  /**
   * Starts one and resolves when frames flow; EPORT_ATTACH with what it printed when it does not
   * come up.
   */
  static async start(options: DatapathProcessOptions): Promise<DatapathProcess> {
    const command = [process.execPath, '--enable-source-maps', CLI_FILE, 'datapath']
    command.push('--state', options.stateDirectory, '--idle', options.idle ?? 'adaptive')
    command.push('--workers', `${options.workers ?? 1}`)
    if (options.training === false) command.push('--no-training')
    if (options.pinDirectory !== undefined) command.push('--pin', options.pinDirectory)
    const namespace = options.networkNamespace
    // `ip netns exec` ends in exec(2): the child's pid is the datapath's own.
    if (namespace !== undefined) command.unshift('ip', 'netns', 'exec', namespace)
    const [program = process.execPath, ...args] = command
    // A group of its own: a Ctrl-C at the terminal is for whoever started it, who then stops it in
    // order.
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true })
    const datapath = new DatapathProcess(child)
    await datapath.#untilReady()
    return datapath
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** Everything it printed, line by line. */
  get output(): readonly string[] {
    return this.#lines
  }

  /** Asks it to stop and resolves with its exit code; one that does not listen is killed. */
  async stop(): Promise<number | null> {
    if (this.#child.exitCode === null) this.#child.kill('SIGTERM')
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_TIMEOUT_MILLISECONDS)
    const code = await this.exited
    clearTimeout(timer)
    return code
  }

  /** As the kernel's out-of-memory killer would. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.exited
  }

  async #untilReady(): Promise<void> {
    const deadline = Date.now() + READY_TIMEOUT_MILLISECONDS
    while (!this.#lines.includes(READY_LINE)) {
      if (
        this.#child.exitCode !== null ||
        this.#child.signalCode !== null ||
        Date.now() > deadline
      ) {
        this.#child.kill('SIGKILL')
        const said = this.#lines.join('\n')
        throw new RingpathError(ErrorCode.PORT_ATTACH, `the datapath did not start:\n${said}`)
      }
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
}
