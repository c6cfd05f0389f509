/** What every benchmark on the wire needs before it runs. */
import { existsSync } from 'node:fs'
import { Lab } from '../../src/lab/lab.js'
import { buildGenerator, buildPrograms, programPath } from '../lib/native-programs.js'
import type { ChainName } from '../lib/node-scenario.js'

/** Builds the native programs. Returns why the wire cannot be measured here, or undefined. */
export async function wireProblem(): Promise<string | undefined> {
  const problem = await Lab.problem()
  if (problem !== undefined) return problem
  buildPrograms()
  buildGenerator()
  return existsSync(programPath('forward')) ? undefined : 'make -C bench built nothing'
}

/** Flows of the wire's benchmarks, unless a measure is about their number. */
export const WIRE_FLOWS = 1000
/** Part of a contender's warm-up that a size affords. */
export const WARM_UP_SHARE = { full: 2, quick: 1, smoke: 0.1 } as const

/** Whether a chain's frames leave by the uplink; the others' go to the receiver's pod. */
export const leavesByUplink = (chain: ChainName): boolean => chain !== 'pod' && chain !== 'service'
