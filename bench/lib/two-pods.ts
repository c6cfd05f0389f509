/**
 * Two pods of one node with a policy on both sides: the flows of the generator are allowed, and
 * found by one rule of several.
 */
import { NodeController } from '../../src/daemon/node-controller.js'
import { Direction } from '../../src/packet/verdict.js'
import type { DatapathMaps } from '../../src/pipeline/datapath-maps.js'
import type { EndpointPolicy, PortRange } from '../../src/policy/policy-rule.js'

/** A flow's number is in its ports; the C yardstick has the same (bench/yardstick/flows.h). */
export const SOURCE_PORT_FIRST = 1024
export const SOURCE_PORTS = 16_384
export const DESTINATION_PORT_FIRST = 5120
export const DESTINATION_PORTS = 1024

const TCP = 6
const UDP = 17
const SENDER_IDENTITY = 1001
const RECEIVER_IDENTITY = 1002

const GENERATED: PortRange = {
  protocol: UDP,
  firstPort: DESTINATION_PORT_FIRST,
  lastPort: DESTINATION_PORT_FIRST + DESTINATION_PORTS - 1,
}
const OTHERS: readonly PortRange[] = [80, 443, 8080, 9090].map((port) => ({
  protocol: TCP,
  firstPort: port,
  lastPort: port,
}))

const policyOf = (direction: Direction, remote: number): EndpointPolicy => ({
  enforceIngress: direction === Direction.INGRESS,
  enforceEgress: direction === Direction.EGRESS,
  rules: [
    { direction, action: 'allow', identities: [remote], ports: [GENERATED], cookie: 1 },
    { direction, action: 'allow', ports: OTHERS, cookie: 2 },
    { direction, action: 'deny', identities: [remote + 100], cookie: 3 },
  ],
})

export interface BenchPod {
  readonly device: string
  readonly address: string
  readonly mac: string
  readonly nodeMac: string
}

/** Port 0 is the sender's, port 1 the receiver's. */
export function addTwoPods(maps: DatapathMaps, sender: BenchPod, receiver: BenchPod): void {
  const controller = new NodeController(maps)
  const egress = policyOf(Direction.EGRESS, RECEIVER_IDENTITY)
  const ingress = policyOf(Direction.INGRESS, SENDER_IDENTITY)
  controller.addEndpoint({ ...sender, id: 1, identity: SENDER_IDENTITY }, egress)
  controller.addEndpoint({ ...receiver, id: 2, identity: RECEIVER_IDENTITY }, ingress)
}
