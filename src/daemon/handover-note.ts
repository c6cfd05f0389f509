/**
 * What came of the last hand-over between datapaths, in a file of the state directory: written by
 * the one that took over or could not, read by whoever asked for it.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TakeOver } from '../engine/datapath.js'

const FILE_NAME = 'handover.json'

export type HandoverNote = TakeOver & {
  /** The process that stood by. */
  readonly pid: number
  /** The process that had the ports. */
  readonly from: number | undefined
}

export function noteHandover(stateDirectory: string, note: HandoverNote): void {
  const path = join(stateDirectory, FILE_NAME)
  writeFileSync(`${path}.new`, `${JSON.stringify(note)}\n`, { mode: 0o600 })
  renameSync(`${path}.new`, path)
}

/** Undefined while there is none. */
export function readHandover(stateDirectory: string): HandoverNote | undefined {
  try {
    return JSON.parse(readFileSync(join(stateDirectory, FILE_NAME), 'utf8')) as HandoverNote
  } catch {
    return undefined
  }
}

export function forgetHandover(stateDirectory: string): void {
  rmSync(join(stateDirectory, FILE_NAME), { force: true })
}
