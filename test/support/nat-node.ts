/** What the tests of the NAT share: a masquerading node with an uplink, and frames in and out. */
import type { MasqueradeOptions } from '../../src/daemon/masquerade-writer.js'
import { bare, eth, type PacketBuilder } from './packet-builder.js'
import { parseFrame } from './packet-parser.js'
import {
  GATEWAY_ADDRESS,
  GATEWAY_MAC,
  NODE_MAC,
  OUTSIDE_ADDRESS,
  TestNode,
  type TestNodeOptions,
  type TestPod,
  UPLINK_ADDRESS,
  UPLINK_MAC,
} from './test-node.js'

export interface NatNodeOptions extends TestNodeOptions {
  readonly masquerade?: Partial<MasqueradeOptions>
}

/** A node with an uplink that masquerades. */
export function natNode(options: NatNodeOptions = {}): TestNode {
  const node = new TestNode({ hasUplink: true, ...options })
  node.controller.setMasquerade({ enabled: true, ...options.masquerade })
  return node
}

/** A packet of the pod's to the outside. */
export const outbound = (pod: TestPod, to = OUTSIDE_ADDRESS, ttl = 64): PacketBuilder =>
  eth({ from: pod.mac, to: NODE_MAC }).ipv4({ from: pod.address, to, ttl })

/** A packet from the outside, as the gateway hands it over; to the node's address unless told. */
export const inbound = (from = OUTSIDE_ADDRESS, to = UPLINK_ADDRESS): PacketBuilder =>
  eth({ from: GATEWAY_MAC, to: UPLINK_MAC }).ipv4({ from, to })

/** An error from the gateway about what the node sent. */
export const inboundError = (quoted: PacketBuilder, type: number, code: number, rest = 0) =>
  inbound(GATEWAY_ADDRESS).icmpError({ type, code, rest, quoted })

export const quote = (from: string, to: string): PacketBuilder => bare().ipv4({ from, to, ttl: 1 })

/** The one frame that left by the uplink for a frame of the pod's; fails when it did not. */
export function sendOut(node: TestNode, pod: TestPod, packet: PacketBuilder): Uint8Array {
  node.send(pod.port, packet.bytes())
  const frames = node.uplink.take()
  const [frame] = frames
  if (frame !== undefined && frames.length === 1) return frame
  throw new Error(`${frames.length} frames left by the uplink; drops ${node.drops()}`)
}

/** Source port (of a ping: identifier) of a frame. */
export function natPort(frame: Uint8Array): number {
  const { tcp, udp, icmp } = parseFrame(frame)
  return tcp?.from ?? udp?.from ?? icmp?.id ?? -1
}
