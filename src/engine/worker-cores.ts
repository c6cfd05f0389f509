/**
 * Cores of their own for the workers: each worker runs on its one, and everything else of the process
 * (V8's compiler and collector, the main thread's tasks) on the others, where its milliseconds do not
 * hold up packets. A spinning worker that shares its core waits for a whole time slice now and then,
 * which is what its slowest packets wait for (docs/performance.md).
 */
import { readdirSync } from 'node:fs'
import { setThreadCores, threadCores, XdpError } from 'xdp-socket-napi'
import { ErrorCode, RingpathError } from '../base/errors.js'

/** Of <errno.h>: the thread has ended. */
const ESRCH = 3

/** Throws ECONFIG_INVALID unless there is one for each worker, and all may be used. */
export function checkCores(cores: readonly number[], workers: number): void {
  const wrong = (expected: string): never => {
    throw new RingpathError(ErrorCode.CONFIG_INVALID, `cores: ${cores}, expected ${expected}`)
  }
  if (cores.length !== workers) wrong(`${workers}: one for each worker`)
  if (new Set(cores).size !== cores.length) wrong('each core once')
  const strange = cores.find((core) => !isAllowed(core))
  if (strange !== undefined) wrong(`cores of this machine that the process may use, not ${strange}`)
}

/** By trying: a core that is kept free for us (isolcpus=) is not among those that a process begins with. */
function isAllowed(core: number): boolean {
  const before = threadCores()
  try {
    setThreadCores([core])
    setThreadCores(before)
    return true
  } catch {
    return false
  }
}

/**
 * Keeps all threads that the process has, and those that they start, off the workers' cores; where
 * there are no others, nothing changes.
 */
export function leaveCores(cores: readonly number[]): void {
  const others = threadCores().filter((core) => !cores.includes(core))
  if (others.length > 0) useCores(others)
}

/** The same for all threads: they run on these cores from now on. */
export function useCores(cores: readonly number[]): void {
  for (const thread of readdirSync('/proc/self/task')) {
    try {
      setThreadCores(cores, Number(thread))
    } catch (error) {
      if (!(error instanceof XdpError && error.errno === ESRCH)) throw error
    }
  }
}

/** The calling thread runs on this core from now on; undefined: the kernel chooses. */
export function takeCore(core: number | undefined): void {
  if (core !== undefined) setThreadCores([core])
}
