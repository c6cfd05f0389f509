/**
 * What is no mistake by itself, for the other half may come later, but does nothing as it is: names of
 * things that are not there. Told by `check` and `apply`; nothing is refused for it.
 */
import { type Document, ofKind } from './documents.js'
import type { Problem } from './problem.js'
import { problemAt } from './schema.js'
import { SERVICE_NAME_LABEL } from './service-documents.js'

export function noticesOf(documents: readonly Document[]): Problem[] {
  const services = new Map(ofKind(documents, 'Service').map((d) => [d.key, d.body]))
  return [
    ...strayRedirects(documents, services),
    ...straySlices(documents, services),
    ...namedTargets(documents),
  ]
}

type Services = ReadonlyMap<
  string,
  { spec: { ports: readonly { port: number; protocol: string }[] } }
>

function strayRedirects(documents: readonly Document[], services: Services): Problem[] {
  return ofKind(documents, 'CiliumLocalRedirectPolicy').flatMap(({ body, raw }) => {
    const { serviceMatcher } = body.spec.redirectFrontend
    if (serviceMatcher === undefined) return []
    const at = ['spec', 'redirectFrontend', 'serviceMatcher']
    const { namespace, serviceName, toPorts = [] } = serviceMatcher
    const service = services.get(`Service ${namespace}/${serviceName}`)
    if (service === undefined) {
      return [problemAt(raw, [...at, 'serviceName'], `a service of ${namespace} that is there`)]
    }
    const { ports } = service.spec
    return toPorts.flatMap(({ port, protocol }, i) => {
      if (ports.some((p) => p.port === port && p.protocol === protocol)) return []
      const known = ports.map((p) => `${p.port}/${p.protocol}`).join(', ')
      return [problemAt(raw, [...at, 'toPorts', i, 'port'], `a port of the service: ${known}`)]
    })
  })
}

function straySlices(documents: readonly Document[], services: Services): Problem[] {
  return ofKind(documents, 'EndpointSlice').flatMap(({ body, raw }) => {
    const { namespace, labels } = body.metadata
    const name = labels[SERVICE_NAME_LABEL] ?? ''
    if (services.has(`Service ${namespace}/${name}`)) return []
    const at = ['metadata', 'labels', SERVICE_NAME_LABEL]
    return [problemAt(raw, at, `a service of ${namespace} that is there`)]
  })
}

/** A named target port is of the slices; Endpoint documents are asked by number alone. */
function namedTargets(documents: readonly Document[]): Problem[] {
  const slices = ofKind(documents, 'EndpointSlice')
  return ofKind(documents, 'Service').flatMap(({ body, raw }) => {
    const { namespace, name } = body.metadata
    const hasSlice = slices.some(({ body: { metadata } }) => {
      return metadata.namespace === namespace && metadata.labels[SERVICE_NAME_LABEL] === name
    })
    if (hasSlice || body.spec.selector === undefined) return []
    return body.spec.ports.flatMap(({ targetPort }, i) => {
      if (typeof targetPort !== 'string') return []
      const expected = 'a number, for the service has no EndpointSlice that would know the name'
      return [problemAt(raw, ['spec', 'ports', i, 'targetPort'], expected)]
    })
  })
}
