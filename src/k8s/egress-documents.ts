/** CiliumEgressGatewayPolicy (cilium.io/v2) as a document; src/k8s/egress.ts says what it means. */
import * as z from 'zod'
import { selectorSchema } from './policy-documents.js'
import { clusterMetadata, ipv4, ipv4Cidr, strict } from './schema.js'

export const egressGatewaySchema = strict({
  apiVersion: z.literal('cilium.io/v2'),
  kind: z.literal('CiliumEgressGatewayPolicy'),
  metadata: clusterMetadata,
  spec: strict({
    selectors: z
      .array(
        strict({
          podSelector: selectorSchema.optional(),
          namespaceSelector: selectorSchema.optional(),
        }),
      )
      .min(1, { error: 'at least one selector' }),
    destinationCIDRs: z.array(ipv4Cidr).min(1, { error: 'at least one prefix' }),
    excludedCIDRs: z.array(ipv4Cidr).default([]),
    egressGateway: strict({ nodeSelector: selectorSchema, egressIP: ipv4 }),
  }),
})
export type EgressGatewayDocument = z.output<typeof egressGatewaySchema>
