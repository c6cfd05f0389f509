/** Where a network namespace can be entered that a link of /proc/PID/ns named, if it still is. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

const NAMED = '/run/netns/'
/** Fields of /proc/PID/mountinfo (proc(5)): the mount's root, which of a namespace is its name. */
const ROOT = 3
const MOUNT_POINT = 4

/**
 * The beginning of a command line that runs a program there; undefined when neither a process nor
 * a mount has the namespace any more.
 *
 * @param namespace such as "net:[4026531840]"
 */
export function wayInto(namespace: string): string | undefined {
  const mounted = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' '))
    .filter((fields) => fields[ROOT] === namespace)
    .map((fields) => fields[MOUNT_POINT] ?? '')
  const named = mounted.find((path) => path.startsWith(NAMED))
  if (named !== undefined) return `ip netns exec ${named.slice(NAMED.length)}`
  if (mounted[0] !== undefined) return `nsenter --net=${mounted[0]}`
  const pid = readdirSync('/proc').find((name) => /^\d+$/.test(name) && isIn(namespace, name))
  return pid === undefined ? undefined : `nsenter --net --target ${pid}`
}

/** A process that has ended meanwhile, or that we may not look at, does not help. */
function isIn(namespace: string, pid: string): boolean {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`) === namespace
  } catch {
    return false
  }
}
