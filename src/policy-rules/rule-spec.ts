/**
 * Policy rules as data: who may speak to whom, by labels, entities and prefixes. What a Kubernetes
 * NetworkPolicy or CiliumNetworkPolicy document becomes (Cilium: pkg/policy/api), and what an
 * embedder writes directly. `checkRule` in rule-check.ts says what is valid.
 *
 * Everything is explicit, where the documents have customs: a direction that has a section, be it
 * empty, is enforced; a section without `peers` is for every peer, one with `peers: {}` for nobody.
 * Not here, and refused by name: L7 rules, authentication, FQDNs, groups, services as peers.
 */
import type { LabelSelector } from './labels.js'

/** Kinds of peers with a name; docs/policy.md says which identities each stands for. */
export type Entity =
  | 'all'
  | 'world'
  | 'world-ipv4'
  | 'world-ipv6'
  | 'cluster'
  | 'host'
  | 'remote-node'
  | 'init'
  | 'ingress'
  | 'health'
  | 'unmanaged'
  | 'kube-apiserver'

export interface CidrSpec {
  /** "10.0.0.0/8"; an address alone is a prefix of its full length. */
  readonly cidr: string
  /** Parts of it that are not meant. */
  readonly except?: readonly string[]
}

/** Remote sides: whoever one of the lists names. */
export interface PeerSpec {
  /**
   * Endpoints of the cluster by labels. Hosts, the world and other reserved identities only where
   * the selector names a `reserved:` label.
   */
  readonly endpoints?: readonly LabelSelector[]
  readonly entities?: readonly Entity[]
  /** Addresses outside: never those of endpoints or nodes, whose identity is their own. */
  readonly cidrs?: readonly CidrSpec[]
}

export interface PortSpec {
  /** ANY is TCP, UDP and SCTP. */
  readonly protocol: 'TCP' | 'UDP' | 'SCTP' | 'ANY'
  /**
   * 1 to 65535, or, for ingress, the name of one of the endpoint's own ports. Absent: every port of
   * the protocol.
   */
  readonly port?: number | string
  /** Last port of a range, inclusive. */
  readonly endPort?: number
}

export interface IcmpSpec {
  /** 'IPv4' unless given. */
  readonly family?: 'IPv4' | 'IPv6'
  /** ICMP type, 0 to 255; absent: every type. */
  readonly type?: number
}

/** One section: these peers, at these ports or ICMP types. */
export interface SectionSpec {
  /** Absent: every peer. */
  readonly peers?: PeerSpec
  /** Destination ports. Both absent: every packet. */
  readonly ports?: readonly PortSpec[]
  readonly icmps?: readonly IcmpSpec[]
}

export interface RuleSpec {
  /** Unique in a repository, such as "CiliumNetworkPolicy/shop/web:0"; events lead back to it. */
  readonly name: string
  /** The pods whose policy this is; exactly one of the two selectors is given. */
  readonly endpointSelector?: LabelSelector
  /** The nodes whose host policy this is, by the node's labels. */
  readonly nodeSelector?: LabelSelector
  readonly ingress?: readonly SectionSpec[]
  readonly ingressDeny?: readonly SectionSpec[]
  readonly egress?: readonly SectionSpec[]
  readonly egressDeny?: readonly SectionSpec[]
  /**
   * Whether the rule closes a direction to everything that no rule allows. Unless given: the
   * directions that the rule has a section for.
   */
  readonly enableDefaultDeny?: { readonly ingress?: boolean; readonly egress?: boolean }
  /** 0 (the highest, and the default) to 16777215; a higher one wins, be it allow or deny. */
  readonly priority?: number
}
