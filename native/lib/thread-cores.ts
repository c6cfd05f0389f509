/** On which cores a thread may run: a thread that polls wants one for itself (sched_setaffinity(2)). */
import { binding } from './binding.js'
import { checkInteger, explained, XdpError, XdpErrorCode } from './errors.js'

/** Numbers of cores are below it: CPU_SETSIZE of the C library. */
export const CORES_MAX = 1024
const THREADS_MAX = 2 ** 22

/**
 * Numbers of the cores, from 0, ascending.
 *
 * @param thread as the kernel counts them, in /proc/self/task; 0 is the calling one. Throws
 * EXDP_SYSTEM with ESRCH when there is none.
 */
export function threadCores(thread = 0): number[] {
  checkInteger('thread', thread, 0, THREADS_MAX)
  return explained('thread', {}, () => binding().threadCores(thread))
}

/**
 * From now on the thread, and those that it starts, run on these cores only.
 *
 * @param cores numbers from 0; those that the machine lacks are ignored as long as one is left
 * @param thread as in `threadCores`. Throws EXDP_SYSTEM with ESRCH when there is none,
 * EXDP_ARGUMENT when no core is left.
 */
export function setThreadCores(cores: readonly number[], thread = 0): void {
  if (cores.length === 0) throw new XdpError(XdpErrorCode.ARGUMENT, 'cores: none, expected one')
  for (const core of cores) checkInteger('cores', core, 0, CORES_MAX - 1)
  checkInteger('thread', thread, 0, THREADS_MAX)
  explained('thread', {}, () => binding().setThreadCores(Int32Array.from(cores), thread))
}
