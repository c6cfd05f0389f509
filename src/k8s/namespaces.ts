/**
 * Labels of namespaces: what namespace selectors of policies ask for. A namespace without a document
 * has the label of its name alone.
 */
import type { Labels } from '../policy-rules/labels.js'
import { type Document, ofKind } from './documents.js'

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
