/**
 * Where a datapath has pinned its programs, in a file of the state directory: for whoever removes
 * them when nothing runs any more.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const FILE_NAME = 'pins'

export function notePins(stateDirectory: string, pinDirectory: string): void {
  writeFileSync(join(stateDirectory, FILE_NAME), `${pinDirectory}\n`, { mode: 0o600 })
}

/** Undefined when nothing has been pinned. */
export function notedPins(stateDirectory: string): string | undefined {
  try {
    return readFileSync(join(stateDirectory, FILE_NAME), 'utf8').trimEnd()
  } catch {
    return undefined
  }
}

export function forgetPins(stateDirectory: string): void {
  rmSync(join(stateDirectory, FILE_NAME), { force: true })
}
