/** Every kind of document, as `get` and `delete` name them. */
import type { Kind } from './documents.js'

export const KINDS: readonly Kind[] = [
  'Node',
  'Endpoint',
  'Peer',
  'Namespace',
  'Service',
  'EndpointSlice',
  'NetworkPolicy',
  'CiliumNetworkPolicy',
  'CiliumClusterwideNetworkPolicy',
  'CiliumEgressGatewayPolicy',
  'CiliumLocalRedirectPolicy',
]
