/**
 * A scenario as test/scenarios/schema.json describes it, for the compiler. The schema is what a file
 * is held against; docs/scenarios.md explains each key.
 */

/** A number, or the name of one that an earlier step found. */
export type NumberOrName = number | string

export interface Layers {
  readonly eth?: {
    readonly from?: string
    readonly to?: string
    readonly type?: NumberOrName
  } | null
  readonly vlans?: readonly {
    readonly id: NumberOrName
    readonly priority?: NumberOrName
    readonly type?: NumberOrName
  }[]
  readonly arp?: Readonly<Record<string, string>> | null
  readonly ipv4?: Readonly<Record<string, NumberOrName>> | null
  readonly tcp?: Readonly<Record<string, NumberOrName>> | null
  readonly udp?: Readonly<Record<string, NumberOrName>> | null
  readonly sctp?: Readonly<Record<string, NumberOrName>> | null
  readonly icmp?:
    | (Readonly<Record<string, NumberOrName | Layers>> & { readonly quoted?: string | Layers })
    | null
  readonly vxlan?: {
    readonly vni?: NumberOrName
    readonly flags?: NumberOrName
    readonly frame?: string | Layers
  } | null
  readonly payload?: string | { readonly hex?: string; readonly bytes?: number } | null
  /** Zeros at the end up to so many bytes. */
  readonly pad?: NumberOrName
  /** The frame ends after so many bytes. */
  readonly cut?: NumberOrName
}

export type DirectionName = 'none' | 'ingress' | 'egress' | 'service'
export type ProtocolName = 'TCP' | 'UDP' | 'SCTP' | 'ICMP' | 'ANY'
/** A number, the name of a pod, or a reserved identity's name. */
export type IdentityRef = number | string

export interface FreeField {
  readonly as?: string
  readonly min?: NumberOrName
  readonly max?: NumberOrName
  readonly not?: NumberOrName
}

export interface ExpectedOut {
  readonly port:
    | string
    | { readonly oneOf: readonly string[]; readonly not?: string; readonly as: string }
  readonly frame?: string | Layers
  readonly changed?: Layers
  readonly free?: readonly string[] | Readonly<Record<string, FreeField>>
  readonly malformed?: boolean
}

export interface ExpectedEvent {
  readonly type: 'drop' | 'trace' | 'policy'
  readonly code?: number
  readonly point?: number
  readonly direction?: DirectionName
  readonly endpoint?: string
  readonly sourceIdentity?: IdentityRef
  readonly destinationIdentity?: IdentityRef
  readonly ctResult?: 'new' | 'established' | 'reply' | 'related'
  readonly match?: number
  readonly cookie?: number
  readonly audited?: boolean
}

export interface ConnectionSpec {
  readonly side: 'out' | 'in' | 'service'
  readonly protocol: ProtocolName
  readonly from: string
  readonly fromPort?: NumberOrName
  readonly to: string
  readonly toPort?: NumberOrName
  readonly absent?: boolean
  /** Seconds from now until it may be collected. */
  readonly lifetimeSeconds?: number
  readonly flags?: readonly string[]
  readonly sourceIdentity?: IdentityRef
  readonly packets?: number
  readonly bytes?: number
  /** "address:port" of the frontend that replies get. */
  readonly service?: string
  /** Of a service entry: name or address of its backend. */
  readonly backend?: string
}

export interface NatSpec {
  readonly protocol: ProtocolName
  readonly from: string
  readonly fromPort?: NumberOrName
  readonly to: string
  readonly toPort?: NumberOrName
  readonly natAddress?: string
  readonly natPort?: NumberOrName
  readonly absent?: boolean
}

export interface StateSpec {
  readonly connections?: readonly ConnectionSpec[]
  readonly connectionCount?: number
  readonly affinities?: readonly {
    readonly client: string
    readonly backend?: string
    readonly absent?: boolean
  }[]
  readonly nat?: readonly NatSpec[]
  readonly natCount?: number
  readonly fragmentCount?: number
  readonly counters?: readonly {
    readonly reason: number
    readonly direction?: DirectionName
    readonly frames?: number
    readonly bytes?: number
  }[]
}

export interface Expectation {
  readonly out?: ExpectedOut | readonly ExpectedOut[]
  /** Code, or name as in src/packet/drop-reason.ts. */
  readonly drop?: number | string
  /** What a drop's sender is told. */
  readonly answer?: ExpectedOut
  readonly direction?: DirectionName
  readonly consumed?: true
  readonly events?: readonly ExpectedEvent[]
  readonly state?: StateSpec
}

export interface RuleSpec {
  readonly action?: 'allow' | 'deny'
  readonly identities?: readonly IdentityRef[]
  readonly ports?: readonly {
    readonly protocol: 'TCP' | 'UDP' | 'SCTP' | 'ICMP'
    readonly port?: number
    readonly lastPort?: number
    readonly icmpType?: number
  }[]
  readonly priority?: number
  readonly cookie?: number
}

/** A direction that is given is enforced. */
export interface PolicySpec {
  readonly ingress?: readonly RuleSpec[]
  readonly egress?: readonly RuleSpec[]
}

export interface ServiceRecord {
  readonly name: string
  readonly frontends: readonly {
    readonly address: string
    readonly port: number
    readonly protocol: 'TCP' | 'UDP' | 'SCTP' | 'ANY'
    readonly type: 'ClusterIP' | 'NodePort' | 'ExternalIP' | 'LoadBalancer' | 'HostPort'
  }[]
  readonly backends: readonly {
    readonly address: string
    readonly port: number
    readonly weight?: number
    readonly state?: 'active' | 'terminating' | 'quarantined' | 'maintenance'
    readonly isLocal?: boolean
  }[]
  readonly sessionAffinitySeconds?: number
  readonly algorithm?: 'random' | 'maglev'
  readonly externalTrafficPolicy?: 'Cluster' | 'Local'
  readonly internalTrafficPolicy?: 'Cluster' | 'Local'
  readonly sourceRanges?: readonly string[]
}

export interface RouteRecord {
  readonly prefix: string
  /** 'forward' by the uplink unless given; 'none' takes the route away. */
  readonly kind?: 'forward' | 'stack' | 'unreachable' | 'none'
  readonly gateway?: string
  readonly mtuBytes?: number
}

export interface PeerRecord {
  readonly name: string
  readonly address: string
  readonly podCidrs: readonly string[]
  readonly hostAddresses?: readonly string[]
  readonly skipTunnel?: boolean
}

export interface RemoteRecord {
  readonly prefix: string
  readonly identity: IdentityRef
  readonly tunnelEndpoint?: string
  readonly skipTunnel?: boolean
}

/** A datagram whose first fragment has been seen. */
export interface FragmentRecord {
  readonly from: string
  readonly to: string
  readonly id: number
  readonly protocol: ProtocolName
  readonly fromPort?: NumberOrName
  readonly toPort?: NumberOrName
}

export interface MasqueradeRecord {
  readonly enabled: boolean
  readonly nativeRoutingCidrs?: readonly string[]
  readonly nonMasqueradeCidrs?: readonly string[] | 'default'
  readonly masqLinkLocal?: boolean
  readonly remoteNodes?: boolean
  readonly ports?: { readonly low: number; readonly high: number }
}

export interface EgressRecord {
  readonly sources: readonly string[]
  readonly destinations: readonly string[]
  readonly excluded?: readonly string[]
  readonly gateway?: string
  readonly egressAddress?: string
}

export type Removable = 'services' | 'pods' | 'peers' | 'remotes'

export interface NodeSpec {
  readonly about?: string
  readonly clock?: number
  readonly names?: Readonly<Record<string, string>>
  readonly settings?: {
    readonly loopback?: string
    readonly noBackendResponse?: 'reject' | 'drop'
    /** Entries of the connection table. */
    readonly connections?: number
    readonly fragmentTracking?: boolean
    readonly policyAudit?: boolean
    readonly policyDenyResponse?: 'none' | 'icmp' | 'reset'
    readonly answersPerSecond?: number
    readonly answersBurst?: number
    readonly externalClusterIp?: boolean
    readonly hostFirewall?: boolean
  }
  readonly host?: boolean
  /** An uplink with address 192.0.2.2/24 and a default route by `gateway`, 192.0.2.1. */
  readonly uplink?: boolean
  readonly routes?: readonly RouteRecord[]
  /** MAC by address, on the uplink; null: forgotten. */
  readonly neighbours?: Readonly<Record<string, string | null>>
  readonly tunnel?: { readonly mode: 'native' | 'tunnel'; readonly port?: number }
  readonly peers?: readonly PeerRecord[]
  readonly remotes?: readonly RemoteRecord[]
  readonly fragments?: readonly FragmentRecord[]
  readonly masquerade?: MasqueradeRecord
  /** Addresses that the node answers ARP for outside, while its agent lives. */
  readonly announced?: readonly string[]
  readonly withdrawn?: readonly string[]
  /** True: the agent gives a sign of life now. */
  readonly agentAlive?: boolean
  /** Those and no others. */
  readonly deniedSources?: readonly string[]
  readonly allowedVlans?: readonly number[]
  readonly egressRules?: readonly EgressRecord[]
  /** By pod; a rate that is not given is not limited. */
  readonly bandwidth?: Readonly<
    Record<
      string,
      { readonly egressBitsPerSecond?: number; readonly ingressBitsPerSecond?: number }
    >
  >
  /** Mappings that are there already. */
  readonly nat?: readonly NatSpec[]
  /** Ports that the node's own sockets use. */
  readonly hostPorts?: readonly { readonly protocol: ProtocolName; readonly port: number }[]
  readonly pods?: readonly (string | { readonly name: string; readonly policy?: PolicySpec })[]
  readonly policies?: Readonly<Record<string, PolicySpec>>
  readonly identities?: Readonly<Record<string, IdentityRef>>
  readonly services?: readonly ServiceRecord[]
  readonly connections?: readonly ConnectionSpec[]
  readonly remove?: Readonly<Partial<Record<Removable, readonly string[]>>>
}

export interface Step {
  /** The port by which the frame comes in. */
  readonly in?: string
  readonly frame?: string | Layers
  /** The last frame with these changes, by the same port unless `in` says another. */
  readonly again?: Layers
  readonly expect?: Expectation
  readonly seconds?: number
  readonly change?: NodeSpec
  readonly state?: StateSpec
  readonly why?: string
}

export interface Scenario {
  readonly name: string
  readonly reference: string
  readonly live?: boolean
  readonly node?: NodeSpec
  readonly steps: readonly Step[]
  readonly after?: StateSpec
}

export interface ScenarioFile {
  readonly about: string
  readonly node?: NodeSpec
  readonly scenarios: readonly Scenario[]
}
