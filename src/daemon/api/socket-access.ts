/**
 * Who may reach the API's socket: its owner, and one group. The directories above it are as much a
 * part of that as its own mode: who may not pass them does not reach it.
 */
import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { ErrorCode, RingpathError } from '../../base/errors.js'

const SOCKET_MODE = 0o660
/** The group passes it, to a name that it knows, and cannot list it; files in it have modes of their own. */
const PASSED_BY_GROUP = 0o710
const FOR_OWNER = 0o700
/** Nodes of this machine; their names are no secret. */
const STATE_ROOT = '/run/ringpath'
const LISTED_BY_ALL = 0o755

export interface SocketAccess {
  readonly socket: string
  /** The agent's own; a directory elsewhere is its owner's affair. */
  readonly stateDirectory: string
  /** Its members may use the socket; absent: the agent's owner alone. */
  readonly group: string | undefined
}

/** @throws RingpathError CONFIG_INVALID when there is no such group */
export function grantSocket({ socket, stateDirectory, group }: SocketAccess): void {
  const ownerId = process.getuid?.() ?? 0
  const id = group === undefined ? (process.getgid?.() ?? 0) : groupId(group)
  if (dirname(socket) === stateDirectory) {
    chownSync(stateDirectory, ownerId, id)
    chmodSync(stateDirectory, group === undefined ? FOR_OWNER : PASSED_BY_GROUP)
    const root = dirname(stateDirectory)
    if (group !== undefined && root === STATE_ROOT) chmodSync(root, LISTED_BY_ALL)
  }
  chownSync(socket, ownerId, id)
  chmodSync(socket, SOCKET_MODE)
}

/** From the system's own table; names of other sources by getent(1). */
function groupId(name: string): number {
  for (const line of readFileSync('/etc/group', 'utf8').split('\n')) {
    const [found, , id] = line.split(':')
    if (found === name) return Number(id)
  }
  try {
    const line = execFileSync('getent', ['group', '--', name], { encoding: 'utf8' })
    return Number(line.split(':')[2])
  } catch (error) {
    const text = `spec.api.group: '${name}', expected a group of this system`
    throw new RingpathError(ErrorCode.CONFIG_INVALID, text, error)
  }
}
