/**
 * How much of a core a process had: on a shared machine a figure counts only when nobody else took
 * the core meanwhile.
 */
import { readFileSync } from 'node:fs'

/** USER_HZ, which the kernel's interfaces have fixed at 100 (proc(5)). */
const TICKS_PER_SECOND = 100
/** Of what follows the command's name in /proc/<pid>/stat: user and system time. */
const USER_TIME = 11
const SYSTEM_TIME = 12

/** Seconds of processor time that all threads of the process have used; 0 when it has ended. */
export function cpuSeconds(pid: number | undefined): number {
  if (pid === undefined) return 0
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[USER_TIME]) + Number(fields[SYSTEM_TIME])) / TICKS_PER_SECOND
  } catch {
    return 0
  }
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
