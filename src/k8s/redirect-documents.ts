/**
 * CiliumLocalRedirectPolicy (cilium.io/v2) as a document; src/k8s/redirects.ts says what it means.
 */
import * as z from 'zod'
import { selectorSchema } from './policy-documents.js'
import {
  ipv4,
  namespacedMetadata,
  namespaceName,
  objectName,
  oneOf,
  port as portNumber,
  strict,
  text,
} from './schema.js'

const portText = text(
  'a port from 1 to 65535',
  (v) => /^\d{1,5}$/.test(v) && Number(v) >= 1 && Number(v) <= 65_535,
)

const name = text(
  'a port name of at most 15 characters',
  (v) => /[a-z]/i.test(v) && /^[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$/i.test(v),
)

/** Cilium writes the port in quotes. */
const port = strict({
  port: z
    .union([portNumber, portText], { error: 'a port from 1 to 65535' })
    .transform((value) => Number(value)),
  protocol: oneOf('TCP', 'UDP'),
  name: name.optional(),
})
export type RedirectPort = z.output<typeof port>

const ports = z.array(port).min(1, { error: 'at least one port' })

const frontend = strict({
  addressMatcher: strict({ ip: ipv4, toPorts: ports }).optional(),
  serviceMatcher: strict({
    serviceName: objectName,
    namespace: namespaceName,
    toPorts: z.array(port).optional(),
  }).optional(),
}).refine((f) => (f.addressMatcher === undefined) !== (f.serviceMatcher === undefined), {
  error: 'either addressMatcher or serviceMatcher',
})

const spec = strict({
  redirectFrontend: frontend,
  redirectBackend: strict({ localEndpointSelector: selectorSchema, toPorts: ports }),
  skipRedirectFromBackend: z.boolean({ error: 'true or false' }).default(false),
  description: z.string().optional(),
})

export const localRedirectSchema = strict({
  apiVersion: z.literal('cilium.io/v2'),
  kind: z.literal('CiliumLocalRedirectPolicy'),
  metadata: namespacedMetadata,
  spec,
  status: z.unknown().optional(),
}).superRefine(({ metadata, spec }, context) => {
  const { addressMatcher, serviceMatcher } = spec.redirectFrontend
  const tell = (path: PropertyKey[], message: string): void => {
    context.addIssue({ code: 'custom', path: ['spec', ...path], message })
  }
  const front = [
    'redirectFrontend',
    addressMatcher === undefined ? 'serviceMatcher' : 'addressMatcher',
  ]
  if (serviceMatcher !== undefined && serviceMatcher.namespace !== metadata.namespace) {
    tell([...front, 'namespace'], `the policy’s own namespace, ${metadata.namespace}`)
  }
  if (serviceMatcher !== undefined && spec.skipRedirectFromBackend) {
    tell(['skipRedirectFromBackend'], 'false: true is supported with addressMatcher alone')
  }
  const from = (addressMatcher ?? serviceMatcher)?.toPorts ?? []
  const to = spec.redirectBackend.toPorts
  checkNames(
    [...front, 'toPorts'],
    from,
    from.length > 1 || (from.length > 0 && to.length > 1),
    tell,
  )
  checkNames(['redirectBackend', 'toPorts'], to, from.length > 1 || to.length > 1, tell)
  for (const [index, one] of from.entries()) {
    const target = backendPort(one, from.length, to)
    const at = [...front, 'toPorts', index]
    if (target === undefined) {
      tell([...at, 'name'], `the name of a port of redirectBackend: ${namesOf(to)}`)
    } else if (target.protocol !== one.protocol) {
      tell([...at, 'protocol'], `${target.protocol}, as its port of redirectBackend has`)
    }
  }
})
export type LocalRedirectDocument = z.output<typeof localRedirectSchema>

const namesOf = (to: readonly RedirectPort[]): string => to.map((p) => p.name ?? p.port).join(', ')

/** Names are what ports are matched by as soon as there are several: all have one, each another. */
function checkNames(
  path: readonly PropertyKey[],
  list: readonly RedirectPort[],
  areNeeded: boolean,
  tell: (path: PropertyKey[], message: string) => void,
): void {
  const seen = new Set<string>()
  for (const [index, { name: own }] of list.entries()) {
    if (own === undefined) {
      if (areNeeded) tell([...path, index, 'name'], 'a name, for there are several ports')
    } else if (seen.has(own)) {
      tell([...path, index, 'name'], 'a name that no other port of the list has')
    } else {
      seen.add(own)
    }
  }
}

/**
 * Where a frontend's port leads: to the only port of the backend, or to the one of its name.
 *
 * @param count of the frontend's ports
 */
export function backendPort(
  { name: own }: { readonly name?: string | undefined },
  count: number,
  to: readonly RedirectPort[],
): RedirectPort | undefined {
  if (to.length === 1 && count === 1) return to[0]
  return to.find((target) => target.name !== undefined && target.name === own)
}
