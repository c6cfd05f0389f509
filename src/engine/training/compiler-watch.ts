/**
 * Whether V8 still compiles: it does so on threads of its own, and installs what it has compiled when
 * the function is called again. Nothing tells of it, but two things show it: memory of compiled code
 * that grows or shrinks, and a processor that is used while this thread sleeps.
 *
 * Other threads of the process that work at the same time look like a compiler.
 */
import { getHeapCodeStatistics } from 'node:v8'

/** So long it sleeps at each look, which leaves the core to the compiler. */
const SLEEP_MILLISECONDS = 4
/** Of the processor, within that time; a thread that only wakes up uses less. */
const WORK_MICROSECONDS = 1000
/** In a row: a function may be called often before it is compiled once more. */
const QUIET_LOOKS = 6

export class CompilerWatch {
  readonly #sleeper = new Int32Array(new SharedArrayBuffer(4))
  #codeBytes = -1
  #quietLooks = 0

  /** Nothing was compiled between the last looks. */
  get isQuiet(): boolean {
    return this.#quietLooks >= QUIET_LOOKS
  }

  /** Sleeps for some milliseconds, longer while there is something to wait for. */
  look(): void {
    const before = process.cpuUsage()
    Atomics.wait(this.#sleeper, 0, 0, SLEEP_MILLISECONDS)
    const { user } = process.cpuUsage(before)
    const { code_and_metadata_size: codeBytes } = getHeapCodeStatistics()
    const isWorking = codeBytes !== this.#codeBytes || user > WORK_MICROSECONDS
    this.#codeBytes = codeBytes
    this.#quietLooks = isWorking ? 0 : this.#quietLooks + 1
  }
}
