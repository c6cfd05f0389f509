/**
 * From policy documents to rules (src/policy-rules). What the documents leave to custom is written
 * out here:
 *
 * - labels of documents are of source k8s; a namespace is a label of its pods;
 * - a namespaced policy is for pods of its namespace, and its selectors of peers mean that
 *   namespace too, unless they name one;
 * - a Kubernetes section without peers is for everybody; in a Cilium policy an empty rule (`- {}`)
 *   admits nobody, and closes the direction.
 */

import type { Labels } from '../policy-rules/labels.js'
import { invalid } from '../policy-rules/rule-check.js'
import type { PeerSpec, PortSpec, RuleSpec, SectionSpec } from '../policy-rules/rule-spec.js'
import type { Document } from './documents.js'
import { type NamespaceLabels, NO_NAMESPACES } from './namespaces.js'
import type {
  CiliumEgressRule,
  CiliumIngressRule,
  CiliumNetworkPolicyDocument,
  CiliumRule,
  LabelSelector,
  NetworkPolicyDocument,
} from './policy-documents.js'
import type { EndpointDocument } from './ringpath-documents.js'

const SOURCE = 'k8s:'
const NAMESPACE_LABEL = 'k8s:io.kubernetes.pod.namespace'
/** Labels of a pod's namespace, as labels of the pod. */
const NAMESPACE_LABELS_PREFIX = 'k8s:io.cilium.k8s.namespace.labels.'
const NAMESPACE_NAME_KEY = 'kubernetes.io/metadata.name'

type Selector = NonNullable<PeerSpec['endpoints']>[number]

/** Labels by which policies find an endpoint. */
export function labelsOf({ metadata }: EndpointDocument, namespaces: NamespaceLabels): Labels {
  return podLabels(metadata.namespace, metadata.labels, namespaces)
}

export function podLabels(
  namespace: string,
  own: Labels,
  namespaces: NamespaceLabels = NO_NAMESPACES,
): Labels {
  const labels: Record<string, string> = { [NAMESPACE_LABEL]: namespace }
  for (const [key, value] of Object.entries(namespaceLabels(namespace, namespaces))) {
    labels[`${NAMESPACE_LABELS_PREFIX}${key}`] = value
  }
  for (const [key, value] of Object.entries(own)) labels[`${SOURCE}${key}`] = value
  return labels
}

/** Labels of a namespace itself; its name is one, whatever its document says. */
export const namespaceLabels = (namespace: string, namespaces: NamespaceLabels): Labels => ({
  ...namespaces.get(namespace),
  [NAMESPACE_NAME_KEY]: namespace,
})

/** The rules of a policy document; their names begin with the document's key. */
export function rulesOf({ body, key }: Document): RuleSpec[] {
  switch (body.kind) {
    case 'NetworkPolicy':
      return [networkPolicyRule(body, key)]
    case 'CiliumNetworkPolicy':
    case 'CiliumClusterwideNetworkPolicy':
      return ciliumRules(body, key)
    default:
      throw invalid('kind', body.kind, 'a policy')
  }
}

function networkPolicyRule({ spec, metadata }: NetworkPolicyDocument, name: string): RuleSpec {
  const { namespace } = metadata
  const types = spec.policyTypes ?? ['Ingress', ...(spec.egress === undefined ? [] : ['Egress'])]
  const section = (peers: readonly KubernetesPeer[] | undefined, ports: KubernetesPorts) => ({
    ...(peers === undefined || peers.length === 0
      ? {}
      : { peers: kubernetesPeers(peers, namespace) }),
    ...(ports === undefined || ports.length === 0 ? {} : { ports: ports.map(portSpec) }),
  })
  const ingress = (spec.ingress ?? []).map(({ from, ports }) => section(from, ports))
  const egress = (spec.egress ?? []).map(({ to, ports }) => section(to, ports))
  return {
    name,
    endpointSelector: inNamespace(withSource(spec.podSelector), namespace),
    ...(types.includes('Ingress') ? { ingress } : {}),
    ...(types.includes('Egress') ? { egress } : {}),
  }
}

type KubernetesRule = NonNullable<NetworkPolicyDocument['spec']['ingress']>[number]
type KubernetesPeer = NonNullable<KubernetesRule['from']>[number]
type KubernetesPorts = KubernetesRule['ports']

function kubernetesPeers(peers: readonly KubernetesPeer[], namespace: string): PeerSpec {
  const endpoints: Selector[] = []
  const cidrs: { cidr: string; except?: string[] }[] = []
  for (const { ipBlock, podSelector, namespaceSelector } of peers) {
    if (ipBlock !== undefined) {
      const { cidr, except } = ipBlock
      cidrs.push(except === undefined ? { cidr } : { cidr, except })
      continue
    }
    const pods = withSource(podSelector ?? {})
    if (namespaceSelector === undefined) endpoints.push(inNamespace(pods, namespace))
    else endpoints.push(both(pods, ofNamespaces(namespaceSelector)))
  }
  return { endpoints, cidrs }
}

/** Pods of the namespaces that are selected; of all of them by an empty selector. */
function ofNamespaces(selector: LabelSelector): Selector {
  const own = prefixed(selector, NAMESPACE_LABELS_PREFIX)
  return both(own, { matchExpressions: [{ key: NAMESPACE_LABEL, operator: 'Exists' }] })
}

const portSpec = (port: NonNullable<KubernetesPorts>[number]): PortSpec => ({
  protocol: port.protocol,
  ...(port.port === undefined ? {} : { port: port.port }),
  ...(port.endPort === undefined ? {} : { endPort: port.endPort }),
})

function ciliumRules(document: CiliumNetworkPolicyDocument, key: string): RuleSpec[] {
  const { spec, specs, metadata } = document
  const namespace = 'namespace' in metadata ? metadata.namespace : undefined
  const rules: readonly CiliumRule[] = specs ?? (spec === undefined ? [] : [spec])
  return rules.map((rule, i) => {
    const name = rules.length === 1 ? key : `${key}:${i}`
    return ciliumRule(rule, name, namespace)
  })
}

function ciliumRule(rule: CiliumRule, name: string, namespace: string | undefined): RuleSpec {
  const ingress = (list: readonly CiliumIngressRule[] | undefined) =>
    list?.map((r) =>
      ciliumSection(r, namespace, {
        endpoints: r.fromEndpoints,
        entities: r.fromEntities,
        cidrs: r.fromCIDR,
        cidrSets: r.fromCIDRSet,
      }),
    )
  const egress = (list: readonly CiliumEgressRule[] | undefined) =>
    list?.map((r) =>
      ciliumSection(r, namespace, {
        endpoints: r.toEndpoints,
        entities: r.toEntities,
        cidrs: r.toCIDR,
        cidrSets: r.toCIDRSet,
      }),
    )
  return defined({
    name,
    endpointSelector:
      rule.endpointSelector === undefined
        ? undefined
        : ofPods(rule.endpointSelector as Selector, namespace),
    nodeSelector: rule.nodeSelector as Selector | undefined,
    ingress: ingress(rule.ingress),
    ingressDeny: ingress(rule.ingressDeny),
    egress: egress(rule.egress),
    egressDeny: egress(rule.egressDeny),
    enableDefaultDeny: defined(rule.enableDefaultDeny ?? {}),
  }) as RuleSpec
}

/** A Cilium rule's peers, whichever way it points. */
interface CiliumPeers {
  readonly endpoints: readonly LabelSelector[] | undefined
  readonly entities: CiliumIngressRule['fromEntities']
  readonly cidrs: readonly string[] | undefined
  readonly cidrSets: CiliumIngressRule['fromCIDRSet']
}

function ciliumSection(
  rule: Pick<CiliumIngressRule, 'toPorts' | 'icmps'>,
  namespace: string | undefined,
  peers: CiliumPeers,
): SectionSpec {
  const ports = rule.toPorts?.flatMap((entry) =>
    entry.ports.map(({ protocol, port, endPort }) => ({
      protocol,
      ...(port === 0 ? {} : { port }),
      ...(endPort === undefined ? {} : { endPort }),
    })),
  )
  const icmps = rule.icmps?.flatMap(({ fields }) => fields)
  const hasPeers = Object.values(peers).some((list) => list !== undefined)
  const isEmpty = !hasPeers && ports === undefined && icmps === undefined
  const cidrs = [
    ...(peers.cidrs ?? []).map((cidr) => ({ cidr })),
    ...(peers.cidrSets ?? []).map(({ cidr, except }) => (except ? { cidr, except } : { cidr })),
  ]
  const spec: PeerSpec = {
    endpoints: (peers.endpoints ?? []).map((s) => ofPods(s as Selector, namespace)),
    entities: peers.entities ?? [],
    cidrs,
  }
  return defined({ peers: hasPeers || isEmpty ? spec : undefined, ports, icmps }) as SectionSpec
}

/** A Cilium selector, of pods of the policy's namespace unless it names one or a reserved thing. */
function ofPods(selector: Selector, namespace: string | undefined): Selector {
  const keys = [
    ...Object.keys(selector.matchLabels ?? {}),
    ...(selector.matchExpressions ?? []).map(({ key }) => key),
  ]
  const namesOne = keys.some((key) => {
    const bare = key.replace(/^(k8s|any):/, '')
    return (
      bare.startsWith('io.kubernetes.pod.namespace') || /^io\.cilium\.k8s\.namespace/.test(bare)
    )
  })
  const isReserved = keys.some((key) => key.startsWith('reserved:'))
  if (namesOne || isReserved || namespace === undefined) return selector
  return inNamespace(selector, namespace)
}

function inNamespace(selector: Selector, namespace: string): Selector {
  return both(selector, { matchLabels: { [NAMESPACE_LABEL]: namespace } })
}

/** Kubernetes' selectors name labels without a source. */
const withSource = (selector: LabelSelector): Selector => prefixed(selector, SOURCE)

function prefixed(selector: LabelSelector, prefix: string): Selector {
  const matchLabels: Record<string, string> = {}
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) {
    matchLabels[`${prefix}${key}`] = value
  }
  const matchExpressions = (selector.matchExpressions ?? []).map(({ key, operator, values }) => ({
    key: `${prefix}${key}`,
    operator,
    ...(values === undefined ? {} : { values }),
  }))
  return { matchLabels, matchExpressions }
}

function both(a: Selector, b: Selector): Selector {
  return {
    matchLabels: { ...a.matchLabels, ...b.matchLabels },
    matchExpressions: [...(a.matchExpressions ?? []), ...(b.matchExpressions ?? [])],
  }
}

/** Without the fields that are undefined. */
function defined<T extends object>(value: T): { [K in keyof T]?: NonNullable<T[K]> } {
  const entries = Object.entries(value).filter(([, field]) => field !== undefined)
  return Object.fromEntries(entries) as { [K in keyof T]?: NonNullable<T[K]> }
}
