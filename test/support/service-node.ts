/** What the tests of services share: a service on pods of a TestNode, and frames to it. */
import type { BackendSpec, FrontendSpec, ServiceSpec } from '../../src/lb/service-spec.js'
import type { EndpointPolicy } from '../../src/policy/policy-rule.js'
import { eth } from './packet-builder.js'
import { NODE_MAC, type TestNode, type TestPod } from './test-node.js'

export const VIP = '10.96.0.10'
export const CLOSED: EndpointPolicy = { enforceIngress: true, enforceEgress: false, rules: [] }

export const frontend = (protocol: FrontendSpec['protocol'] = 'TCP', port = 80): FrontendSpec => ({
  address: VIP,
  port,
  protocol,
  type: 'ClusterIP',
})

export const service = (
  backends: readonly (TestPod | BackendSpec)[],
  options: Partial<ServiceSpec> = {},
): ServiceSpec => ({
  name: 'web',
  frontends: [frontend()],
  backends: backends.map((b) => ('mac' in b ? { address: b.address, port: 8080 } : b)),
  ...options,
})

export const on = (pod: TestPod, state: BackendSpec['state']): BackendSpec => ({
  address: pod.address,
  port: 8080,
  ...(state === undefined ? {} : { state }),
})

export const ip = (from: TestPod, to: string, ttl = 64) =>
  eth({ from: from.mac, to: NODE_MAC }).ipv4({ from: from.address, to, ttl })

export const segment = (from: TestPod, sport: number, flags = 'SYN', to = VIP, port = 80) =>
  ip(from, to).tcp({ from: sport, to: port, flags, seq: 1 }).bytes()

/** Which of the pods got the frame. */
export const receivers = (pods: readonly TestPod[]): TestPod[] =>
  pods.filter((pod) => pod.port.take().length > 0)

/** Where a frame of the client's went; fails when nowhere or to two. */
export function sendTo(
  node: TestNode,
  client: TestPod,
  pods: readonly TestPod[],
  frame: Uint8Array,
) {
  node.send(client.port, frame)
  const got = receivers(pods)
  if (got.length !== 1) throw new Error(`${got.length} pods got the frame; drops ${node.drops()}`)
  return got[0] as TestPod
}
