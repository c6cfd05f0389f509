/**
 * Namespace (v1): its labels are what namespace selectors of policies ask for. A namespace without
 * a document has the label of its name alone. Not here: that anything must be declared before it is
 * used, or goes with its namespace.
 */
import * as z from 'zod'
import type { Labels } from '../policy-rules/labels.js'
import type { Document } from './documents.js'
import { ofKind } from './documents.js'
import { clusterMetadata, namespaceName, strict } from './schema.js'

export const namespaceSchema = strict({
  apiVersion: z.literal('v1'),
  kind: z.literal('Namespace'),
  metadata: clusterMetadata.refine(({ name }) => namespaceName.safeParse(name).success, {
    error: 'a name of lower-case letters, digits and "-", at most 63 long',
    path: ['name'],
  }),
  /** What Kubernetes has to finish before the namespace goes: nothing of ours. */
  spec: strict({ finalizers: z.unknown().optional() }).nullish(),
  status: z.unknown().optional(),
})

/** Labels of namespaces by their name. */
export type NamespaceLabels = ReadonlyMap<string, Labels>

export const NO_NAMESPACES: NamespaceLabels = new Map()

export function namespacesOf(documents: readonly Document[]): NamespaceLabels {
  return new Map(
    ofKind(documents, 'Namespace').map(({ body: { metadata } }) => [
      metadata.name,
      metadata.labels,
    ]),
  )
}
