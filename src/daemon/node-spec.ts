/** What a NodeController is told of a node: its devices, its pods, its settings. */

/** A pod, as the node's documents describe it. */
export interface EndpointSpec {
  /** 1 to 65535, unique on the node. */
  readonly id: number
  /** 1 to 0xffffff. */
  readonly identity: number
  /** Node's side of the pod's veth pair. */
  readonly device: string
  readonly address: string
  /** Of the pod's own interface. */
  readonly mac: string
  /** Of `device`. */
  readonly nodeMac: string
  /** False: what it sends to the outside keeps its own address. True unless given. */
  readonly masquerade?: boolean
}

/** The veth pair that leads to the node's own network stack. */
export interface HostSpec {
  /** The end that the datapath takes (cilium_net's part). */
  readonly device: string
  /** The node's own addresses that pods may speak to. */
  readonly addresses: readonly string[]
  /** Of the other end, `ringpath_host`. */
  readonly mac: string
  /** Of `device`. */
  readonly nodeMac: string
}

/** A device to the outside. What is ours of its traffic the datapath gets, the rest the kernel. */
export interface UplinkSpec {
  readonly device: string
  /** The node's IPv4 address on it. */
  readonly address: string
  /** Of `device`. */
  readonly mac: string
}

export interface NodeOptions {
  /** One of 251, 509, 1021, 2039, 4093, 8191, 16381 (the default), 32749, 65521, 131071. */
  readonly maglevTableSize?: number
}

/** Settings of all services of the node. */
export interface ServiceOptions {
  /** The source that a pod sees when it reaches itself through a service: an IPv4 address (at first 169.254.42.1), or its own. */
  readonly loopback?: string | 'pod'
  /** What the client of a service without backends gets: "port unreachable" (at first), or nothing. */
  readonly noBackendResponse?: 'reject' | 'drop'
  /** Whether clients from outside may use ClusterIPs; at first they may not (drop 174). */
  readonly externalClusterIp?: boolean
}
