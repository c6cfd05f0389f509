/**
 * CiliumEgressGatewayPolicy (cilium.io/v2): which pods leave for which destinations by which node.
 * Pods are the endpoints of this node's documents and those that Peer documents list; the gateway
 * is this node or the peer whose labels are selected. Of several, the first by name.
 */
import { type LabelSelector, LabelSet, selects } from '../policy-rules/labels.js'
import { type Document, ofKind } from './documents.js'
import type { EgressGatewayDocument } from './egress-documents.js'
import { type NamespaceLabels, namespacesOf } from './namespaces.js'
import { namespaceLabels, podLabels } from './policies.js'
import type { NodeDocument } from './ringpath-documents.js'

/** As `EgressWriter` takes it. */
export interface EgressRuleSpec {
  readonly sources: readonly string[]
  readonly destinations: readonly string[]
  readonly excluded: readonly string[]
  /** Absent: no node is selected, and the packets are dropped. */
  readonly gateway?: string
  readonly egressAddress: string
}

interface Place {
  readonly address: string
  readonly namespace: string
  readonly labels: Readonly<Record<string, string>>
}

/** A policy that selects nobody makes no rule. */
export function egressRules(documents: readonly Document[], node: NodeDocument): EgressRuleSpec[] {
  const places = placesOf(documents)
  const namespaces = namespacesOf(documents)
  return ofKind(documents, 'CiliumEgressGatewayPolicy').flatMap(({ body: { spec } }) => {
    const sources = places.filter((place) =>
      spec.selectors.some((s) => isSelected(s, place, namespaces)),
    )
    if (sources.length === 0) return []
    const gateway = gatewayOf(spec.egressGateway.nodeSelector as LabelSelector, documents, node)
    return [
      {
        sources: sources.map(({ address }) => address),
        destinations: spec.destinationCIDRs,
        excluded: spec.excludedCIDRs,
        ...(gateway === undefined ? {} : { gateway }),
        egressAddress: spec.egressGateway.egressIP,
      },
    ]
  })
}

function placesOf(documents: readonly Document[]): Place[] {
  const own = ofKind(documents, 'Endpoint').map(({ body: { metadata, spec } }) => ({
    address: spec.address,
    namespace: metadata.namespace,
    labels: metadata.labels,
  }))
  return [...own, ...ofKind(documents, 'Peer').flatMap(({ body }) => body.spec.endpoints)]
}

type Selectors = EgressGatewayDocument['spec']['selectors'][number]

function isSelected(
  { podSelector, namespaceSelector }: Selectors,
  place: Place,
  namespaces: NamespaceLabels,
): boolean {
  const pod = new LabelSet(podLabels(place.namespace, place.labels))
  if (!selects((podSelector ?? {}) as LabelSelector, pod)) return false
  if (namespaceSelector === undefined) return true
  const namespace = new LabelSet(namespaceLabels(place.namespace, namespaces))
  return selects(namespaceSelector as LabelSelector, namespace)
}

function gatewayOf(
  selector: LabelSelector,
  documents: readonly Document[],
  node: NodeDocument,
): string | undefined {
  const nodes = ofKind(documents, 'Peer').map(({ body }) => ({
    name: body.metadata.name,
    address: body.spec.address,
    labels: body.metadata.labels,
  }))
  const [uplink] = node.spec.uplinks
  if (uplink !== undefined) {
    const { name, labels } = node.metadata
    nodes.push({ name, address: uplink.address, labels })
  }
  const found = nodes
    .filter(({ labels }) => selects(selector, new LabelSet(labels)))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
  return found[0]?.address
}
