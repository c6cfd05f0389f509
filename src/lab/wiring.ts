/**
 * What a pod, a host pair and a plain link look like, as lines for `ip -batch` (ip(8)): plain data,
 * nothing is run here.
 *
 * A pod sees what Cilium's pods see: one address as /32 on eth0 and everything by way of a
 * link-scope gateway that the engine answers ARP for.
 */
import { randomBytes } from 'node:crypto'
import { ErrorCode, RingpathError } from '../base/errors.js'

/** IFNAMSIZ less its final zero. */
const DEVICE_NAME_MAX = 15
const NAME_PATTERN = /^[a-z0-9][a-z0-9-]*$/
const LXC_PREFIX = 'lxc-'

export const DEFAULT_MTU_BYTES = 1500
/** No address of any host: the engine answers ARP for it, as it does for all but the pod's own. */
export const DEFAULT_GATEWAY = '169.254.1.1'
/** In whose name the engine brings the node's stack requests to its own services. */
export const STAND_IN_ADDRESS = '169.254.42.1'
export const HOST_DEVICE = 'ringpath_host'
export const NET_DEVICE = 'ringpath_net'

export interface PodSpec {
  readonly podNetns: string
  readonly device: string
  readonly address: string
  readonly gateway: string
  readonly mtuBytes: number
  /** RX and TX queues of both ends. */
  readonly queues: number
  readonly podMac: string
  readonly hostMac: string
}

export interface HostPairSpec {
  readonly address: string
  readonly podCidr: string
  readonly mtuBytes: number
  readonly queues: number
  readonly hostMac: string
  readonly netMac: string
}

export interface LinkEndSpec {
  readonly device: string
  /** With its prefix length, such as 192.0.2.1/24; none when the engine owns the device. */
  readonly address?: string
  readonly mac: string
}

/** A random unicast MAC that is locally administered (IEEE 802, U/L bit set, I/G bit clear). */
export function randomMac(): string {
  const bytes = randomBytes(6)
  bytes[0] = ((bytes[0] as number) & 0xfc) | 0x02
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(':')
}

/** The node's side of a pod's veth pair. */
export function lxcDevice(podName: string): string {
  return checkDevice(`${LXC_PREFIX}${checkName(podName)}`)
}

export function checkName(name: string): string {
  if (NAME_PATTERN.test(name)) return name
  throw new RingpathError(
    ErrorCode.LAB_SETUP,
    `lab name "${name}": use lower-case letters, digits and hyphens`,
  )
}

export function checkDevice(device: string): string {
  if (device.length <= DEVICE_NAME_MAX) return device
  throw new RingpathError(
    ErrorCode.LAB_SETUP,
    `device name ${device} has ${device.length} characters; the kernel takes ${DEVICE_NAME_MAX}`,
  )
}

/** Run in the node's namespace: creates both ends. */
export function podLinkLines(pod: PodSpec): string[] {
  const queues = `numrxqueues ${pod.queues} numtxqueues ${pod.queues}`
  const near = `${pod.device} address ${pod.hostMac} mtu ${pod.mtuBytes} ${queues}`
  const far = `eth0 address ${pod.podMac} mtu ${pod.mtuBytes} ${queues} netns ${pod.podNetns}`
  return [`link add ${near} type veth peer name ${far}`, `link set ${pod.device} up`]
}

/** Run in the pod's namespace. */
export function podAddressLines(pod: PodSpec): string[] {
  return [
    `address add ${pod.address}/32 dev eth0`,
    'link set eth0 up',
    `route add ${pod.gateway} dev eth0 scope link`,
    `route add default via ${pod.gateway} dev eth0`,
  ]
}

/**
 * Run in the node's namespace. The node resolves each pod by ARP on ringpath_host; the engine
 * answers on ringpath_net.
 */
export function hostPairLines(pair: HostPairSpec): string[] {
  const queues = `numrxqueues ${pair.queues} numtxqueues ${pair.queues}`
  const host = `${HOST_DEVICE} address ${pair.hostMac} mtu ${pair.mtuBytes} ${queues}`
  const net = `${NET_DEVICE} address ${pair.netMac} mtu ${pair.mtuBytes} ${queues}`
  return [
    `link add ${host} type veth peer name ${net}`,
    `address add ${pair.address}/32 dev ${HOST_DEVICE}`,
    `link set ${HOST_DEVICE} up`,
    `link set ${NET_DEVICE} up`,
    `route add ${pair.podCidr} dev ${HOST_DEVICE} scope link src ${pair.address}`,
    `route add ${STAND_IN_ADDRESS} dev ${HOST_DEVICE} scope link`,
  ]
}

/** Run in the namespace of `a`: creates both ends. */
export function linkLines(
  a: LinkEndSpec,
  b: LinkEndSpec,
  bNetns: string,
  device: { readonly mtuBytes: number; readonly queues: number },
): string[] {
  const both = `mtu ${device.mtuBytes} numrxqueues ${device.queues} numtxqueues ${device.queues}`
  const near = `${checkDevice(a.device)} address ${a.mac} ${both}`
  const far = `${checkDevice(b.device)} address ${b.mac} ${both} netns ${bNetns}`
  return [`link add ${near} type veth peer name ${far}`, ...linkEndLines(a)]
}

/** Run in the namespace of that end, which exists already. */
export function linkEndLines(end: LinkEndSpec): string[] {
  const up = [`link set ${end.device} up`]
  if (end.address === undefined) return up
  return [`address add ${end.address} dev ${end.device}`, ...up]
}
