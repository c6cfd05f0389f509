/**
 * One datapath and one agent for each state directory: a word of shared memory names the process
 * that has the role. Who finds a holder that is gone takes its place by one compare-and-exchange,
 * so that of two at once only one does. Nothing has to be cleaned up after kill -9.
 */
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { SharedMemory, XdpError } from 'xdp-socket-napi'
import { ErrorCode, RingpathError } from '../base/errors.js'

/** Word of the process id; the next one has the time at which that process began. */
export const Role = { DATAPATH: 0, AGENT: 2, STANDBY: 4 } as const
export type Role = (typeof Role)[keyof typeof Role]

const ROLE_NAMES: Readonly<Record<Role, string>> = {
  [Role.DATAPATH]: 'datapath',
  [Role.AGENT]: 'agent',
  [Role.STANDBY]: 'datapath that stands by',
}
const FILE_NAME = 'owners'
/** From a role's word to the one that is 1 when the holder can do what the role asks. */
const READY = 8
const BYTES = 4096

/** @throws RingpathError PROCESS_RUNNING naming the process that has the role */
export function takeRole(stateDirectory: string, role: Role): void {
  const words = openWords(stateDirectory)
  for (;;) {
    const holder = Atomics.load(words, role)
    if (holder !== 0 && holder !== process.pid && isRunning(words, role)) {
      const text = `${stateDirectory} is the ${ROLE_NAMES[role]}’s of process ${holder} already`
      throw new RingpathError(ErrorCode.PROCESS_RUNNING, text)
    }
    // 0 is taken for "not written yet" until the time follows.
    Atomics.store(words, role + 1, 0)
    Atomics.store(words, role + READY, 0)
    if (Atomics.compareExchange(words, role, holder, process.pid) === holder) break
  }
  Atomics.store(words, role + 1, startTime(process.pid) ?? 0)
}

/** The holder of the role can do what it is there for. */
export function markReady(stateDirectory: string, role: Role): void {
  Atomics.store(openWords(stateDirectory), role + READY, 1)
}

/** The process that has the role and is ready; undefined when there is none. */
export function readyHolderOf(stateDirectory: string, role: Role): number | undefined {
  const holder = holderOf(stateDirectory, role)
  if (holder === undefined) return undefined
  return Atomics.load(openWords(stateDirectory), role + READY) === 1 ? holder : undefined
}

/** For whoever takes another role instead. */
export function leaveRole(stateDirectory: string, role: Role): void {
  Atomics.compareExchange(openWords(stateDirectory), role, process.pid, 0)
}

/**
 * The process that has the role now; undefined when none does. Throws EXDP_SHARED_MEMORY where that
 * cannot be told, as for want of rights.
 */
export function holderOf(stateDirectory: string, role: Role): number | undefined {
  const words = existingWords(join(stateDirectory, FILE_NAME))
  const holder = words === undefined ? 0 : Atomics.load(words, role)
  return words !== undefined && holder !== 0 && isRunning(words, role) ? holder : undefined
}

/** What is not there is not made: no node is there. */
function existingWords(path: string): Int32Array | undefined {
  try {
    return wordsOf(SharedMemory.open(path, BYTES))
  } catch (error) {
    if (error instanceof XdpError && error.errno === constants.errno.ENOENT) return undefined
    throw error
  }
}

function openWords(stateDirectory: string): Int32Array {
  mkdirSync(stateDirectory, { recursive: true, mode: 0o700 })
  const path = join(stateDirectory, FILE_NAME)
  return wordsOf(SharedMemory.open(path, BYTES, { create: true }))
}

const wordsOf = ({ buffer }: SharedMemory): Int32Array => new Int32Array(buffer)

/** An agent or a datapath has been there: the directory is a node's, and no other. */
export const isStateDirectory = (directory: string): boolean =>
  existsSync(join(directory, FILE_NAME))

/** A process id that is in use again belongs to a process that began at another time. */
function isRunning(words: Int32Array, role: Role): boolean {
  const began = startTime(Atomics.load(words, role))
  const noted = Atomics.load(words, role + 1)
  return began !== undefined && (noted === 0 || noted === began)
}

/** Field 22 of /proc/<pid>/stat: clock ticks since boot; undefined when it does not run. */
function startTime(pid: number): number | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The name in brackets may hold spaces and brackets itself.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    // A zombie runs no more.
    return fields[0] === 'Z' ? undefined : Number(fields[19]) | 0
  } catch {
    return undefined
  }
}
