/**
 * What the node's own stack needs for a state: the host pair, its addresses, and routes by it to pods
 * and services. Pure.
 */
import { BlockList } from 'node:net'
import type { DesiredState } from '../../k8s/desired-state.js'
import type { NodeDocument } from '../../k8s/ringpath-documents.js'
import { formatCidr, parseCidr } from '../../wire/address.js'

/** Of Ethernet, IPv4, UDP and VXLAN. */
const TUNNEL_BYTES = 50
/** Until the documents say otherwise, Cilium's and ours. */
const STAND_IN = '169.254.42.1'

export interface WantedRoute {
  readonly cidr: string
  /** Source address of what the node itself sends; the kernel's choice unless given. */
  readonly source?: string
  /** Bytes that the tunnel needs of the device's MTU. */
  readonly overheadBytes?: number
}

export interface SetupPlan {
  /** The datapath's end and the kernel's. */
  readonly device: string
  readonly peerDevice: string
  readonly addresses: readonly string[]
  readonly routes: readonly WantedRoute[]
}

/** Undefined where there is no host pair, or somebody else sets the node up. */
export function setupPlan(node: NodeDocument, state: DesiredState): SetupPlan | undefined {
  const { host, serviceCidrs, podCidrs } = node.spec
  if (host === undefined || !host.managed) return undefined
  const { device, peerDevice, addresses } = host
  const source = addresses[0]
  const routes = new Map<string, WantedRoute>()
  const add = (cidr: string, more: Omit<WantedRoute, 'cidr'> = {}): void => {
    if (!routes.has(cidr)) routes.set(cidr, { cidr, ...more })
  }
  const from = source === undefined ? {} : { source }
  const isIpv4 = (cidr: string): boolean => !cidr.includes(':')
  const covered = new BlockList()
  for (const text of [...podCidrs, ...serviceCidrs].filter(isIpv4)) {
    // Without host bits, as the kernel has it.
    const cidr = formatCidr(parseCidr(text))
    add(cidr, from)
    const [address = '', bits] = cidr.split('/')
    covered.addSubnet(address, Number(bits))
  }
  const own = new Set([...addresses, ...node.spec.uplinks.map(({ address }) => address)])
  for (const address of [...podAddresses(state), ...serviceAddresses(state)]) {
    if (!covered.check(address) && !own.has(address)) add(`${address}/32`, from)
  }
  for (const text of tunnelledCidrs(node, state)) {
    add(formatCidr(parseCidr(text)), { ...from, overheadBytes: TUNNEL_BYTES })
  }
  // Backends in the node's own stack answer to it.
  const { loopback } = node.spec.services
  add(`${loopback === 'pod' ? STAND_IN : loopback}/32`)
  return { device, peerDevice, addresses, routes: [...routes.values()] }
}

const podAddresses = (state: DesiredState): string[] =>
  state.endpoints.map(({ spec }) => spec.address)

/** Addresses that services have; a NodePort's are the node's own, a redirect's somebody else's. */
const serviceAddresses = (state: DesiredState): string[] =>
  state.services
    .flatMap(({ spec }) => spec.frontends)
    .filter(({ type }) => type === 'ClusterIP' || type === 'LoadBalancer' || type === 'ExternalIP')
    .map(({ address }) => address)

/** Pods of other nodes that are behind the tunnel. */
function tunnelledCidrs({ spec }: NodeDocument, state: DesiredState): string[] {
  if (spec.tunnel.mode !== 'tunnel') return []
  return state.peers.flatMap((peer) => (peer.spec.skipTunnel ? [] : peer.spec.podCidrs))
}
