/**
 * What was set up on the node and what was there before, written down beside the maps before it is
 * done, so that `ringpath cleanup` can put it back, whoever was killed in between.
 */
import { readlinkSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { type FileFormat, type Kept, readKept, replaceFile } from '../state-file.js'

const FILE_NAME = 'node-setup.json'
const FORMAT: FileFormat = {
  namespace: 'string',
  device: 'string',
  peerDevice: 'string',
  hasPair: 'boolean',
  addresses: 'list',
  routes: 'list',
  sysctls: 'record',
}

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

/** Nothing when nothing was set up, or when that cannot be told any more. */
export const readRecord = (stateDirectory: string): Kept<SetupRecord> =>
  readKept<SetupRecord>(pathOf(stateDirectory), FORMAT)

export function writeRecord(stateDirectory: string, record: SetupRecord): void {
  replaceFile(pathOf(stateDirectory), JSON.stringify(record))
}

/** Nothing is set up any more. */
export function clearRecord(stateDirectory: string, { device, peerDevice }: SetupRecord): void {
  try {
    writeRecord(stateDirectory, emptyRecord(device, peerDevice))
  } catch {
    // Without room for it: no record says the same.
    rmSync(pathOf(stateDirectory), { force: true })
  }
}

const pathOf = (stateDirectory: string): string => join(stateDirectory, FILE_NAME)
