/**
 * Documents of every supported kind, from text to checked values: the one way in, whether the text
 * comes from a file, a request or a test. Pure: nothing is looked up, nothing applied.
 */
import type * as z from 'zod'
import { egressGatewaySchema } from './egress-documents.js'
import { type RawDocument, readManifests } from './manifest.js'
import { namespaceSchema } from './namespace-documents.js'
import {
  ciliumClusterwideNetworkPolicySchema,
  ciliumNetworkPolicySchema,
  networkPolicySchema,
} from './policy-documents.js'
import { DocumentError, type Problem } from './problem.js'
import { localRedirectSchema } from './redirect-documents.js'
import { endpointSchema, nodeSchema, peerSchema, RINGPATH_V1 } from './ringpath-documents.js'
import { check, problemAt, qualifiedName } from './schema.js'
import { endpointSliceSchema, serviceSchema } from './service-documents.js'
import { suggestion } from './suggestion.js'

const SCHEMAS = {
  [`${RINGPATH_V1} Node`]: nodeSchema,
  [`${RINGPATH_V1} Endpoint`]: endpointSchema,
  [`${RINGPATH_V1} Peer`]: peerSchema,
  'v1 Namespace': namespaceSchema,
  'v1 Service': serviceSchema,
  'discovery.k8s.io/v1 EndpointSlice': endpointSliceSchema,
  'networking.k8s.io/v1 NetworkPolicy': networkPolicySchema,
  'cilium.io/v2 CiliumNetworkPolicy': ciliumNetworkPolicySchema,
  'cilium.io/v2 CiliumClusterwideNetworkPolicy': ciliumClusterwideNetworkPolicySchema,
  'cilium.io/v2 CiliumEgressGatewayPolicy': egressGatewaySchema,
  'cilium.io/v2 CiliumLocalRedirectPolicy': localRedirectSchema,
} as const

type Schema =
  | typeof nodeSchema
  | typeof endpointSchema
  | typeof peerSchema
  | typeof namespaceSchema
  | typeof serviceSchema
  | typeof endpointSliceSchema
  | typeof networkPolicySchema
  | typeof ciliumNetworkPolicySchema
  | typeof ciliumClusterwideNetworkPolicySchema
  | typeof egressGatewaySchema
  | typeof localRedirectSchema

export type Body = z.output<Schema>
export type Kind = Body['kind']

/** A checked document, and where it came from. */
export interface Document {
  readonly body: Body
  /** Unique: "Service default/web". */
  readonly key: string
  readonly source: string
  readonly raw: RawDocument
}

export interface Documents {
  readonly documents: readonly Document[]
  /** Of all documents of the text, each problem of each. */
  readonly problems: readonly Problem[]
}

/** @param source file or "request", for the messages */
export function readDocuments(text: string, source: string): Documents {
  const raw = readManifests(text, source)
  const documents: Document[] = []
  const problems = [...raw.problems]
  for (const document of raw.documents) {
    const result = checkDocument(document)
    if ('problems' in result) problems.push(...result.problems)
    else documents.push(result.document)
  }
  return { documents, problems }
}

/** As `readDocuments`. @throws DocumentError with every problem */
export function parseDocuments(text: string, source: string): readonly Document[] {
  const { documents, problems } = readDocuments(text, source)
  if (problems.length > 0) throw new DocumentError(problems)
  return documents
}

function checkDocument(raw: RawDocument): { document: Document } | { problems: Problem[] } {
  const type = `${raw.apiVersion} ${raw.kind}`
  if (!Object.hasOwn(SCHEMAS, type)) {
    const ofKind = Object.keys(SCHEMAS).filter((name) => name.endsWith(` ${raw.kind}`))
    const field = ofKind.length > 0 ? 'apiVersion' : 'kind'
    const names = ofKind.length > 0 ? ofKind : Object.keys(SCHEMAS)
    const kinds = Object.keys(SCHEMAS).map((name) => name.split(' ')[1] ?? '')
    const meant = ofKind.length > 0 ? undefined : suggestion(raw.kind, kinds)
    const first = meant === undefined ? '' : `${meant}, or `
    return { problems: [problemAt(raw, [field], `${first}one of: ${names.join('; ')}`)] }
  }
  const result = check<Schema>(SCHEMAS[type as keyof typeof SCHEMAS], raw)
  if ('problems' in result) return result
  const body = result.value
  const key = `${body.kind} ${qualifiedName(body.metadata)}`
  return { document: { body, key, source: raw.source, raw } }
}

/** The documents of one kind. */
export function ofKind<K extends Kind>(
  documents: readonly Document[],
  kind: K,
): (Document & { readonly body: Extract<Body, { kind: K }> })[] {
  return documents.filter((d) => d.body.kind === kind) as (Document & {
    readonly body: Extract<Body, { kind: K }>
  })[]
}
