/**
 * What the machine knows of a device and of the way to an address: MAC addresses, the device's own
 * address, the default route. Read by `ip -json`, which sees the namespace that we are in; /sys may
 * show another's.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { deviceInfo, XdpError, XdpErrorCode } from 'xdp-socket-napi'
import { ErrorCode, RingpathError } from '../base/errors.js'
import { invalid } from './invalid.js'

export interface Device {
  readonly name: string
  readonly mac: string
  readonly mtuBytes: number
  /** Its first IPv4 address; none when it has none. */
  readonly address: string | undefined
  readonly isUp: boolean
  readonly hasDefaultRoute: boolean
}

interface IpAddress {
  readonly ifname: string
  readonly address: string
  readonly mtu: number
  readonly flags: readonly string[]
  readonly addr_info: readonly { readonly family: string; readonly local: string }[]
}
interface IpRoute {
  readonly dst: string
  readonly dev?: string
  readonly gateway?: string
}
interface IpNeighbour {
  readonly lladdr?: string
}

/** @throws RingpathError CONFIG_INVALID when there is no such device */
export function findDevice(name: string): Device {
  const all = ip<IpAddress>(['address', 'show'])
  const found = all.find(({ ifname }) => ifname === name)
  if (found === undefined) throw noDevice('device', name, all, 'this network namespace')
  return {
    name,
    mac: found.address,
    mtuBytes: found.mtu,
    address: found.addr_info.find(({ family }) => family === 'inet')?.local,
    isUp: found.flags.includes('UP'),
    hasDefaultRoute: hasDefaultRoute(name),
  }
}

/**
 * Of a sink, in a namespace that `ip netns` knows, or in our own.
 *
 * @throws RingpathError CONFIG_INVALID when there is no such namespace or device
 */
export function checkSinkDevice(name: string, namespace?: string): void {
  const place = namespace === undefined ? [] : ['-n', namespace]
  const all = ip<IpAddress>([...place, 'address', 'show'])
  if (namespace !== undefined && all.length === 0) {
    throw invalid('sink-namespace', namespace, 'one that `ip netns` lists')
  }
  if (all.some(({ ifname }) => ifname === name)) return
  const where = namespace === undefined ? 'this network namespace' : `namespace ${namespace}`
  throw noDevice('sink', name, all, where)
}

function noDevice(option: string, name: string, all: readonly IpAddress[], where: string) {
  const names = all.map(({ ifname }) => ifname).join(', ')
  return invalid(option, name, `a device of ${where}: ${names}`)
}

const CORES_FILE = '/sys/devices/system/cpu/online'

/** Whether a program may run there is what taskset(1) finds out: a cpuset may have fewer cores. */
export function checkCore(core: number): void {
  const { status } = spawnSync('taskset', ['-c', `${core}`, 'true'], { stdio: 'ignore' })
  if (status === 0 || status === null) return
  const cores = readFileSync(CORES_FILE, 'utf8').trim()
  throw invalid('core', core, `a core that this machine has and we may use, of ${cores}`)
}

/** Index of the device that has the name now; undefined when none has. */
export function deviceIndex(name: string): number | undefined {
  try {
    return deviceInfo(name).index
  } catch (error) {
    if (error instanceof XdpError && error.code === XdpErrorCode.NO_DEVICE) return undefined
    throw error
  }
}

function hasDefaultRoute(device: string): boolean {
  const routes = [
    ...ip<IpRoute>(['-4', 'route', 'show', 'table', 'all', 'default']),
    ...ip<IpRoute>(['-6', 'route', 'show', 'table', 'all', 'default']),
  ]
  return routes.some(({ dst, dev }) => dst === 'default' && dev === device)
}

/** The MAC address of the next hop, if the kernel has one by this device; it is not asked for. */
export function nextHopMac(device: string, address: string): string | undefined {
  const [route] = ip<IpRoute>(['route', 'get', address, 'oif', device])
  const hop = route?.gateway ?? address
  return ip<IpNeighbour>(['neighbour', 'show', 'to', hop, 'dev', device])[0]?.lladdr
}

/** What `ip` cannot answer, such as a route that is not there, is an empty list. */
function ip<T>(args: readonly string[]): readonly T[] {
  try {
    const text = execFileSync('ip', ['-json', ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    return text.trim() === '' ? [] : (JSON.parse(text) as T[])
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') return []
    throw new RingpathError(ErrorCode.GENERATOR, 'the command `ip` (iproute2) is not installed')
  }
}
