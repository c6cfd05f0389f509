/**
 * CiliumLocalRedirectPolicy (Cilium: pkg/loadbalancer/redirectpolicy): pods' packets for an address,
 * or for the cluster addresses of a service, go to pods of this node. While the policy selects no pod
 * here, nothing is redirected: the address is reached as ever, the service has its own backends.
 *
 * Pods are this node's Endpoint documents in the policy's namespace; their own list of ports is not
 * asked. Not here: `skipRedirectFromBackend` for services, addresses of IPv6.
 */
import type { BackendSpec, FrontendSpec, ServiceSpec } from '../lb/service-spec.js'
import { type LabelSelector, LabelSet, selects } from '../policy-rules/labels.js'
import type { Document } from './documents.js'
import { ofKind } from './documents.js'
import { podLabels } from './policies.js'
import type { Problem } from './problem.js'
import { backendPort, type LocalRedirectDocument, type RedirectPort } from './redirect-documents.js'
import { problemAt } from './schema.js'
import type { ServiceDocument } from './service-documents.js'

type RedirectDocument = Document & { readonly body: LocalRedirectDocument }
type ServicePort = ServiceDocument['spec']['ports'][number]

/** An address that is redirected, or would be if there were a pod. */
export interface RedirectedAddress {
  readonly spec: ServiceSpec
  readonly document: Document
}

export class Redirects {
  readonly #documents: readonly Document[]
  readonly #policies: readonly RedirectDocument[]

  constructor(documents: readonly Document[]) {
    this.#documents = documents
    this.#policies = ofKind(documents, 'CiliumLocalRedirectPolicy')
  }

  /** Every address that a policy names; without backends where no pod is selected. */
  addresses(): RedirectedAddress[] {
    return this.#policies.flatMap((document) => {
      const { redirectFrontend, redirectBackend, skipRedirectFromBackend } = document.body.spec
      const { addressMatcher } = redirectFrontend
      return (addressMatcher?.toPorts ?? []).flatMap((from, _, { length }) => {
        const to = backendPort(from, length, redirectBackend.toPorts)
        if (addressMatcher === undefined || to === undefined) return []
        const spec: ServiceSpec = {
          name: `${redirectName(document)}:${from.name ?? from.port}`,
          frontends: [addressFrontend(addressMatcher.ip, from)],
          backends: this.#backends(document, to.port),
          isLocalRedirect: true,
          skipRedirectFromBackend,
        }
        return [{ spec, document }]
      })
    })
  }

  /** Where the cluster addresses of a service's port lead; undefined: to its own backends. */
  backendsOf(service: ServiceDocument, port: ServicePort): readonly BackendSpec[] | undefined {
    const policy = this.#policies.find((document) => redirectsPort(document, service, port))
    if (policy === undefined) return undefined
    const target = targetOf(policy, port)
    if (target === undefined) return undefined
    const backends = this.#backends(policy, target.port)
    return backends.length === 0 ? undefined : backends
  }

  /** Two policies for one port of a service. */
  problems(): Problem[] {
    const problems: Problem[] = []
    for (const { body: service } of ofKind(this.#documents, 'Service')) {
      for (const port of service.spec.ports) {
        const [first, ...more] = this.#policies.filter((p) => redirectsPort(p, service, port))
        for (const document of more) {
          const name = `${port.port}/${port.protocol}`
          const what = `a service whose port ${name} no other policy redirects`
          const at = ['spec', 'redirectFrontend', 'serviceMatcher']
          problems.push(problemAt(document.raw, at, `${what}: ${first?.key} does`))
        }
      }
    }
    return problems
  }

  #backends({ body: { metadata, spec } }: RedirectDocument, port: number): BackendSpec[] {
    const selector = spec.redirectBackend.localEndpointSelector as LabelSelector
    return ofKind(this.#documents, 'Endpoint')
      .filter(({ body: pod }) => {
        if (pod.metadata.namespace !== metadata.namespace) return false
        const labels = podLabels(pod.metadata.namespace, pod.metadata.labels)
        return selects(selector, new LabelSet(labels))
      })
      .map(({ body: pod }) => ({ address: pod.spec.address, port, isLocal: true }))
  }
}

/** Cilium names the stand-in of a policy so; no object of Kubernetes has a colon in its name. */
const redirectName = ({ body: { metadata } }: RedirectDocument): string =>
  `${metadata.namespace}/${metadata.name}:local-redirect`

const addressFrontend = (address: string, { port, protocol }: RedirectPort): FrontendSpec => ({
  address,
  port,
  protocol,
  type: 'LocalRedirect',
})

function redirectsPort(
  { body }: RedirectDocument,
  { metadata }: ServiceDocument,
  port: ServicePort,
): boolean {
  const { serviceMatcher } = body.spec.redirectFrontend
  if (serviceMatcher === undefined) return false
  const { serviceName, namespace, toPorts = [] } = serviceMatcher
  if (serviceName !== metadata.name || namespace !== metadata.namespace) return false
  if (toPorts.length === 0) return targetOf({ body }, port) !== undefined
  return toPorts.some((from) => isPort(from, toPorts.length, port))
}

/** Of several ports, the name counts too. */
const isPort = (from: RedirectPort, count: number, port: ServicePort): boolean =>
  from.port === port.port &&
  from.protocol === port.protocol &&
  (count === 1 || from.name === port.name)

function targetOf(
  { body: { spec } }: { readonly body: LocalRedirectDocument },
  port: ServicePort,
): RedirectPort | undefined {
  const from = spec.redirectFrontend.serviceMatcher?.toPorts ?? []
  const to = spec.redirectBackend.toPorts
  const named = from.find((one) => isPort(one, from.length, port)) ?? port
  const target = backendPort(named, Math.max(1, from.length), to)
  return target?.protocol === port.protocol ? target : undefined
}
