/**
 * Policies as documents: Kubernetes NetworkPolicy (networking.k8s.io/v1), CiliumNetworkPolicy and
 * CiliumClusterwideNetworkPolicy (cilium.io/v2): layers 3 and 4, which is what the datapath
 * enforces. Rules of layer 7, of DNS names, services and authentication are refused by name.
 */
import * as z from 'zod'
import {
  cidr,
  clusterMetadata,
  labels,
  namespacedMetadata,
  oneOf,
  port,
  strict,
  text,
  whole,
} from './schema.js'

const requirement = strict({
  key: text('a label key', (v) => v.length >= 1 && v.length <= 317),
  operator: oneOf('In', 'NotIn', 'Exists', 'DoesNotExist'),
  values: z.array(z.string()).optional(),
}).refine(
  ({ operator, values = [] }) => values.length > 0 === (operator === 'In' || operator === 'NotIn'),
  { error: 'values with In and NotIn, and none with Exists and DoesNotExist', path: ['values'] },
)

export const selectorSchema = strict({
  matchLabels: labels.optional(),
  matchExpressions: z.array(requirement).optional(),
})
export type LabelSelector = z.output<typeof selectorSchema>

const isPortName = (v: string): boolean => {
  return /^(?=.*[a-z])[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$/i.test(v)
}

const portName = text('a port number, or a port name of at most 15 characters', isPortName)

const portOrName = z.union([port, portName], { error: 'a port number or a port name' })

const networkPolicyPort = strict({
  protocol: oneOf('TCP', 'UDP', 'SCTP').default('TCP'),
  port: portOrName.optional(),
  endPort: port.optional(),
})
  .refine((p) => p.endPort === undefined || typeof p.port === 'number', {
    error: 'nothing without a port that is a number',
    path: ['endPort'],
  })
  .refine((p) => p.endPort === undefined || typeof p.port !== 'number' || p.endPort >= p.port, {
    error: 'at least port',
    path: ['endPort'],
  })

const ipBlock = strict({ cidr, except: z.array(cidr).optional() })

const networkPolicyPeer = strict({
  podSelector: selectorSchema.optional(),
  namespaceSelector: selectorSchema.optional(),
  ipBlock: ipBlock.optional(),
}).refine(
  (p) =>
    (p.ipBlock === undefined) !==
    (p.podSelector === undefined && p.namespaceSelector === undefined),
  { error: 'either ipBlock, or podSelector and namespaceSelector' },
)

export const networkPolicySchema = strict({
  apiVersion: z.literal('networking.k8s.io/v1'),
  kind: z.literal('NetworkPolicy'),
  metadata: namespacedMetadata,
  spec: strict({
    podSelector: selectorSchema.default({}),
    policyTypes: z.array(oneOf('Ingress', 'Egress')).optional(),
    ingress: z
      .array(
        strict({
          from: z.array(networkPolicyPeer).optional(),
          ports: z.array(networkPolicyPort).optional(),
        }),
      )
      .optional(),
    egress: z
      .array(
        strict({
          to: z.array(networkPolicyPeer).optional(),
          ports: z.array(networkPolicyPort).optional(),
        }),
      )
      .optional(),
  }),
  status: z.unknown().optional(),
})
export type NetworkPolicyDocument = z.output<typeof networkPolicySchema>

/** Cilium's entities that have an identity here. */
export const entity = oneOf(
  'all',
  'world',
  'world-ipv4',
  'cluster',
  'host',
  'remote-node',
  'kube-apiserver',
  'init',
  'health',
  'unmanaged',
  'world-ipv6',
  'ingress',
)

const isPortText = (v: string): boolean => /^\d{1,5}$/.test(v) && Number(v) <= 65_535

/** In quotes, as Cilium has it; 0 is every port. */
const ciliumPort = z
  .union([
    whole(0, 65_535),
    text('a port from 0 to 65535, or a port name', (v) => isPortText(v) || isPortName(v)),
  ])
  .transform((v) => (/^\d+$/.test(`${v}`) ? Number(v) : v))

const toPorts = strict({
  ports: z
    .array(
      strict({
        port: ciliumPort.default(0),
        endPort: port.optional(),
        protocol: oneOf('TCP', 'UDP', 'SCTP', 'ANY').default('ANY'),
      }),
    )
    .min(1, { error: 'at least one port' })
    .max(40, { error: 'at most 40 ports, as Cilium has it' }),
})

const icmp = strict({
  fields: z.array(
    strict({
      family: oneOf('IPv4').default('IPv4'),
      type: whole(0, 255),
    }),
  ),
})

const cidrRule = strict({ cidr, except: z.array(cidr).optional() })

const ports = { toPorts: z.array(toPorts).optional(), icmps: z.array(icmp).optional() }

const ingressRule = strict({
  fromEndpoints: z.array(selectorSchema).optional(),
  fromEntities: z.array(entity).optional(),
  fromCIDR: z.array(cidr).optional(),
  fromCIDRSet: z.array(cidrRule).optional(),
  ...ports,
})

const egressRule = strict({
  toEndpoints: z.array(selectorSchema).optional(),
  toEntities: z.array(entity).optional(),
  toCIDR: z.array(cidr).optional(),
  toCIDRSet: z.array(cidrRule).optional(),
  ...ports,
})

const flag = z.boolean({ error: 'true or false' })

const ruleShape = {
  ingress: z.array(ingressRule).optional(),
  ingressDeny: z.array(ingressRule).optional(),
  egress: z.array(egressRule).optional(),
  egressDeny: z.array(egressRule).optional(),
  enableDefaultDeny: strict({ ingress: flag.optional(), egress: flag.optional() }).optional(),
  description: z.string().optional(),
  labels: z.unknown().optional(),
}

const podRule = strict({ endpointSelector: selectorSchema, ...ruleShape })
/** Of pods, or of nodes: then it is the host's policy. */
const clusterRule = strict({
  endpointSelector: selectorSchema.optional(),
  nodeSelector: selectorSchema.optional(),
  ...ruleShape,
}).refine((r) => (r.endpointSelector === undefined) !== (r.nodeSelector === undefined), {
  error: 'either endpointSelector or nodeSelector',
  path: ['endpointSelector'],
})
export type CiliumRule = z.output<typeof clusterRule>
export type CiliumIngressRule = z.output<typeof ingressRule>
export type CiliumEgressRule = z.output<typeof egressRule>

const body = { apiVersion: z.literal('cilium.io/v2'), status: z.unknown().optional() }

const hasSpec = (d: { spec?: unknown; specs?: unknown }): boolean =>
  (d.spec === undefined) !== (d.specs === undefined)
const oneSpec = { error: 'either spec or specs', path: ['spec'] }

export const ciliumNetworkPolicySchema = strict({
  ...body,
  kind: z.literal('CiliumNetworkPolicy'),
  metadata: namespacedMetadata,
  spec: podRule.optional(),
  specs: z.array(podRule).optional(),
}).refine(hasSpec, oneSpec)

export const ciliumClusterwideNetworkPolicySchema = strict({
  ...body,
  kind: z.literal('CiliumClusterwideNetworkPolicy'),
  metadata: clusterMetadata,
  spec: clusterRule.optional(),
  specs: z.array(clusterRule).optional(),
}).refine(hasSpec, oneSpec)

export type CiliumNetworkPolicyDocument =
  | z.output<typeof ciliumNetworkPolicySchema>
  | z.output<typeof ciliumClusterwideNetworkPolicySchema>
