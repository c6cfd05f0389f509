/** On which cores the threads of a process may run. */
import { readdirSync } from 'node:fs'
import { threadCores } from 'xdp-socket-napi'

/** Of each thread, the cores as text such as `0,1`. */
export function coresOfThreads(pid: number): string[] {
  return readdirSync(`/proc/${pid}/task`).map((thread) => threadCores(Number(thread)).join())
}
