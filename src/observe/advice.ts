/** For each cause of a drop that an operator meets: what it means here, and what to look at. */
import { DropReason } from '../packet/drop-reason.js'

const ADVICE: Readonly<Record<number, string>> = {
  [DropReason.INVALID_SOURCE_IP]:
    'A pod may send from its own address alone. Compare `ringpath endpoint` with `ip ' +
    'addr` in the pod.',
  [DropReason.POLICY_DENIED]:
    'The direction is closed by a policy and no rule allows this peer at this port. ' +
    '`ringpath policy --endpoint NAME` lists what is allowed; `ringpath trace` shows ' +
    'which side refused.',
  [DropReason.POLICY_DENY]:
    'A deny rule matches, and wins over every allow of its priority. The rule is named above.',
  [DropReason.INVALID]:
    'A header is cut short or contradicts itself. If it comes from one sender only, look ' +
    'at that sender.',
  [DropReason.CT_INVALID_HEADER]:
    'The transport header is cut short: a scanner, or a broken sender.',
  [DropReason.CT_UNKNOWN_L4]:
    'Only TCP, UDP, SCTP and ICMP are tracked; other protocols do not pass (docs/limits.md).',
  [DropReason.UNSUPPORTED_L3]:
    'Neither IPv4 nor ARP. IPv6 is not forwarded yet: switch it off in the pod, or ignore these.',
  [DropReason.FRAGMENT_UNSUPPORTED]: 'Fragment tracking is off (Node: spec.behaviour).',
  [DropReason.FRAGMENT_NOT_FOUND]:
    'A later fragment whose first one was not seen: reordered, lost, or evicted from the table.',
  [DropReason.NO_SERVICE_BACKEND]:
    'The address is a service’s. Either the port is none of it, or it has no backend in ' +
    'service: `ringpath service`.',
  [DropReason.UNROUTABLE]:
    'Nobody here has the destination, and there is no way out: is there a host pair or an uplink?',
  [DropReason.TTL_EXCEEDED]: 'The packet has been forwarded too often: a loop, or a traceroute.',
  [DropReason.CT_CREATE_FAILED]:
    'The connection table can evict nothing: `ringpath map`; raise spec.maps.connections.',
  [DropReason.NAT_NO_MAPPING]:
    'No free port for a mapping, or an answer to none that is known: `ringpath nat`.',
  [DropReason.NO_TUNNEL_ENDPOINT]:
    'A pod of another node whose node nobody knows: is its Peer document there?',
  [DropReason.NO_FIB]: 'The kernel’s routes or neighbours have no way there: `ip route get`.',
  [DropReason.NO_CONFIG]: 'A packet came in by a port that no document describes any more.',
  [DropReason.ENDPOINT_NOT_READY]: 'The endpoint is being added or removed.',
  [DropReason.MISSED_TAIL_CALL]:
    'A bug: a stage named a next one that is not there. Please report it.',
  [DropReason.CHECKSUM_L4]: 'A checksum was wrong before we changed the packet.',
  [DropReason.IS_CLUSTER_IP]:
    'Clients from outside may not use a ClusterIP (Node: spec.services.externalClusterIp).',
  [DropReason.NOT_IN_SOURCE_RANGE]:
    'The client is in none of the service’s loadBalancerSourceRanges.',
  [DropReason.UNSUPPORTED_L2]: 'The frame is shorter than an Ethernet header.',
  [DropReason.FRAGMENTATION_NEEDED]:
    'Larger than the MTU of its way, and may not be fragmented: the sender was told the MTU.',
  [DropReason.ENCAP_PROHIBITED]: 'Pods may not send the overlay’s packets themselves.',
}

/** '' where there is none. */
export const adviceFor = (code: number): string => ADVICE[-code] ?? ''
