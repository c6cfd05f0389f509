/** What people call the stages: Cilium's names, and one sentence of what each is for. */
import { ENTRY } from '../pipeline/observer.js'
import { TailCall } from '../pipeline/tail-call.js'

const NAMES = new Map<number, string>(
  Object.entries(TailCall).map(([name, number]) => [number, name]),
)

const PURPOSES: Readonly<Record<number, string>> = {
  [ENTRY]: 'which kind of port did it come in by',
  [TailCall.ARP]: 'answer an ARP request',
  [TailCall.IPV4_FROM_LXC]: 'check the sender, look for a service',
  [TailCall.IPV4_CT_EGRESS]: 'look for its connection on the way out',
  [TailCall.IPV4_FROM_LXC_CONT]: 'identity of the destination, egress policy, where to',
  [TailCall.IPV4_CT_INGRESS]: 'look for its connection on the way in',
  [TailCall.IPV4_TO_ENDPOINT]: 'ingress policy, delivery',
  [TailCall.IPV4_FROM_HOST]: 'from the node itself',
  [TailCall.IPV4_NO_SERVICE]: 'answer for a service without backends',
  [TailCall.IPV4_FROM_NETDEV]: 'from outside: overlay, service or pod',
  [TailCall.IPV4_FROM_OVERLAY]: 'out of the tunnel',
  [TailCall.TO_OVERLAY]: 'into the tunnel',
  [TailCall.NODEPORT_NAT_EGRESS]: 'to a backend elsewhere, from the node’s address',
  [TailCall.NODEPORT_NAT_FWD]: 'reply of a local backend to a client outside',
  [TailCall.NODEPORT_NAT_INGRESS]: 'is it an answer to something we translated',
  [TailCall.NODEPORT_REVNAT]: 'give it the service’s address again',
  [TailCall.NODEPORT_SNAT_FWD]: 'masquerade on the way out',
  [TailCall.TIME_EXCEEDED]: 'tell the sender that the TTL ended here',
  [TailCall.IPV4_FRAGMENTATION_NEEDED]: 'tell the sender what would fit',
  [TailCall.IPV4_POLICY_DENIED]: 'tell the sender that policy denied it',
}

export const stageName = (number: number): string =>
  number === ENTRY ? 'entry' : (NAMES.get(number) ?? `stage ${number}`)

export const stagePurpose = (number: number): string => PURPOSES[number] ?? ''
