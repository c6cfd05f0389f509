/**
 * Namespace (v1) as a document; src/k8s/namespaces.ts says what it means. Not here: that anything must
 * be declared before it is used, or goes with its namespace.
 */
import * as z from 'zod'
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
