/**
 * The flow lane and the source NAT: a port that is another flow's by now is nobody else's in the lane,
 * and what answers a mapping finds it.
 */
import t, { type Test } from 'tap'
import { parseIpv4 } from '../../src/wire/address.js'
import { inbound, natNode, natPort, outbound, sendOut } from '../support/nat-node.js'
import { GATEWAY_ADDRESS, type TestNode, type TestPod } from '../support/test-node.js'

const portOf = (node: TestNode, pod: TestPod): number =>
  natPort(sendOut(node, pod, outbound(pod).udp({ from: 40_000, to: 53 })))

/** A flow that the lane knows, and whose connection is gone, as after an eviction. */
function orphaned(t: Test) {
  const node = natNode()
  const [first, second] = [node.pod(), node.pod()]
  for (let i = 0; i < 3; i++) portOf(node, first)
  const { framesRepeated } = node.pipeline
  portOf(node, first)
  t.equal(node.pipeline.framesRepeated, framesRepeated + 1)
  const connections = node.maps.conntrackTable
  for (const slot of [...connections.slots()]) connections.deleteSlot(slot)
  node.gc.request()
  return { node, first, second }
}

t.test('the lane gives up a NAT port that the collector took away', async (t) => {
  const { node, first, second } = orphaned(t)
  for (let turn = 0; turn < 10 && node.natGc.sweeps === 0; turn++) node.idle()
  t.equal(node.natGc.deleted, 2)
  t.equal(portOf(node, second), 40_000)
  t.not(portOf(node, first), 40_000)
  node.close()
})

t.test('it does so before the port is free, and not when the sweep ends', async (t) => {
  const { node, first, second } = orphaned(t)
  for (let turn = 0; turn < 1e5 && node.natGc.deleted < 2; turn++) {
    node.clock.advanceSeconds(0.0011)
    node.loop.turn()
  }
  t.equal(node.natGc.sweeps, 0)
  t.equal(portOf(node, second), 40_000)
  t.not(portOf(node, first), 40_000)
  node.close()
})

t.test('the lane gives up a NAT port whose connection was closed, though ACKs go on', async (t) => {
  const node = natNode()
  const [first, second] = [node.pod(), node.pod()]
  const send = (pod: TestPod, flags: string): number =>
    natPort(sendOut(node, pod, outbound(pod).tcp({ from: 40_000, to: 443, flags })))
  const answer = (flags: string): void => {
    node.send(node.uplink, inbound().tcp({ from: 443, to: 40_000, flags }).bytes())
    t.equal(first.port.take().length, 1)
  }
  send(first, 'SYN')
  answer('SYN ACK')
  send(first, 'ACK')
  send(first, 'FIN ACK')
  answer('FIN ACK')
  node.clock.advanceSeconds(9)
  for (let i = 0; i < 3; i++) t.equal(send(first, 'ACK'), 40_000)
  // A connection is remembered for ten seconds after its close.
  node.clock.advanceSeconds(3)
  node.gc.request()
  for (let turn = 0; turn < 10 && node.natGc.sweeps === 0; turn++) node.idle()
  t.equal(node.natGc.deleted, 2)
  t.equal(send(second, 'SYN'), 40_000)
  t.not(send(first, 'ACK'), 40_000)
  node.close()
})

const FIRST_PACKETS = {
  'larger than its way': 'x'.repeat(1600),
  'that has to wait for a neighbour': 'x',
} as const

for (const [name, payload] of Object.entries(FIRST_PACKETS)) {
  t.test(`a first packet ${name} leaves by the stack, and its reply comes back`, async (t) => {
    const node = natNode()
    const pod = node.pod()
    const reply = inbound().udp({ from: 53, to: 40_000 }).bytes()
    if (payload.length === 1) {
      node.routes.deleteNeighbour(node.uplinkPort, parseIpv4(GATEWAY_ADDRESS))
    }
    // Nobody has a mapping yet: they are the node's, and the lane knows that.
    for (let i = 0; i < 3; i++) node.send(node.uplink, reply)
    t.equal(node.host.take().length, 3)
    const request = outbound(pod).udp({ from: 40_000, to: 53 }).payload(payload)
    node.send(pod.port, request.bytes())
    t.equal(node.host.take().length, 1)
    node.send(node.uplink, reply)
    t.equal(pod.port.take().length, 1)
    t.equal(node.host.take().length, 0)
    node.close()
  })
}
