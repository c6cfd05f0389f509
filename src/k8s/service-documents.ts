/**
 * Kubernetes Service (v1) and EndpointSlice (discovery.k8s.io/v1), as far as the load balancer
 * carries them out. A field that says nothing about traffic is taken and not used; one that says
 * something we do not do is refused by name.
 */
import { isIPv4 } from 'node:net'
import * as z from 'zod'
import {
  ipv4,
  ipv4Cidr,
  labels,
  namespacedMetadata,
  objectName,
  oneOf,
  port,
  strict,
  text,
  whole,
} from './schema.js'

export const protocol = oneOf('TCP', 'UDP', 'SCTP')

const portName = text('a port name of at most 63 characters', (v) => v.length <= 63)

const servicePort = strict({
  name: portName.optional(),
  protocol: protocol.default('TCP'),
  port,
  /** A number, or the name of a port of the EndpointSlice. */
  targetPort: z.union([port, portName], { error: 'a port number or a port name' }).optional(),
  nodePort: port.optional(),
  appProtocol: z.string().optional(),
})

const clusterAddress = text(
  'an IPv4 address, or None',
  (v) => v === 'None' || v === '' || isIPv4(v),
)

const AFFINITY_SECONDS_MAX = 86_400

const serviceSpec = strict({
  type: oneOf('ClusterIP', 'NodePort', 'LoadBalancer').default('ClusterIP'),
  clusterIP: clusterAddress.optional(),
  clusterIPs: z.array(clusterAddress).optional(),
  ipFamilies: z.array(oneOf('IPv4')).optional(),
  ipFamilyPolicy: oneOf('SingleStack').optional(),
  ports: z.array(servicePort).min(1, { error: 'at least one port' }),
  selector: labels.optional(),
  externalIPs: z.array(ipv4).default([]),
  loadBalancerIP: ipv4.optional(),
  loadBalancerSourceRanges: z.array(ipv4Cidr).default([]),
  loadBalancerClass: z.string().optional(),
  allocateLoadBalancerNodePorts: z.boolean({ error: 'true or false' }).optional(),
  healthCheckNodePort: whole(0, 65_535).optional(),
  externalTrafficPolicy: oneOf('Cluster', 'Local').default('Cluster'),
  internalTrafficPolicy: oneOf('Cluster', 'Local').default('Cluster'),
  publishNotReadyAddresses: z.boolean({ error: 'true or false' }).default(false),
  sessionAffinity: oneOf('None', 'ClientIP').default('None'),
  sessionAffinityConfig: strict({
    clientIP: strict({ timeoutSeconds: whole(1, AFFINITY_SECONDS_MAX) }).optional(),
  }).optional(),
})

export const serviceSchema = strict({
  apiVersion: z.literal('v1'),
  kind: z.literal('Service'),
  metadata: namespacedMetadata,
  spec: serviceSpec,
  /** The addresses that a load balancer outside has given it are read, the rest is not. */
  status: z
    .looseObject({
      loadBalancer: z
        .looseObject({
          ingress: z.array(z.looseObject({ ip: ipv4.optional() })).default([]),
        })
        .optional(),
    })
    .optional(),
})

const condition = z.boolean({ error: 'true or false' }).nullish()

const sliceEndpoint = strict({
  addresses: z.array(ipv4).min(1, { error: 'at least one address' }),
  conditions: strict({ ready: condition, serving: condition, terminating: condition }).default({}),
  nodeName: z.string().nullish(),
  hostname: z.string().nullish(),
  zone: z.string().nullish(),
  targetRef: z.unknown().optional(),
  deprecatedTopology: z.unknown().optional(),
  hints: z.unknown().optional(),
})

const slicePort = strict({
  name: portName.nullish(),
  protocol: protocol.default('TCP'),
  port,
  appProtocol: z.string().nullish(),
})

export const SERVICE_NAME_LABEL = 'kubernetes.io/service-name'

export const endpointSliceSchema = strict({
  apiVersion: z.literal('discovery.k8s.io/v1'),
  kind: z.literal('EndpointSlice'),
  metadata: namespacedMetadata.refine(
    (metadata) => objectName.safeParse(metadata.labels[SERVICE_NAME_LABEL]).success,
    {
      error: `the name of a service in ${SERVICE_NAME_LABEL}`,
      path: ['labels', SERVICE_NAME_LABEL],
    },
  ),
  addressType: oneOf('IPv4'),
  endpoints: z.array(sliceEndpoint).nullish(),
  ports: z.array(slicePort).nullish(),
})

export type ServiceDocument = z.output<typeof serviceSchema>
export type EndpointSliceDocument = z.output<typeof endpointSliceSchema>
