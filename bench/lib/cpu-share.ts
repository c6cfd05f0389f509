/**
 * How much of a core a process had: on a shared machine a figure counts only when nobody else took
 * the core meanwhile.
 */
import { readdirSync, readFileSync } from 'node:fs'

const NANOSECONDS = 1e9

/** Seconds of processor time that all threads of the process have used; 0 when it has ended. */
export function cpuSeconds(pid: number | undefined): number {
  if (pid === undefined) return 0
  try {
    const threads = readdirSync(`/proc/${pid}/task`)
    return threads.reduce((sum, thread) => sum + threadSeconds(`/proc/${pid}/task/${thread}`), 0)
  } catch {
    return 0
  }
}

/** A thread that ends meanwhile takes its time along; those that matter live on. */
function threadSeconds(directory: string): number {
  try {
    // proc(5), schedstat: nanoseconds on a processor, where /proc/<pid>/stat has hundredths.
    return Number.parseInt(readFileSync(`${directory}/schedstat`, 'utf8'), 10) / NANOSECONDS
  } catch {
    return 0
  }
}

/** Of a core's line in /proc/stat: user, nice, system, then idle and waiting, then interrupts. */
const IDLE_FIELDS: readonly number[] = [4, 5]
const FIELDS_MAX = 8
/** USER_HZ, which the kernel's interfaces have fixed at 100 (proc(5)). */
const TICKS_PER_SECOND = 100

/** Seconds that a core was not idle, whatever it did. */
export function coreSeconds(core: number): number {
  const lines = readFileSync('/proc/stat', 'utf8').split('\n')
  const fields = lines.find((line) => line.startsWith(`cpu${core} `))?.split(' ') ?? []
  const busy = fields
    .slice(0, FIELDS_MAX)
    .reduce((sum, text, i) => (i === 0 || IDLE_FIELDS.includes(i) ? sum : sum + Number(text)), 0)
  return busy / TICKS_PER_SECOND
}

/** Shares of a core, from now until `end`: the smallest of the processes'. */
export class CpuShare {
  readonly #pids: readonly (number | undefined)[]
  readonly #begin: readonly number[]
  readonly #beginMilliseconds = performance.now()

  constructor(pids: readonly (number | undefined)[]) {
    this.#pids = pids
    this.#begin = pids.map(cpuSeconds)
  }

  end(): number {
    const elapsed = (performance.now() - this.#beginMilliseconds) / 1000
    const shares = this.#pids.map((pid, i) => (cpuSeconds(pid) - (this.#begin[i] ?? 0)) / elapsed)
    return Math.min(...shares)
  }
}
