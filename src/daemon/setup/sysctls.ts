/**
 * Kernel settings of the node's own stack (Linux: Documentation/networking/ip-sysctl.rst), of this
 * network namespace.
 *
 * What the datapath leaves to the stack comes by the host pair with addresses of the node and of
 * pods: the stack has to take them (`accept_local`, no `rp_filter`) and to route on (`ip_forward`).
 * The reverse path filter of a device is the larger one of its own and that of `all`; so that `all`
 * can be 0, every other device gets for itself what `all` gave it.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const ROOT = '/proc/sys'
const CONF = 'net/ipv4/conf'

export const readSysctl = (path: string): string => readFileSync(join(ROOT, path), 'utf8').trim()

export function writeSysctl(path: string, value: string): void {
  writeFileSync(join(ROOT, path), `${value}\n`)
}

export const hasSysctl = (path: string): boolean => existsSync(join(ROOT, path))

/** "net.ipv4.ip_forward", as sysctl(8) names it; a dot of a device's name becomes a slash. */
export const sysctlName = (path: string): string =>
  path
    .split('/')
    .map((part) => part.replaceAll('.', '/'))
    .join('.')

/** In the order in which they are to be set: nothing is open in between that was closed before. */
export function wantedSysctls(peerDevice: string): [path: string, value: string][] {
  const wanted: [string, string][] = [['net/ipv4/ip_forward', '1']]
  const ofAll = readSysctl(`${CONF}/all/rp_filter`)
  if (ofAll !== '0') {
    for (const device of readdirSync(join(ROOT, CONF))) {
      if (device === 'all' || device === peerDevice) continue
      const path = `${CONF}/${device}/rp_filter`
      if (Number(readSysctl(path)) < Number(ofAll)) wanted.push([path, ofAll])
    }
    wanted.push([`${CONF}/all/rp_filter`, '0'])
  }
  wanted.push([`${CONF}/${peerDevice}/rp_filter`, '0'], [`${CONF}/${peerDevice}/accept_local`, '1'])
  return wanted
}
