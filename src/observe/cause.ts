/**
 * What was responsible for a drop, and what to do about it: the rule, service, setting or document by
 * its name, as far as the node's maps and the record of what was applied tell. `adviceFor` has the
 * general sentence of each reason; here is the particular one.
 */
import { DropReason } from '../packet/drop-reason.js'
import type { DatapathMaps } from '../pipeline/datapath-maps.js'
import { endpointNameOfPort, endpointRows, ipcacheRows } from './endpoint-view.js'
import type { Flow } from './flow.js'
import type { NameBook } from './names.js'
import { type ServiceRowView, serviceRows } from './service-view.js'

export interface Cause {
  /** What was responsible, by name; '' where nothing more is known than the reason. */
  readonly because: string
  /** What to do. */
  readonly remedy: string
}

type Explain = (flow: Flow, maps: DatapathMaps, names: NameBook) => Cause

const ETHER_TYPE_OFFSET = 12
const IP_OFFSET = 14
const TTL_OFFSET = IP_OFFSET + 8
const IDENTIFICATION_OFFSET = IP_OFFSET + 4
const FRAGMENT_OFFSET = IP_OFFSET + 6
const FRAGMENT_UNITS_MASK = 0x1fff
const FRAGMENT_UNIT_BYTES = 8

/** What people call protocols that are dropped. */
const PROTOCOL_NAMES: Readonly<Record<string, string>> = {
  '4': 'IP in IP',
  '41': 'IPv6 in IPv4',
  '47': 'GRE',
  '89': 'OSPF',
  '103': 'PIM',
  '112': 'VRRP',
}
const ETHER_TYPES: Readonly<Record<number, string>> = {
  34525: 'IPv6',
  33024: 'a VLAN tag',
  34984: 'a VLAN tag',
}

const CAUSES: Readonly<Record<number, Explain>> = {
  [DropReason.POLICY_DENIED]: policyDenied,
  [DropReason.POLICY_DENY]: policyDeny,
  [DropReason.NO_SERVICE_BACKEND]: noBackend,
  [DropReason.INVALID_SOURCE_IP]: invalidSource,
  [DropReason.CT_UNKNOWN_L4]: unknownProtocol,
  [DropReason.UNSUPPORTED_L3]: unsupportedNetwork,
  [DropReason.TTL_EXCEEDED]: ttlExceeded,
  [DropReason.FRAGMENT_NOT_FOUND]: fragmentNotFound,
  [DropReason.FRAGMENT_UNSUPPORTED]: fragmentsOff,
  [DropReason.NAT_NO_MAPPING]: noMapping,
  [DropReason.EDT_HORIZON]: bandwidth,
  [DropReason.NO_TUNNEL_ENDPOINT]: noTunnelEndpoint,
  [DropReason.ENCAP_PROHIBITED]: ownTunnel,
  [DropReason.UNROUTABLE]: noWay,
  [DropReason.NO_FIB]: noRoute,
  [DropReason.NOT_IN_SOURCE_RANGE]: notInRange,
  [DropReason.IS_CLUSTER_IP]: clusterIp,
}

/** Undefined where the reason's general advice is all there is. */
export function causeOf(flow: Flow, maps: DatapathMaps, names: NameBook): Cause | undefined {
  return CAUSES[-flow.dropCode]?.(flow, maps, names)
}

const sampleOf = (flow: Flow): Buffer => Buffer.from(flow.sample, 'hex')

const senderOf = (flow: Flow, maps: DatapathMaps, names: NameBook): string =>
  endpointNameOfPort(maps, names, flow.ingressPort)

/** "TCP port 80", "ICMP type 8". */
function serviceText(flow: Flow): string {
  if (flow.protocol === 'ICMP') return `ICMP type ${sampleOf(flow)[IP_OFFSET + 20] ?? '?'}`
  return `${flow.protocol} port ${flow.destinationPort}`
}

/** Who is on the other side of the policy that was asked: name and labels. */
function peerOf(flow: Flow, names: NameBook): { name: string; labels: string } {
  const isIngress = flow.direction === 'ingress'
  const address = isIngress ? flow.source : flow.destination
  const identity = isIngress ? flow.sourceIdentity : flow.destinationIdentity
  const labels = names.identity(identity) || `identity ${identity}`
  return { name: names.ofAddress(address) || address, labels }
}

function policyDenied(flow: Flow, _maps: DatapathMaps, names: NameBook): Cause {
  const { direction } = flow
  const name = names.endpoint(flow.endpoint)
  const closing = names.policiesClosing(flow.endpoint, direction === 'egress')
  const by = closing.length === 0 ? 'a policy' : closing.join(', ')
  const peer = peerOf(flow, names)
  const word = direction === 'egress' ? 'to' : 'from'
  const what = serviceText(flow)
  const own = flow.protocol === 'ICMP' ? ' (icmps of a CiliumNetworkPolicy)' : ''
  return {
    because:
      `${direction} of ${name} is closed by ${by}; no rule allows ${what} ${word} ` +
      `${peer.name} (${peer.labels})`,
    remedy:
      `allow it: a rule for ${direction} of ${name} that selects ${peer.labels}, with ` +
      `${what}${own}; ` +
      `or find what ${name} was to be selected by instead: ringpath policy --endpoint ${name}`,
  }
}

function policyDeny(flow: Flow, _maps: DatapathMaps, names: NameBook): Cause {
  const rule = names.rule(flow.ruleCookie) || 'a deny rule'
  const peer = peerOf(flow, names)
  const { direction } = flow
  const word = direction === 'egress' ? 'to' : 'from'
  return {
    because:
      `${rule} denies ${serviceText(flow)} ${word} ${peer.name} (${peer.labels}), ` +
      `${direction} of ${names.endpoint(flow.endpoint)}`,
    remedy:
      `take the peer or the port out of the ${direction}Deny of ${rule}: no allow ` +
      `outweighs it`,
  }
}

const frontendText = (row: ServiceRowView): string =>
  `${row.service || 'a service'} (${row.type} ${row.address}:${row.port}/${row.protocol})`

const frontendsOf = (flow: Flow, maps: DatapathMaps, names: NameBook): ServiceRowView[] =>
  serviceRows(maps.services, names).filter(({ address }) => address === flow.destination)

function noBackend(flow: Flow, maps: DatapathMaps, names: NameBook): Cause {
  const rows = frontendsOf(flow, maps, names)
  const own = rows.find(
    ({ port, protocol }) =>
      port === flow.destinationPort && (protocol === flow.protocol || protocol === 'ANY'),
  )
  if (own !== undefined) {
    const unfit = own.backends.map(({ address, port, state }) => `${address}:${port} ${state}`)
    const there = unfit.length === 0 ? 'it has none at all' : `there are ${unfit.join(', ')}`
    return {
      because: `service ${frontendText(own)} has no backend that takes new connections: ${there}`,
      remedy:
        'give it one: endpoints that its selector matches, or ready addresses in an ' +
        'EndpointSlice ' +
        '(ringpath get Service; ringpath endpoint -o wide shows labels)',
    }
  }
  const ports = rows.map(({ port, protocol }) => `${port}/${protocol}`)
  const name = rows[0]?.service ?? ''
  return {
    because:
      rows.length === 0
        ? `${flow.destination} is a service's address, but of none that is known now`
        : `${flow.destination} is ${name}'s, which has ${ports.join(', ')} and not ` +
          `${flow.destinationPort}/${flow.protocol}`,
    remedy: `use a port that it has, or add ${flow.destinationPort} to spec.ports of the Service`,
  }
}

function invalidSource(flow: Flow, maps: DatapathMaps, names: NameBook): Cause {
  const row = endpointRows(maps, names, 0).find(({ port }) => port === flow.ingressPort)
  const name = row?.name ?? `port ${flow.ingressPort}`
  return {
    because:
      `${name} (device ${row?.device}) has the address ${row?.address} and sent from ` +
      `${flow.source}`,
    remedy:
      `if the pod is right, correct spec.address of Endpoint ${name}; else look there for ` +
      `what sends ` +
      `from ${flow.source}: ip address, and programs that bind it`,
  }
}

function unknownProtocol(flow: Flow, maps: DatapathMaps, names: NameBook): Cause {
  const name = PROTOCOL_NAMES[flow.protocol]
  const told = name === undefined ? flow.protocol : `${flow.protocol} (${name})`
  return {
    because:
      `${senderOf(flow, maps, names)} sent IP protocol ${told}; TCP, UDP, ICMP and ` +
      `SCTP are carried`,
    remedy:
      'carry it in UDP, or send it from the node itself; no setting allows it (docs/limits.md)',
  }
}

function unsupportedNetwork(flow: Flow, maps: DatapathMaps, names: NameBook): Cause {
  const bytes = sampleOf(flow)
  const type = bytes.length > ETHER_TYPE_OFFSET + 1 ? bytes.readUInt16BE(ETHER_TYPE_OFFSET) : 0
  const name = ETHER_TYPES[type] ?? `EtherType 0x${type.toString(16).padStart(4, '0')}`
  return {
    because: `${senderOf(flow, maps, names)} sent ${name}; IPv4 and ARP are carried`,
    remedy:
      name === 'IPv6'
        ? 'switch it off in the pod (sysctl net.ipv6.conf.all.disable_ipv6=1), or leave it: ' +
          'nothing is lost'
        : 'send it untagged, as IPv4',
  }
}

function ttlExceeded(flow: Flow, maps: DatapathMaps, names: NameBook): Cause {
  const ttl = sampleOf(flow)[TTL_OFFSET] ?? 0
  return {
    because:
      `it came from ${senderOf(flow, maps, names)} with a TTL of ${ttl}, and this node ` +
      `is a hop`,
    remedy:
      'expected of traceroute; else raise the sender’s TTL (ping -t, IP_TTL), and if it began ' +
      'with 64, look ' +
      'for a routing loop: ringpath flows --ip ADDRESS shows whether it comes by again and again',
  }
}

function fragmentNotFound(flow: Flow): Cause {
  const bytes = sampleOf(flow)
  const isKept = bytes.length >= FRAGMENT_OFFSET + 2
  const id = isKept ? bytes.readUInt16BE(IDENTIFICATION_OFFSET) : 0
  const units = isKept ? bytes.readUInt16BE(FRAGMENT_OFFSET) & FRAGMENT_UNITS_MASK : 0
  return {
    because:
      `it is the part from byte ${units * FRAGMENT_UNIT_BYTES} on of datagram ${id} of ` +
      `${flow.source}, ` +
      'whose first part, with the ports, was not seen within 30 s',
    remedy:
      'look for the first part at its sender (tcpdump "ip[6:2] & 0x1fff = 0 and ip[6:2] & ' +
      '0x2000 != 0"): lost, dropped ' +
      'here for a reason of its own (ringpath drops), or late; smaller datagrams avoid it',
  }
}

function fragmentsOff(flow: Flow): Cause {
  return {
    because: `fragment tracking is switched off on this node, and ${flow.source} sent a fragment`,
    remedy: 'set spec.behaviour.fragmentTracking: true in the Node document',
  }
}

function noMapping(flow: Flow): Cause {
  const [tried = 0, ports = 0, used = 0, entries = 0] = flow.detail ?? []
  const to = `${flow.destination}:${flow.destinationPort}`
  return {
    because:
      `${tried} of the ${ports} ports for masquerading (spec.masquerade.ports of the Node) ` +
      `were tried in vain: ` +
      `${used} are in use toward ${to}; the NAT table has ${entries} entries`,
    remedy:
      'widen spec.masquerade.ports, have the pod reuse its connections (ringpath top shows ' +
      'who has most), or give some ' +
      'pods another address by a CiliumEgressGatewayPolicy',
  }
}

function bandwidth(flow: Flow, maps: DatapathMaps, names: NameBook): Cause {
  const isEgress = flow.direction !== 'ingress'
  const name = isEgress
    ? senderOf(flow, maps, names)
    : names.ofAddress(flow.destination) || flow.destination
  const field = `spec.bandwidth.${isEgress ? 'egress' : 'ingress'}BitsPerSecond`
  const limit = names.bandwidthOf(name, isEgress)
  const told = limit === 0 ? 'its limit' : `${limit} bits per second`
  return {
    because:
      `${name} ${isEgress ? 'sent' : 'was sent'} more than ${told}: ${field} of ` +
      `Endpoint ${name}`,
    remedy: `raise ${field}, or have the sender keep to it: TCP does by itself, UDP does not`,
  }
}

function noTunnelEndpoint(flow: Flow, maps: DatapathMaps, names: NameBook): Cause {
  const isTunnelOn = maps.node.tunnelPort !== 0
  const known = ipcacheRows(maps, names).find(({ prefix }) => prefix === `${flow.destination}/32`)
  const what = known === undefined ? flow.destination : `${flow.destination} (${known.labels})`
  return {
    because: isTunnelOn
      ? `${what} is a pod of another node, and no Peer document says which`
      : `${what} needs the tunnel, which is off on this node (spec.tunnel.mode: native)`,
    remedy: isTunnelOn
      ? 'apply the Peer document of its node: podCidrs has to hold the address (ringpath get ' +
        'Peer; ringpath ipcache)'
      : 'set spec.tunnel.mode: tunnel in the Node document',
  }
}

function ownTunnel(flow: Flow, maps: DatapathMaps, names: NameBook): Cause {
  return {
    because:
      `${senderOf(flow, maps, names)} sent UDP to port ${flow.destinationPort}, which is the ` +
      `tunnel's between ` +
      'nodes (spec.tunnel.port of the Node): a pod could claim any identity there',
    remedy:
      'have the program use another port, or the node another spec.tunnel.port (on all nodes)',
  }
}

function noWay(flow: Flow, maps: DatapathMaps): Cause {
  const hasHost = maps.node.hostPort >= 0
  return {
    because:
      `${flow.destination} is no endpoint, service or peer that this node knows` +
      (hasHost ? '' : ', and it has no host pair to hand it to the node’s stack'),
    remedy: hasHost
      ? 'ringpath ipcache tells what is known; a pod of another node needs its Peer document'
      : 'give the Node a spec.host, or spec.uplinks and routes (ip route)',
  }
}

function noRoute(flow: Flow): Cause {
  return {
    because:
      `the kernel's routes have no way to ${flow.destination}, or its next hop does ` +
      `not answer ARP`,
    remedy: `ip route get ${flow.destination}; ip neighbour; then repair the route or the next hop`,
  }
}

function notInRange(flow: Flow, maps: DatapathMaps, names: NameBook): Cause {
  const [row] = frontendsOf(flow, maps, names)
  const name = row === undefined ? flow.destination : frontendText(row)
  return {
    because: `${flow.source} is in none of the loadBalancerSourceRanges of service ${name}`,
    remedy: `add a prefix with ${flow.source} to spec.loadBalancerSourceRanges of the Service`,
  }
}

function clusterIp(flow: Flow, maps: DatapathMaps, names: NameBook): Cause {
  const [row] = frontendsOf(flow, maps, names)
  const name = row === undefined ? flow.destination : frontendText(row)
  return {
    because:
      `${flow.source} is outside of the cluster and asked for service ${name} by its ` +
      `ClusterIP`,
    remedy:
      'use a NodePort, an external address or a load balancer, or set ' +
      'spec.services.externalClusterIp: true',
  }
}
