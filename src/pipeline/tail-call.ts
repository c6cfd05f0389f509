/**
 * The stages of the chain by number. A number is Cilium's slot in `cilium_calls`
 * (bpf/lib/tailcall.h); where Cilium reuses a slot in each of its programs, ours adds the program:
 * bpf_lxc 0, bpf_host 64, bpf_overlay 128. From 192 on are stages that Cilium has not.
 */

export const TailCall = {
  /** tail_icmp6_send_time_exceeded, which Cilium has for IPv6 alone. */
  TIME_EXCEEDED: 5,
  /** tail_handle_arp: the responder for a pod's ARP requests. */
  ARP: 6,
  /** tail_handle_ipv4 of bpf_lxc. */
  IPV4_FROM_LXC: 7,
  /** tail_ipv4_to_endpoint: ingress policy and delivery. */
  IPV4_TO_ENDPOINT: 13,
  /** tail_nodeport_nat_egress_ipv4: to a backend elsewhere, from the node's address. */
  NODEPORT_NAT_EGRESS: 15,
  /** tail_nodeport_rev_dnat_ipv4: what came back to us, once more from the service. */
  NODEPORT_REVNAT: 17,
  /** tail_nodeport_nat_fwd_ipv4: the reply of a backend of this node, on its way out. */
  NODEPORT_NAT_FWD: 20,
  /** tail_handle_ipv4_from_host of bpf_host. */
  IPV4_FROM_HOST: 23,
  /** tail_handle_ipv4_cont: destination identity, egress policy, forwarding. */
  IPV4_FROM_LXC_CONT: 26,
  /** tail_ipv4_ct_ingress. */
  IPV4_CT_INGRESS: 28,
  /** tail_ipv4_ct_egress. */
  IPV4_CT_EGRESS: 30,
  /** tail_nodeport_nat_ingress_ipv4: what was sent to an address and port of our NAT. */
  NODEPORT_NAT_INGRESS: 36,
  /** tail_handle_snat_fwd_ipv4: masquerading, on the way out. */
  NODEPORT_SNAT_FWD: 38,
  /** tail_no_service_ipv4: a service without backends. */
  IPV4_NO_SERVICE: 45,
  /** tail_policy_denied_ipv4: tells the sender. */
  IPV4_POLICY_DENIED: 48,
  /** tail_handle_ipv4_from_netdev of bpf_host: slot 7 of that program. */
  IPV4_FROM_NETDEV: 71,
  /** tail_ipv4_host_policy_ingress of bpf_host, slot 11 of that program: the node's own policy. */
  IPV4_TO_HOST: 75,
  /** cil_to_overlay of bpf_overlay, a program of its own: into the tunnel. */
  TO_OVERLAY: 128,
  /** tail_handle_ipv4 of bpf_overlay: slot 7 of that program. */
  IPV4_FROM_OVERLAY: 135,
  /** Tells the sender the MTU of a way that its packet is too large for. */
  IPV4_FRAGMENTATION_NEEDED: 192,
} as const
export type TailCall = (typeof TailCall)[keyof typeof TailCall]

/**
 * As the kernel's MAX_TAIL_CALL_CNT: a chain that is longer loops, and is dropped as a missed tail
 * call.
 */
export const TAIL_CALLS_MAX = 33
