/**
 * What was set up on the node and what was there before, written down beside the maps before it is
 * done, so that `ringpath cleanup` can put it back, whoever was killed in between.
 */
import { readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { replaceFile } from '../document-store.js'

const FILE_NAME = 'node-setup.json'

export interface RecordedRoute {
  readonly cidr: string
  readonly source?: string
  readonly overheadBytes?: number
}

export interface SetupRecord {
  readonly version: 1
  /** Network namespace in which it was done: nothing is put back in another one. */
  readonly namespace: string
  device: string
  peerDevice: string
  /** The pair is ours, and goes with us. */
  hasPair: boolean
  addresses: string[]
  routes: RecordedRoute[]
  /** By path below /proc/sys. */
  sysctls: Record<string, { before: string; set: string }>
}

export const ownNamespace = (): string => readlinkSync('/proc/self/ns/net')

export const emptyRecord = (device: string, peerDevice: string): SetupRecord => ({
  version: 1,
  namespace: ownNamespace(),
  device,
  peerDevice,
  hasPair: false,
  addresses: [],
  routes: [],
  sysctls: {},
})

/** Undefined when nothing was set up, or the record cannot be read. */
export function readRecord(stateDirectory: string): SetupRecord | undefined {
  try {
    const record = JSON.parse(readFileSync(pathOf(stateDirectory), 'utf8')) as SetupRecord
    return record.version === 1 ? record : undefined
  } catch {
    return undefined
  }
}

export function writeRecord(stateDirectory: string, record: SetupRecord): void {
  replaceFile(pathOf(stateDirectory), JSON.stringify(record))
}

const pathOf = (stateDirectory: string): string => join(stateDirectory, FILE_NAME)
