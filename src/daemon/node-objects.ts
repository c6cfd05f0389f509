/**
 * The desired state as the objects that are applied: documents with everything filled in that the
 * node itself knows, such as MAC addresses of its devices and numbers of endpoints.
 */
import { readFileSync } from 'node:fs'
import type { DesiredState } from '../k8s/desired-state.js'
import { labelsOf, podLabels } from '../k8s/policies.js'
import type { NodeDocument } from '../k8s/ringpath-documents.js'
import { qualifiedName } from '../k8s/schema.js'
import type { Labels } from '../policy-rules/labels.js'
import type { NodeObject } from './reconcile.js'

/** What the node knows. */
export interface NodeFacts {
  /** MAC of a device; undefined while there is no such device. */
  macOf(device: string): string | undefined
  /** The number that an endpoint has already. */
  idOf(name: string): number | undefined
}

/** /sys shows the devices of the network namespace in which it was mounted: ours. */
export function macOfDevice(device: string): string | undefined {
  try {
    return readFileSync(`/sys/class/net/${device}/address`, 'utf8').trim()
  } catch {
    return undefined
  }
}

export function nodeObjects(
  node: NodeDocument,
  state: DesiredState,
  facts: NodeFacts,
): NodeObject[] {
  return [
    ...ownObjects(node, facts),
    ...announcements(node, state),
    ...state.rules.map((rule): NodeObject => ({ kind: 'Rule', name: rule.name, spec: { rule } })),
    ...endpointObjects(state, facts),
    ...state.peers.map(({ metadata, spec }): NodeObject => {
      const { address, podCidrs, hostAddresses, skipTunnel } = spec
      const peer = { name: metadata.name, address, podCidrs, hostAddresses, skipTunnel }
      const endpoints = spec.endpoints.map((endpoint) => ({
        address: endpoint.address,
        identity: endpoint.identity,
        labels: podLabels(endpoint.namespace, endpoint.labels, state.namespaces),
      }))
      return { kind: 'Peer', name: metadata.name, spec: { peer, endpoints } }
    }),
    ...state.services.map(
      ({ spec }): NodeObject => ({ kind: 'Service', name: spec.name, spec: { service: spec } }),
    ),
    ...egressObject(state),
  ]
}

function ownObjects({ spec, metadata }: NodeDocument, facts: NodeFacts): NodeObject[] {
  const { host, uplinks, services, tunnel, masquerade, policyAudit } = spec
  const { loopback, noBackendResponse, externalClusterIp } = services
  const objects: NodeObject[] = [
    {
      kind: 'Settings',
      name: metadata.name,
      spec: {
        services: { loopback, noBackendResponse, externalClusterIp },
        tunnel,
        behaviour: defined(spec.behaviour),
        policyAudit,
        hostFirewall: spec.hostFirewall,
        guardUplinks: spec.guardUplinks,
        deniedSources: spec.deniedSources,
        allowedVlans: spec.allowedVlans,
        masquerade: defined(masquerade),
      },
    },
  ]
  if (host !== undefined) {
    const mac = host.mac ?? facts.macOf(host.peerDevice)
    const nodeMac = host.nodeMac ?? facts.macOf(host.device)
    const { device, addresses } = host
    objects.push({
      kind: 'Host',
      name: device,
      spec: { device, addresses, labels: nodeLabels(metadata), ...defined({ mac, nodeMac }) },
    })
  }
  for (const { device, address, mac } of uplinks) {
    const macs = defined({ mac: mac ?? facts.macOf(device) })
    objects.push({ kind: 'Uplink', name: device, spec: { device, address, ...macs } })
  }
  return objects
}

/** The list is one, and set whole. */
function egressObject({ egress }: DesiredState): NodeObject[] {
  if (egress.length === 0) return []
  return [{ kind: 'EgressGateway', name: 'rules', spec: { rules: egress } }]
}

/** Addresses that the node makes known: those of its document, and its services' if so told. */
function announcements({ spec }: NodeDocument, state: DesiredState): NodeObject[] {
  const wanted = new Map<string, { devices?: readonly string[] }>()
  if (spec.announceServices) {
    const own = new Set(nodeAddresses(spec))
    for (const { address, type } of state.services.flatMap((s) => s.spec.frontends)) {
      const isOutside = type === 'LoadBalancer' || type === 'ExternalIP'
      if (isOutside && !own.has(address)) wanted.set(address, {})
    }
  }
  for (const { address, devices } of spec.announcements) wanted.set(address, defined({ devices }))
  // Written out, so that another uplink means another object.
  const all = spec.uplinks.map(({ device }) => device)
  return [...wanted].map(([address, { devices }]) => ({
    kind: 'Announcement',
    name: address,
    spec: { address, devices: devices ?? all },
  }))
}

const nodeAddresses = (spec: NodeDocument['spec']): string[] => [
  ...(spec.host?.addresses ?? []),
  ...spec.uplinks.map(({ address }) => address),
]

/** Labels by which policies with a nodeSelector find the node. */
const nodeLabels = ({ labels }: NodeDocument['metadata']): Labels =>
  Object.fromEntries(Object.entries(labels).map(([key, value]) => [`k8s:${key}`, value]))

/** An object of the record has no undefined fields, for JSON has none. */
const defined = (fields: Readonly<Record<string, unknown>>) =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))

function endpointObjects(state: DesiredState, facts: NodeFacts): NodeObject[] {
  const { endpoints: documents, namespaces } = state
  const taken = new Set<number>()
  const named = documents.map((document) => ({ document, name: qualifiedName(document.metadata) }))
  const idOf = new Map<string, number>()
  const take = (name: string, id: number | undefined): void => {
    if (id === undefined || taken.has(id)) return
    taken.add(id)
    idOf.set(name, id)
  }
  for (const { name, document } of named) take(name, document.spec.id)
  for (const { name } of named) if (!idOf.has(name)) take(name, facts.idOf(name))
  let next = 1
  return named.map(({ name, document }) => {
    while (!idOf.has(name)) take(name, next++)
    const { device, address, mac, ports, masquerade, bandwidth, identity } = document.spec
    const labels: Labels = labelsOf(document, namespaces)
    const nodeMac = document.spec.nodeMac ?? facts.macOf(device)
    return {
      kind: 'Endpoint',
      name,
      spec: {
        id: idOf.get(name) ?? 0,
        device,
        address,
        mac,
        ...defined({ nodeMac }),
        labels,
        ports,
        ...defined({ masquerade, bandwidth, identity }),
      },
    }
  })
}
