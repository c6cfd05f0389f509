/**
 * How many workers a node's datapath has when its document does not say: one for each four cores.
 *
 * A worker carries a million packets a second and more, which is 10 Gbit/s of full frames. It needs a core
 * of its own only under load, but then the kernel's half of the way, which runs on the cores of the
 * senders, needs as much again, and the pods are what the node is for.
 */
import { availableParallelism } from 'node:os'
import { WORKERS_MAX } from '../base/limits.js'

const CORES_PER_WORKER = 4

export function defaultWorkers(cores = availableParallelism()): number {
  return Math.min(WORKERS_MAX, Math.max(1, Math.floor(cores / CORES_PER_WORKER)))
}
