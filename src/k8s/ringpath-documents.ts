/**
 * Our own documents, ringpath.io/v1: the Node (what the agent runs with), an Endpoint (a pod or
 * anything else behind a veth of this node), and a Peer (another node of the cluster).
 */
import { isIPv4 } from 'node:net'
import { CORES_MAX } from 'xdp-socket-napi'
import * as z from 'zod'
import { WORKERS_MAX } from '../base/limits.js'
import {
  cidr,
  clusterMetadata,
  DEFAULT_NAMESPACE,
  device,
  ipv4,
  ipv4Cidr,
  labels,
  mac,
  namespacedMetadata,
  namespaceName,
  oneOf,
  strict,
  text,
  whole,
} from './schema.js'

export const RINGPATH_V1 = 'ringpath.io/v1'

/** One that is not absolute is beside the document. */
const path = text('a path without ".."', (v) => {
  return v !== '' && !v.split('/').includes('..') && v.length <= 255
})

const powerOfTwo = (low: number, high: number) =>
  whole(low, high).refine((v) => (v & (v - 1)) === 0, {
    error: `a power of two from ${low} to ${high}`,
  })

const flag = z.boolean({ error: 'true or false' })

const ENTRIES_MAX = 2 ** 24

/** Cilium's VXLAN port, and the one that the Linux kernel had before IANA gave out 4789. */
const DEFAULT_TUNNEL_PORT = 8472

/** maglev's table sizes are primes. */
const MAGLEV_SIZES = [251, 509, 1021, 2039, 4093, 8191, 16_381, 32_749, 65_521, 131_071]

const host = strict({
  device: device.default('ringpath_net'),
  peerDevice: device.default('ringpath_host'),
  addresses: z.array(ipv4).min(1, { error: 'at least one address' }),
  mac: mac.optional(),
  nodeMac: mac.optional(),
  /** The agent makes the pair, and sets up addresses, routes and sysctls for it. */
  managed: z.boolean({ error: 'true or false' }).default(true),
})

const uplink = strict({ device, address: ipv4, mac: mac.optional() })

const services = strict({
  algorithm: oneOf('random', 'maglev').default('random'),
  maglevTableSize: z
    .int()
    .refine((v) => MAGLEV_SIZES.includes(v), { error: `one of ${MAGLEV_SIZES.join(', ')}` })
    .default(16_381),
  loopback: text('an IPv4 address, or pod', (v) => v === 'pod' || isIPv4(v)).default(
    '169.254.42.1',
  ),
  noBackendResponse: oneOf('reject', 'drop').default('reject'),
  externalClusterIp: flag.default(false),
})

const natPort = whole(1024, 65_535)

const masquerade = strict({
  enabled: flag.default(false),
  nativeRoutingCidrs: z.array(ipv4Cidr).optional(),
  nonMasqueradeCidrs: z
    .union([z.literal('default'), z.array(ipv4Cidr)], { error: 'a list of prefixes, or default' })
    .optional(),
  masqLinkLocal: flag.optional(),
  remoteNodes: flag.optional(),
  ports: strict({ low: natPort, high: natPort })
    .refine(({ low, high }) => low <= high, { error: 'at least low', path: ['high'] })
    .optional(),
})

const tunnel = strict({
  mode: oneOf('native', 'tunnel').default('native'),
  port: whole(1, 65_535).default(DEFAULT_TUNNEL_PORT),
})

const behaviour = strict({
  fragmentTracking: flag.default(true),
  policyDenyResponse: oneOf('none', 'icmp', 'reset').default('none'),
  answersPerSecond: whole(0, 1_000_000).default(100),
  answersBurst: whole(0, 1_000_000).default(1_000),
})

const maps = strict({
  connections: whole(16_384, ENTRIES_MAX).default(131_072),
  identities: whole(1024, ENTRIES_MAX).default(65_536),
  policies: whole(1024, ENTRIES_MAX).default(65_536),
  events: powerOfTwo(1024, 2 ** 20).default(8192),
})

const datapath = strict({
  /** Threads that move packets; by the number of cores unless given (docs/operations.md). */
  workers: whole(1, WORKERS_MAX).optional(),
  /** One for each worker, which has it to itself as far as this process goes; the kernel chooses unless given. */
  cores: z
    .array(whole(0, CORES_MAX - 1))
    .min(1, { error: 'at least one core' })
    .max(WORKERS_MAX, { error: `at most ${WORKERS_MAX} cores` })
    .optional(),
  idle: oneOf('spin', 'adaptive', 'poll').default('adaptive'),
  frames: whole(1024, 2 ** 20).default(32_768),
  busyPollMicroseconds: whole(0, 1_000_000).default(0),
  /** For all cores of the machine; as the kernel decides unless given. */
  wakeLatencyMicroseconds: whole(0, 1_000_000).optional(),
  /** False: ports are attached some seconds sooner, and many of the first second's packets are lost. */
  training: flag.default(true),
  /** A second process that is ready to take over: a repair takes milliseconds then. */
  standby: flag.default(true),
  stopWithAgent: flag.default(false),
  /** Programs stay on the devices while no datapath runs: pods are closed, connections not reset. */
  pin: flag.default(true),
  /** /sys/fs/bpf/ringpath/NAME when not given. */
  pinDirectory: path.optional(),
}).refine(({ cores, workers = cores?.length }) => cores === undefined || cores.length === workers, {
  error: 'as many cores as workers',
  path: ['cores'],
})

const api = strict({
  socket: path.optional(),
  group: text('the name of a group', (v) => /^[a-z_][a-z0-9_-]{0,31}$/.test(v)).optional(),
})

export const nodeSchema = strict({
  apiVersion: z.literal(RINGPATH_V1),
  kind: z.literal('Node'),
  metadata: clusterMetadata,
  spec: strict({
    stateDirectory: path.optional(),
    dataDirectory: path.optional(),
    manifests: path.optional(),
    podCidrs: z.array(cidr).default([]),
    /** Where addresses of services are from: routed to the datapath as a whole. */
    serviceCidrs: z.array(ipv4Cidr).default([]),
    host: host.optional(),
    uplinks: z.array(uplink).default([]),
    /** Addresses that the node answers ARP for at its uplinks, on all unless devices are named. */
    announcements: z
      .array(strict({ address: ipv4, devices: z.array(device).optional() }))
      .default([]),
    /** The same for every LoadBalancer and external address of a service. */
    announceServices: flag.default(false),
    /** Sources whose packets are dropped at the uplinks. */
    deniedSources: z.array(ipv4Cidr).default([]),
    /** VLAN ids that may come in by an uplink. */
    allowedVlans: z.array(whole(1, 4094)).default([]),
    services: services.default(services.parse({})),
    masquerade: masquerade.default(masquerade.parse({})),
    tunnel: tunnel.default(tunnel.parse({})),
    behaviour: behaviour.default(behaviour.parse({})),
    /** Policies are judged and told, and hold nobody back. */
    policyAudit: flag.default(false),
    /** Pods take packets from their own node, whatever their policy: a kubelet's probes need it. */
    allowLocalhost: flag.default(false),
    /** Policies with a nodeSelector are asked for what the node itself sends and gets. */
    hostFirewall: flag.default(false),
    /** Then also for what begins at an uplink. */
    guardUplinks: flag.default(false),
    maps: maps.default(maps.parse({})),
    datapath: datapath.default(datapath.parse({})),
    api: api.default({}),
    log: strict({
      level: oneOf('trace', 'debug', 'info', 'warn', 'error').default('info'),
    }).default({ level: 'info' }),
  }),
})

/** Cilium's range of identities that a cluster gives out. */
const clusterIdentity = whole(256, 65_535)

const bitsPerSecond = whole(8_000, 1_000_000_000_000)

export const endpointSchema = strict({
  apiVersion: z.literal(RINGPATH_V1),
  kind: z.literal('Endpoint'),
  metadata: namespacedMetadata,
  spec: strict({
    /** Chosen by the agent, and kept, when not given. */
    id: whole(1, 65_534).optional(),
    device,
    address: ipv4,
    mac,
    /** Read from the device when not given. */
    nodeMac: mac.optional(),
    /** Leaves with its own address where others are masqueraded. */
    masquerade: flag.optional(),
    /** Its number in the cluster, by which other nodes know its labels; chosen unless given. */
    identity: clusterIdentity.optional(),
    /** Limits of what it sends and gets; none unless given. */
    bandwidth: strict({
      egressBitsPerSecond: bitsPerSecond.optional(),
      ingressBitsPerSecond: bitsPerSecond.optional(),
    }).optional(),
    /** By which policies may name ports. */
    ports: z
      .array(
        strict({
          name: text('a port name', (v) => /^[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$/i.test(v)),
          port: whole(1, 65_535),
          protocol: oneOf('TCP', 'UDP', 'SCTP').default('TCP'),
        }),
      )
      .default([]),
  }),
})

export const peerSchema = strict({
  apiVersion: z.literal(RINGPATH_V1),
  kind: z.literal('Peer'),
  metadata: clusterMetadata,
  spec: strict({
    /** Where its tunnel ends. */
    address: ipv4,
    podCidrs: z.array(ipv4Cidr).default([]),
    /** Further addresses of the node itself. */
    hostAddresses: z.array(ipv4).default([]),
    /** Reached by plain routing in tunnel mode, too. */
    skipTunnel: flag.default(false),
    /** Those of its endpoints whose identity is known: its number in the cluster, and labels. */
    endpoints: z
      .array(
        strict({
          address: ipv4,
          identity: clusterIdentity,
          namespace: namespaceName.default(DEFAULT_NAMESPACE),
          labels: labels.default({}),
        }),
      )
      .default([]),
  }),
})

export type NodeDocument = z.output<typeof nodeSchema>
export type EndpointDocument = z.output<typeof endpointSchema>
export type PeerDocument = z.output<typeof peerSchema>
