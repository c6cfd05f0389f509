/**
 * The stages of the chain by number. A number is Cilium's slot in `cilium_calls`
 * (bpf/lib/tailcall.h); where Cilium reuses a slot in each of its programs, ours adds the program:
 * bpf_lxc 0, bpf_host 64, bpf_overlay 128.
 */

export const TailCall = {
  /** tail_handle_arp: the responder for a pod's ARP requests. */
  ARP: 6,
  /** tail_handle_ipv4 of bpf_lxc. */
  IPV4_FROM_LXC: 7,
  /** tail_ipv4_to_endpoint: ingress policy and delivery. */
  IPV4_TO_ENDPOINT: 13,
  /** tail_handle_ipv4_from_host of bpf_host. */
  IPV4_FROM_HOST: 23,
  /** tail_handle_ipv4_cont: destination identity, egress policy, forwarding. */
  IPV4_FROM_LXC_CONT: 26,
  /** tail_ipv4_ct_ingress. */
  IPV4_CT_INGRESS: 28,
  /** tail_ipv4_ct_egress. */
  IPV4_CT_EGRESS: 30,
  /** tail_no_service_ipv4: a service without backends. */
  IPV4_NO_SERVICE: 45,
} as const
export type TailCall = (typeof TailCall)[keyof typeof TailCall]

/**
 * As the kernel's MAX_TAIL_CALL_CNT: a chain that is longer loops, and is dropped as a missed tail
 * call.
 */
export const TAIL_CALLS_MAX = 33
