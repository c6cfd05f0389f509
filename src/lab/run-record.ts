/**
 * Which lab runs exist on this machine, and how to remove one. Each run leaves a record before it
 * creates anything; a record whose process is gone marks leftovers (kill -9, power cut of a
 * container) which the next run sweeps away.
 *
 * Everything here is synchronous, so that one code path serves closing, the exit hook of a dying
 * process and the janitor.
 */
import { spawnSync } from 'node:child_process'
import { randomInt } from 'node:crypto'
import * as fs from 'node:fs'
import { ErrorCode, RingpathError } from '../base/errors.js'

const RECORD_DIRECTORY = '/run/ringpath-lab'
const NAMESPACE_DIRECTORY = '/run/netns'
const NAMESPACE_PREFIX = 'rp-'
const ID_LENGTH = 6
const ID_PATTERN = /^[a-z0-9]{6}$/
const IP_TIMEOUT_MS = 10_000

interface RunRecord {
  readonly name: string
  readonly pid: number
  /**
   * Clock ticks from boot to the process's start: tells it from a later process with the same pid
   * (proc(5), stat).
   */
  readonly startTicks: string
}

export const namespacePrefix = (id: string): string => `${NAMESPACE_PREFIX}${id}-`

/** Writes the record of a new run of this process and returns the run's id. */
export function openRun(name: string): string {
  const id = randomInt(36 ** ID_LENGTH)
    .toString(36)
    .padStart(ID_LENGTH, '0')
  const record: RunRecord = { name, pid: process.pid, startTicks: startTicks(process.pid) }
  fs.mkdirSync(RECORD_DIRECTORY, { recursive: true })
  // Renamed into place: another run's sweep never reads half a record.
  const draft = `${RECORD_DIRECTORY}/${id}.${process.pid}`
  fs.writeFileSync(draft, `${JSON.stringify(record)}\n`)
  fs.renameSync(draft, recordPath(id))
  return id
}

/** A directory for the files of a run's programs; goes with the run. */
export function runDirectory(id: string): string {
  const path = `${RECORD_DIRECTORY}/${id}.d`
  fs.mkdirSync(path, { recursive: true, mode: 0o700 })
  return path
}

/**
 * Removes the run's processes, namespaces (with all their devices), files with what is mounted among
 * them, and record. Removing twice is fine.
 */
export function removeRun(id: string): void {
  const namespaces = namespacesOf(id)
  killProcessesIn(namespaces)
  const failures: string[] = []
  for (const namespace of namespaces) {
    const result = spawnSync('ip', ['netns', 'delete', namespace], { timeout: IP_TIMEOUT_MS })
    const isGone = !fs.existsSync(`${NAMESPACE_DIRECTORY}/${namespace}`)
    if (!isGone) failures.push(`${namespace}: ${result.stderr ?? result.error}`)
  }
  if (failures.length > 0) {
    // The record stays, so that the next run tries again.
    throw new RingpathError(ErrorCode.LAB_SETUP, `cannot remove ${failures.join('; ')}`)
  }
  const files = `${RECORD_DIRECTORY}/${id}.d`
  for (const mount of mountsUnder(files)) {
    spawnSync('umount', ['--lazy', mount], { timeout: IP_TIMEOUT_MS })
  }
  fs.rmSync(files, { recursive: true, force: true })
  fs.rmSync(recordPath(id), { force: true })
}

/** Removes what dead runs left; returns their ids. Runs of live processes are left alone. */
export function sweepDeadRuns(): string[] {
  const dead = listRuns().filter((id) => processOfRun(id) === undefined)
  for (const id of dead) removeRun(id)
  return dead
}

/** Ids of all recorded runs, alive or dead. */
export function listRuns(): string[] {
  if (!fs.existsSync(RECORD_DIRECTORY)) return []
  return fs
    .readdirSync(RECORD_DIRECTORY)
    .filter((file) => file.endsWith('.json'))
    .map((file) => file.slice(0, -'.json'.length))
    .filter((id) => ID_PATTERN.test(id))
}

/** Names of the namespaces that exist of a run. */
export function namespacesOf(id: string): string[] {
  if (!fs.existsSync(NAMESPACE_DIRECTORY)) return []
  return fs.readdirSync(NAMESPACE_DIRECTORY).filter((name) => name.startsWith(namespacePrefix(id)))
}

const recordPath = (id: string): string => `${RECORD_DIRECTORY}/${id}.json`

/** The process of a run that is alive; undefined of a dead run. */
export function processOfRun(id: string): number | undefined {
  try {
    const record = JSON.parse(fs.readFileSync(recordPath(id), 'utf8')) as RunRecord
    return record.startTicks === startTicks(record.pid) ? record.pid : undefined
  } catch {
    // No process, no record or no JSON: nobody answers for this run.
    return undefined
  }
}

/** @throws when there is no such process */
function startTicks(pid: number): string {
  const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8')
  // Field 22; the second field may itself hold spaces and brackets, so count from the last bracket.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields[19] ?? ''
}

/** File systems mounted below a directory, such as a bpffs; the last mounted first. */
function mountsUnder(directory: string): string[] {
  const lines = fs.readFileSync('/proc/self/mountinfo', 'utf8').split('\n')
  // Field 5 (proc(5)); a lab's directories have no characters that would be escaped there.
  const mounts = lines.map((line) => line.split(' ')[4] ?? '')
  return mounts.filter((mount) => mount.startsWith(`${directory}/`)).reverse()
}

/** A namespace lives as long as a process is in it, whatever `ip netns delete` removed. */
function killProcessesIn(namespaces: readonly string[]): void {
  const inodes = new Set<number>()
  for (const namespace of namespaces) {
    const inode = inodeOf(`${NAMESPACE_DIRECTORY}/${namespace}`)
    if (inode !== undefined) inodes.add(inode)
  }
  if (inodes.size === 0) return
  for (const entry of fs.readdirSync('/proc')) {
    const pid = Number(entry)
    if (!Number.isInteger(pid) || pid === process.pid || pid <= 1) continue
    const inode = inodeOf(`/proc/${pid}/ns/net`)
    if (inode !== undefined && inodes.has(inode)) kill(pid)
  }
}

function inodeOf(path: string): number | undefined {
  try {
    return fs.statSync(path).ino
  } catch {
    return undefined
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
