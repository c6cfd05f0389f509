/**
 * Our own documents, ringpath.io/v1: the Node (what the agent runs with), an Endpoint (a pod or
 * anything else behind a veth of this node), and a Peer (another node of the cluster).
 */
import { isIPv4 } from 'node:net'
import * as z from 'zod'
import { IDENTITY_MAX } from '../identity/identity.js'
import {
  cidr,
  clusterMetadata,
  device,
  ipv4,
  ipv4Cidr,
  labels,
  mac,
  namespacedMetadata,
  oneOf,
  strict,
  text,
  whole,
} from './schema.js'

export const RINGPATH_V1 = 'ringpath.io/v1'

const path = text('an absolute path without ".."', (v) => {
  return v.startsWith('/') && !v.split('/').includes('..') && v.length <= 255
})

const powerOfTwo = (low: number, high: number) =>
  whole(low, high).refine((v) => (v & (v - 1)) === 0, {
    error: `a power of two from ${low} to ${high}`,
  })

const ENTRIES_MAX = 2 ** 24

/** maglev's table sizes are primes. */
const MAGLEV_SIZES = [251, 509, 1021, 2039, 4093, 8191, 16_381, 32_749, 65_521, 131_071]

const host = strict({
  device: device.default('ringpath_net'),
  peerDevice: device.default('ringpath_host'),
  addresses: z.array(ipv4).min(1, { error: 'at least one address' }),
  mac: mac.optional(),
  nodeMac: mac.optional(),
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
})

const masquerade = strict({
  enabled: z.boolean({ error: 'true or false' }).default(true),
  excludeCidrs: z.array(ipv4Cidr).default([]),
})

const maps = strict({
  connections: whole(16_384, ENTRIES_MAX).default(131_072),
  identities: whole(1024, ENTRIES_MAX).default(65_536),
  policies: whole(1024, ENTRIES_MAX).default(65_536),
  events: powerOfTwo(1024, 2 ** 20).default(8192),
})

const datapath = strict({
  idle: oneOf('spin', 'adaptive', 'poll').default('adaptive'),
  frames: whole(1024, 2 ** 20).default(32_768),
  busyPollMicroseconds: whole(0, 1_000_000).default(0),
  stopWithAgent: z.boolean({ error: 'true or false' }).default(false),
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
    host: host.optional(),
    uplinks: z.array(uplink).default([]),
    services: services.default(services.parse({})),
    masquerade: masquerade.optional(),
    maps: maps.default(maps.parse({})),
    datapath: datapath.default(datapath.parse({})),
    api: api.default({}),
    log: strict({
      level: oneOf('trace', 'debug', 'info', 'warn', 'error').default('info'),
    }).default({ level: 'info' }),
  }),
})

export const endpointSchema = strict({
  apiVersion: z.literal(RINGPATH_V1),
  kind: z.literal('Endpoint'),
  metadata: namespacedMetadata,
  spec: strict({
    /** Chosen by the agent, and kept, when not given. */
    id: whole(1, 65_534).optional(),
    /** From the labels when not given. */
    identity: whole(1, IDENTITY_MAX).optional(),
    device,
    address: ipv4,
    mac,
    /** Read from the device when not given. */
    nodeMac: mac.optional(),
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
    /** Its endpoints, where their identity is known here. */
    endpoints: z
      .array(
        strict({
          address: ipv4,
          identity: whole(1, IDENTITY_MAX).optional(),
          namespace: z.string().optional(),
          labels: labels.optional(),
        }),
      )
      .default([]),
  }),
})

export type NodeDocument = z.output<typeof nodeSchema>
export type EndpointDocument = z.output<typeof endpointSchema>
export type PeerDocument = z.output<typeof peerSchema>
