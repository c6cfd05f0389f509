/**
 * Directories of demonstrations under /run/ringpath: the shared maps and the web page of each run.
 * They are files of a memory file system; those of dead runs are removed by the next one.
 */
import * as fs from 'node:fs'
import { join } from 'node:path'
import { listRuns } from '../lab/run-record.js'

const BASE_DIRECTORY = '/run/ringpath'
const PREFIX = 'demo-'

export const stateDirectory = (runId: string): string => join(BASE_DIRECTORY, `${PREFIX}${runId}`)

/** Ids of the runs that have a directory. */
export function listStateDirectories(): string[] {
  if (!fs.existsSync(BASE_DIRECTORY)) return []
  return fs
    .readdirSync(BASE_DIRECTORY)
    .filter((name) => name.startsWith(PREFIX))
    .map((name) => name.slice(PREFIX.length))
}

/** Removes it, and the base directory with the last of its kind; removing twice is fine. */
export function removeStateDirectory(runId: string): void {
  fs.rmSync(stateDirectory(runId), { recursive: true, force: true })
  if (fs.existsSync(BASE_DIRECTORY) && fs.readdirSync(BASE_DIRECTORY).length === 0) {
    fs.rmdirSync(BASE_DIRECTORY)
  }
}

/** Removes those whose run is gone; to be called after the lab swept the dead runs. */
export function sweepStateDirectories(): void {
  const alive = new Set(listRuns())
  const dead = listStateDirectories().filter((id) => !alive.has(id))
  for (const id of dead) removeStateDirectory(id)
}
