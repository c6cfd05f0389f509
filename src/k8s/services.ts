/**
 * From Service and EndpointSlice documents to what the load balancer takes: one ServiceSpec for
 * each port of a service, with all addresses under which it is reached as frontends.
 *
 * Backends are those of the service's EndpointSlices; of a service that has none, the Endpoint
 * documents of its namespace that its selector selects, with `targetPort`.
 */
import type {
  BackendSpec,
  BackendStateName,
  FrontendSpec,
  ServiceSpec,
} from '../lb/service-spec.js'
import type { Document } from './documents.js'
import { ofKind } from './documents.js'
import type { Problem } from './problem.js'
import { Redirects } from './redirects.js'
import { problemAt } from './schema.js'
import {
  type EndpointSliceDocument,
  SERVICE_NAME_LABEL,
  type ServiceDocument,
} from './service-documents.js'

/** Cilium's annotation for one service's algorithm. */
const ALGORITHM_ANNOTATION = 'service.cilium.io/lb-algorithm'
/** Kubernetes' default of sessionAffinityConfig.clientIP.timeoutSeconds. */
const AFFINITY_SECONDS_DEFAULT = 10_800

type ServicePort = ServiceDocument['spec']['ports'][number]
type SliceEndpoint = NonNullable<EndpointSliceDocument['endpoints']>[number]

export interface ServiceContext {
  /** Under which NodePorts are reached. */
  readonly nodeAddresses: readonly string[]
  /** Backends of slices with another node name are elsewhere. */
  readonly nodeName: string
  readonly algorithm: 'random' | 'maglev'
}

export interface PlannedService {
  readonly spec: ServiceSpec
  readonly document: Document
}

export function servicesOf(
  documents: readonly Document[],
  context: ServiceContext,
): {
  services: PlannedService[]
  problems: Problem[]
  /** Addresses that a policy would redirect, if it selected a pod. */
  idle: PlannedService[]
} {
  const redirects = new Redirects(documents)
  const services: PlannedService[] = []
  const problems: Problem[] = redirects.problems()
  for (const document of ofKind(documents, 'Service')) {
    const { spec } = document.body
    for (const [index, port] of spec.ports.entries()) {
      const problem = portProblem(document.body, port)
      if (problem !== undefined) {
        const [field, expected] = problem
        problems.push(problemAt(document.raw, ['spec', 'ports', index, field], expected))
        continue
      }
      const frontends = frontendsOf(document.body, port, context)
      if (frontends.length === 0) continue
      const backends = backendsOf(document.body, port, documents, context)
      const spec = specOf(document.body, port, frontends, backends, context)
      const local = redirects.backendsOf(document.body, port)
      services.push(...redirected(spec, local).map((part) => ({ spec: part, document })))
    }
  }
  const addresses = redirects.addresses()
  const isInForce = ({ spec }: PlannedService): boolean => spec.backends.length > 0
  services.push(...addresses.filter(isInForce))
  return { services, problems, idle: addresses.filter((address) => !isInForce(address)) }
}

/** Cluster addresses lead to the node's own pods then, the others where they led before. */
function redirected(spec: ServiceSpec, local: readonly BackendSpec[] | undefined): ServiceSpec[] {
  const isCluster = ({ type }: FrontendSpec): boolean => type === 'ClusterIP'
  const inside = spec.frontends.filter(isCluster)
  if (local === undefined || inside.length === 0) return [spec]
  const outside = spec.frontends.filter((frontend) => !isCluster(frontend))
  const part = { ...spec, frontends: inside, backends: local, isLocalRedirect: true }
  if (outside.length === 0) return [part]
  return [part, { ...spec, name: `${spec.name}:external`, frontends: outside }]
}

/** A service may name its ports as it likes, but several of them apart. */
function portProblem(service: ServiceDocument, port: ServicePort): [string, string] | undefined {
  const { ports } = service.spec
  if (ports.length > 1 && port.name === undefined) return ['name', 'a name, for there are several']
  if (ports.some((other) => other !== port && other.name === port.name)) {
    return ['name', 'a name that no other port of the service has']
  }
  if (service.spec.type === 'ClusterIP' && port.nodePort !== undefined) {
    return ['nodePort', 'nothing with type ClusterIP']
  }
  return undefined
}

function specOf(
  service: ServiceDocument,
  port: ServicePort,
  frontends: readonly FrontendSpec[],
  backends: readonly BackendSpec[],
  context: ServiceContext,
): ServiceSpec {
  const { spec, metadata } = service
  const annotated = metadata.annotations?.[ALGORITHM_ANNOTATION]
  const isClientIp = spec.sessionAffinity === 'ClientIP'
  const seconds = spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? AFFINITY_SECONDS_DEFAULT
  return {
    name: `${metadata.namespace}/${metadata.name}:${port.name ?? port.port}`,
    frontends,
    backends,
    ...(isClientIp ? { sessionAffinitySeconds: seconds } : {}),
    algorithm: annotated === 'maglev' || annotated === 'random' ? annotated : context.algorithm,
    externalTrafficPolicy: spec.externalTrafficPolicy,
    internalTrafficPolicy: spec.internalTrafficPolicy,
    sourceRanges: spec.loadBalancerSourceRanges,
  }
}

function frontendsOf(
  service: ServiceDocument,
  port: ServicePort,
  context: ServiceContext,
): FrontendSpec[] {
  const { spec, status } = service
  const clusterAddresses = spec.clusterIPs ?? [spec.clusterIP ?? '']
  const frontends: FrontendSpec[] = []
  const add = (address: string, number: number, type: FrontendSpec['type']): void => {
    const isThere = frontends.some((f) => f.address === address && f.port === number)
    if (!isThere) frontends.push({ address, port: number, protocol: port.protocol, type })
  }
  for (const address of clusterAddresses) {
    if (address !== '' && address !== 'None') add(address, port.port, 'ClusterIP')
  }
  for (const address of spec.externalIPs) add(address, port.port, 'ExternalIP')
  if (spec.type === 'LoadBalancer') {
    const given = status?.loadBalancer?.ingress.flatMap(({ ip }) => (ip === undefined ? [] : [ip]))
    const asked = spec.loadBalancerIP === undefined ? [] : [spec.loadBalancerIP]
    for (const address of [...(given ?? []), ...asked]) add(address, port.port, 'LoadBalancer')
  }
  if (port.nodePort !== undefined) {
    for (const address of context.nodeAddresses) add(address, port.nodePort, 'NodePort')
  }
  return frontends
}

function backendsOf(
  service: ServiceDocument,
  port: ServicePort,
  documents: readonly Document[],
  context: ServiceContext,
): BackendSpec[] {
  const { name, namespace } = service.metadata
  const slices = ofKind(documents, 'EndpointSlice').filter(({ body }) => {
    return (
      body.metadata.namespace === namespace && body.metadata.labels[SERVICE_NAME_LABEL] === name
    )
  })
  const backends = new Map<string, BackendSpec>()
  for (const { body } of slices) {
    const target = body.ports?.find((p) => (p.name ?? '') === (port.name ?? ''))
    if (target === undefined || target.protocol !== port.protocol) continue
    for (const endpoint of body.endpoints ?? []) {
      const state = stateOf(endpoint, service.spec.publishNotReadyAddresses)
      if (state === undefined) continue
      const isRemote = (endpoint.nodeName ?? context.nodeName) !== context.nodeName
      for (const address of endpoint.addresses) {
        const backend = { address, port: target.port, state }
        backends.set(
          `${address}:${target.port}`,
          isRemote ? { ...backend, isLocal: false } : backend,
        )
      }
    }
  }
  if (slices.length > 0 || service.spec.selector === undefined) return [...backends.values()]
  return selectedBackends(service, port, documents)
}

/** Kubernetes: an endpoint that is going drains while it serves; one that is not ready gets none. */
function stateOf(
  { conditions }: SliceEndpoint,
  publishNotReady: boolean,
): BackendStateName | undefined {
  if (conditions.terminating === true) {
    return conditions.serving === false ? undefined : 'terminating'
  }
  return conditions.ready === false && !publishNotReady ? undefined : 'active'
}

function selectedBackends(
  service: ServiceDocument,
  port: ServicePort,
  documents: readonly Document[],
): BackendSpec[] {
  const { selector = {} } = service.spec
  const target = port.targetPort ?? port.port
  if (typeof target !== 'number') return []
  return ofKind(documents, 'Endpoint')
    .filter(({ body: { metadata } }) => {
      if (metadata.namespace !== service.metadata.namespace) return false
      return Object.entries(selector).every(([key, value]) => metadata.labels[key] === value)
    })
    .map(({ body }) => ({ address: body.spec.address, port: target }))
}
