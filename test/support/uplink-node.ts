/** What the tests of the uplink share: a client outside, a NodePort on it, and frames between. */
import type { FrontendSpec, FrontendType } from '../../src/lb/service-spec.js'
import { eth } from './packet-builder.js'
import { checkPacket } from './packet-checker.js'
import { ip } from './service-node.js'
import {
  GATEWAY_MAC,
  OUTSIDE_ADDRESS,
  type TestNode,
  type TestPod,
  UPLINK_ADDRESS,
  UPLINK_MAC,
} from './test-node.js'

export const NODE_PORT = 30_080
export const CLIENT = OUTSIDE_ADDRESS
export const CLIENT_PORT = 50_000

export const outer = (
  type: FrontendType = 'NodePort',
  address = UPLINK_ADDRESS,
  port = NODE_PORT,
): FrontendSpec => ({ address, port, protocol: 'TCP', type })

/** A frame from outside; the gateway hands it over. */
export const fromOutside = (to: string, from = CLIENT, ttl = 64) =>
  eth({ from: GATEWAY_MAC, to: UPLINK_MAC }).ipv4({ from, to, ttl })

/** The client's segment to the NodePort. */
export const request = (
  flags = 'SYN',
  sport = CLIENT_PORT,
  to = UPLINK_ADDRESS,
  port = NODE_PORT,
) => fromOutside(to).tcp({ from: sport, to: port, flags, seq: 1 }).bytes()

/** The only frame that left by the uplink; fails when there is another number of them. */
export function left(node: TestNode): Uint8Array {
  const frames = node.uplink.take()
  const [frame] = frames
  if (frames.length === 1 && frame !== undefined) return frame
  throw new Error(`${frames.length} frames left by the uplink; drops ${node.drops()}`)
}

/** The only frame that the pod got. */
export function received(node: TestNode, pod: TestPod): Uint8Array {
  const frames = pod.port.take()
  const [frame] = frames
  if (frames.length === 1 && frame !== undefined) return frame
  throw new Error(`pod ${pod.id} got ${frames.length} frames; drops ${node.drops()}`)
}

/** The client gets an answer of the pod, which is a backend behind port 80 of the address. */
export function checkServed(
  t: Parameters<typeof checkPacket>[0],
  node: TestNode,
  pod: TestPod,
  address: string,
  message = address,
): void {
  node.send(node.uplink, request('SYN', CLIENT_PORT, address, 80))
  checkPacket(t, received(node, pod), { ipv4: { from: CLIENT, to: pod.address } }, message)
  const reply = ip(pod, CLIENT).tcp({ from: 8080, to: CLIENT_PORT, flags: 'SYN ACK' })
  node.send(pod.port, reply.bytes())
  checkPacket(t, left(node), { ipv4: { from: address }, tcp: { from: 80 } }, `${message}: reply`)
}
