/**
 * ipv4_local_delivery (bpf/lib/l3.h): the last hop to a pod of this node. The packet has been
 * routed, so its TTL counts down and its MAC addresses become those of the pod's pair; whether the
 * pod accepts it is up to the stages of its own side. What the pod's device does not carry goes no
 * further: nothing is cut here.
 */
import { Endpoint, type EndpointTable } from '../endpoint/endpoint-table.js'
import { DropReason } from '../packet/drop-reason.js'
import type { Verdict } from '../packet/verdict.js'
import * as ethernet from '../wire/ethernet.js'
import * as ipv4 from '../wire/ipv4.js'
import { type PacketContext, tailCall } from './context.js'
import { TailCall } from './tail-call.js'

export function deliverLocally(
  ctx: PacketContext,
  endpoints: EndpointTable,
  endpoint: number,
): Verdict {
  const packet = ctx.packet
  if (ipv4.ttl(packet, ctx.l3Offset) <= 1) return tailCall(ctx, TailCall.TIME_EXCEEDED)
  if (isTooLarge(ctx, endpoints, endpoint)) return refuseTooLarge(ctx, endpoints, endpoint)
  ipv4.decrementTtl(packet, ctx.l3Offset)
  rewriteMacs(ctx, endpoints, endpoint)
  ctx.destinationEndpoint = endpoint
  return tailCall(ctx, TailCall.IPV4_CT_INGRESS)
}

/**
 * Is the packet larger than what the endpoint's device carries? If not, later ones of its flow may be
 * as large as that.
 */
export function isTooLarge(
  ctx: PacketContext,
  endpoints: EndpointTable,
  endpoint: number,
): boolean {
  const mtuBytes = endpoints.words[endpoints.rowStart(endpoint) + Endpoint.MTU] as number
  if (mtuBytes === 0) return false
  // On the way to the node's stack the route's MTU has been noted, which may be less.
  ctx.repeatableBytesMax = Math.min(ctx.repeatableBytesMax, mtuBytes)
  return ipv4.totalLength(ctx.packet, ctx.l3Offset) > mtuBytes
}

/** Its sender is told the MTU when he has forbidden to cut the packet. */
export function refuseTooLarge(
  ctx: PacketContext,
  endpoints: EndpointTable,
  endpoint: number,
): Verdict {
  if (!ipv4.dontFragment(ctx.packet, ctx.l3Offset)) return DropReason.FRAGMENTATION_NEEDED
  ctx.mtuBytes = endpoints.words[endpoints.rowStart(endpoint) + Endpoint.MTU] as number
  return tailCall(ctx, TailCall.IPV4_FRAGMENTATION_NEEDED)
}

/** From the node's side of the endpoint's pair, to the endpoint. */
export function rewriteMacs(ctx: PacketContext, endpoints: EndpointTable, endpoint: number): void {
  const rows = endpoints.words
  const row = endpoints.rowStart(endpoint)
  const mac = row + Endpoint.MAC
  const nodeMac = row + Endpoint.NODE_MAC
  ethernet.setDestination(ctx.packet, 0, rows[mac] as number, rows[mac + 1] as number)
  ethernet.setSource(ctx.packet, 0, rows[nodeMac] as number, rows[nodeMac + 1] as number)
}
