/**
 * What a node is to be, from all of its documents together: each object once, no two endpoints in
 * one place, every service with its backends. Pure; what is wrong is told by document.
 */
import { RingpathError } from '../base/errors.js'
import { LabelSet } from '../policy-rules/labels.js'
import { checkRule } from '../policy-rules/rule-check.js'
import type { RuleSpec } from '../policy-rules/rule-spec.js'
import { formatCidr, parseCidr } from '../wire/address.js'
import { type Document, ofKind } from './documents.js'
import { type EgressRuleSpec, egressRules } from './egress.js'
import { type NamespaceLabels, namespacesOf } from './namespaces.js'
import { podLabels, rulesOf } from './policies.js'
import type { Problem } from './problem.js'
import type { EndpointDocument, NodeDocument, PeerDocument } from './ringpath-documents.js'
import { problemAt } from './schema.js'
import { type PlannedService, servicesOf } from './services.js'

export interface DesiredState {
  readonly endpoints: readonly EndpointDocument[]
  readonly services: readonly PlannedService[]
  readonly rules: readonly RuleSpec[]
  readonly egress: readonly EgressRuleSpec[]
  readonly peers: readonly PeerDocument[]
  readonly namespaces: NamespaceLabels
  readonly documents: readonly Document[]
}

const POLICY_KINDS = ['NetworkPolicy', 'CiliumNetworkPolicy', 'CiliumClusterwideNetworkPolicy']

export function desiredState(
  documents: readonly Document[],
  node: NodeDocument,
): { state: DesiredState; problems: Problem[] } {
  const problems = [...duplicates(documents), ...strayNodes(documents), ...sharedPlaces(documents)]
  problems.push(...sharedIdentities(documents), ...sharedAddresses(documents, node))
  const planned = servicesOf(documents, {
    nodeAddresses: nodeAddresses(node),
    nodeName: node.metadata.name,
    algorithm: node.spec.services.algorithm,
  })
  problems.push(...planned.problems, ...sharedFrontends([...planned.services, ...planned.idle]))
  const rules = policyRules(documents)
  problems.push(...rules.problems)
  const state: DesiredState = {
    endpoints: ofKind(documents, 'Endpoint').map(({ body }) => body),
    services: planned.services,
    rules: rules.specs,
    egress: egressRules(documents, node),
    peers: ofKind(documents, 'Peer').map(({ body }) => body),
    namespaces: namespacesOf(documents),
    documents,
  }
  return { state, problems }
}

/** Every rule of every policy; what only the rules' own check can see is told by its document. */
function policyRules(documents: readonly Document[]): { specs: RuleSpec[]; problems: Problem[] } {
  const specs: RuleSpec[] = []
  const problems: Problem[] = []
  for (const document of documents) {
    if (!POLICY_KINDS.includes(document.body.kind)) continue
    try {
      const rules = rulesOf(document)
      for (const rule of rules) checkRule(rule)
      specs.push(...rules)
    } catch (error) {
      if (!(error instanceof RingpathError)) throw error
      const { source, object } = document.raw
      const line = document.raw.lineOf(['spec'])
      const place = line === undefined ? { source } : { source, line }
      const [found = '', expected = 'a valid rule'] = error.message.split(', expected ')
      problems.push({ ...place, object, field: 'spec', found, expected })
    }
  }
  return { specs, problems }
}

/** The node's own addresses, under which NodePorts are reached. */
export function nodeAddresses({ spec }: NodeDocument): string[] {
  const addresses = [...(spec.host?.addresses ?? []), ...spec.uplinks.map(({ address }) => address)]
  return [...new Set(addresses)]
}

function duplicates(documents: readonly Document[]): Problem[] {
  const first = new Map<string, Document>()
  return documents.flatMap((document) => {
    const before = first.get(document.key)
    if (before === undefined) {
      first.set(document.key, document)
      return []
    }
    const name = ['metadata', 'name']
    return [problemAt(document.raw, name, `an object that ${before.source} does not have already`)]
  })
}

/** The node's own document is what the agent is started with. */
function strayNodes(documents: readonly Document[]): Problem[] {
  return ofKind(documents, 'Node').map(({ raw }) =>
    problemAt(raw, ['kind'], 'any kind but Node, which is for `ringpath agent --config`'),
  )
}

/** Fields of an endpoint that no two of a node may share. */
const PLACES = ['id', 'device', 'address'] as const

function sharedPlaces(documents: readonly Document[]): Problem[] {
  const problems: Problem[] = []
  for (const field of PLACES) {
    const owners = new Map<string | number, Document>()
    for (const document of ofKind(documents, 'Endpoint')) {
      const value = document.body.spec[field]
      if (value === undefined) continue
      const owner = owners.get(value)
      if (owner === undefined) owners.set(value, document)
      else {
        const expected = `another one than that of ${owner.key} (${owner.source})`
        problems.push(problemAt(document.raw, ['spec', field], expected))
      }
    }
  }
  return problems
}

/** A number of the cluster stands for one set of labels, whichever document tells of it. */
function sharedIdentities(documents: readonly Document[]): Problem[] {
  const known = new Map<number, { labels: string; owner: string }>()
  const problems: Problem[] = []
  for (const { document, path, identity, labels } of numberedLabels(documents)) {
    const { text } = new LabelSet(labels)
    const { labels: had, owner } = known.get(identity) ?? { labels: text, owner: document.key }
    known.set(identity, { labels: had, owner })
    if (had === text) continue
    const expected = `a number that does not have other labels in ${owner}`
    problems.push(problemAt(document.raw, path, expected))
  }
  return problems
}

/** An address or prefix leads to one place alone; a longer prefix within another one may differ. */
function sharedAddresses(documents: readonly Document[], node: NodeDocument): Problem[] {
  const owners = new Map<string, string>()
  const problems: Problem[] = []
  const take = (document: Document, path: PropertyKey[], text: string): void => {
    const key = formatCidr(parseCidr(text))
    const owner = owners.get(key) ?? document.key
    owners.set(key, owner)
    if (owner === document.key) return
    const expected = `an address or prefix that ${owner} does not have`
    problems.push(problemAt(document.raw, ['spec', ...path], expected))
  }
  for (const address of nodeAddresses(node)) owners.set(`${address}/32`, 'the node itself')
  for (const cidr of node.spec.podCidrs) owners.set(formatCidr(parseCidr(cidr)), 'the node itself')
  for (const document of ofKind(documents, 'Peer')) {
    const { address, podCidrs, hostAddresses, endpoints } = document.body.spec
    take(document, ['address'], address)
    for (const [i, cidr] of podCidrs.entries()) take(document, ['podCidrs', i], cidr)
    for (const [i, one] of hostAddresses.entries()) take(document, ['hostAddresses', i], one)
    for (const [i, one] of endpoints.entries()) {
      take(document, ['endpoints', i, 'address'], one.address)
    }
  }
  for (const document of ofKind(documents, 'Endpoint')) {
    const { address } = document.body.spec
    // Two endpoints with one address are told by `sharedPlaces`.
    if (owners.has(`${address}/32`)) take(document, ['address'], address)
  }
  return problems
}

function* numberedLabels(documents: readonly Document[]) {
  for (const document of ofKind(documents, 'Endpoint')) {
    const { metadata, spec } = document.body
    const labels = podLabels(metadata.namespace, metadata.labels)
    const path = ['spec', 'identity']
    if (spec.identity !== undefined) yield { document, path, identity: spec.identity, labels }
  }
  for (const document of ofKind(documents, 'Peer')) {
    for (const [i, one] of document.body.spec.endpoints.entries()) {
      const path = ['spec', 'endpoints', i, 'identity']
      const labels = podLabels(one.namespace, one.labels)
      yield { document, path, identity: one.identity, labels }
    }
  }
}

function sharedFrontends(services: readonly PlannedService[]): Problem[] {
  const owners = new Map<string, PlannedService>()
  const problems: Problem[] = []
  for (const service of services) {
    for (const { address, port, protocol } of service.spec.frontends) {
      const key = `${address}:${port}/${protocol}`
      const owner = owners.get(key)
      if (owner === undefined) owners.set(key, service)
      else {
        const expected = `addresses that ${owner.document.key} does not have: both have ${key}`
        problems.push(problemAt(service.document.raw, ['spec'], expected))
      }
    }
  }
  return problems
}
