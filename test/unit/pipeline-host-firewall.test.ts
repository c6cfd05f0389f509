/** The host firewall: the node's own policy, for what its stack sends and gets by us. */
import t from 'tap'
import { HOST_ENDPOINT_ID } from '../../src/daemon/node-controller.js'
import { EventType, EventWord } from '../../src/monitor/event.js'
import { NotedReason } from '../../src/monitor/metrics.js'
import { Direction } from '../../src/packet/verdict.js'
import type { EndpointPolicy, PolicyRule } from '../../src/policy/policy-rule.js'
import { eth } from '../support/packet-builder.js'
import { service, VIP } from '../support/service-node.js'
import {
  GATEWAY_MAC,
  HOST_MAC,
  NODE_ADDRESS,
  NODE_MAC,
  OUTSIDE_ADDRESS,
  TestNode,
  type TestPod,
  UPLINK_ADDRESS,
  UPLINK_MAC,
} from '../support/test-node.js'

const TCP = 6
const { INGRESS, EGRESS } = Direction

const policy = (...rules: (Partial<PolicyRule> & { port?: number })[]): EndpointPolicy => ({
  enforceIngress: true,
  enforceEgress: true,
  rules: rules.map(({ port, ...rule }) => ({
    direction: INGRESS,
    action: 'allow',
    ...(port === undefined ? {} : { ports: [{ protocol: TCP, firstPort: port }] }),
    ...rule,
  })),
})

function guarded(hostPolicy: EndpointPolicy, hasUplink = false): TestNode {
  const node = new TestNode({ hasUplink })
  node.controller.setPolicy(HOST_ENDPOINT_ID, hostPolicy)
  node.controller.setHostFirewall(true)
  return node
}

const fromPod = (pod: TestPod, sport: number, dport: number, flags = 'SYN', to = NODE_ADDRESS) =>
  eth({ from: pod.mac, to: NODE_MAC })
    .ipv4({ from: pod.address, to, ttl: 64 })
    .tcp({ from: sport, to: dport, flags, seq: 1 })
    .bytes()

const fromHost = (to: string, sport: number, dport: number, flags = 'SYN', from = NODE_ADDRESS) =>
  eth({ from: HOST_MAC, to: NODE_MAC })
    .ipv4({ from, to, ttl: 64 })
    .tcp({ from: sport, to: dport, flags, seq: 1 })
    .bytes()

const fromOutside = (dport: number, flags: string, sport = 40000) =>
  eth({ from: GATEWAY_MAC, to: UPLINK_MAC })
    .ipv4({ from: OUTSIDE_ADDRESS, to: UPLINK_ADDRESS, ttl: 60 })
    .tcp({ from: sport, to: dport, flags, seq: 1 })
    .bytes()

t.test(
  'pods reach the ports of the node that its policy allows them, and get answers',
  async (t) => {
    const node = guarded(policy({ identities: [301], port: 22 }))
    const [admin, other] = [node.pod(), node.pod()]
    node.send(admin.port, fromPod(admin, 5000, 22))
    t.equal(node.host.take().length, 1)
    node.send(node.host, fromHost(admin.address, 22, 5000, 'SYN ACK'))
    t.equal(admin.port.take().length, 1, 'a reply, though the node may send nothing by itself')
    node.send(admin.port, fromPod(admin, 5000, 22, 'ACK'))
    t.equal(node.host.take().length, 1)
    node.send(other.port, fromPod(other, 5000, 22))
    node.send(admin.port, fromPod(admin, 5001, 23))
    t.equal(node.host.take().length, 0)
    t.equal(node.counted(133, INGRESS), 2)
    const drop = node.events(EventType.DROP)[0] as Int32Array
    t.equal(drop[EventWord.ENDPOINT], HOST_ENDPOINT_ID)
    node.close()
  },
)

t.test('the node reaches the pods that its policy allows it, and they answer', async (t) => {
  const node = guarded(policy({ direction: EGRESS, identities: [301], port: 80 }))
  const [web, other] = [node.pod(), node.pod()]
  node.send(node.host, fromHost(web.address, 5000, 80))
  t.equal(web.port.take().length, 1)
  node.send(web.port, fromPod(web, 80, 5000, 'SYN ACK'))
  t.equal(node.host.take().length, 1, 'a reply, though nobody may come in')
  node.send(node.host, fromHost(other.address, 5000, 80))
  node.send(node.host, fromHost(web.address, 5000, 81))
  t.same(
    [web, other].flatMap((pod) => pod.port.take()),
    [],
  )
  t.same(node.drops(), [133, 133])
  t.equal(node.counted(133, EGRESS), 2)
  node.close()
})

t.test('what the node forwards for others is not of its own policy', async (t) => {
  const node = guarded(policy())
  const web = node.pod()
  node.send(node.host, fromHost(web.address, 5000, 80, 'SYN', OUTSIDE_ADDRESS))
  t.equal(web.port.take().length, 1)
  node.send(web.port, fromPod(web, 5001, 443, 'SYN', OUTSIDE_ADDRESS))
  t.equal(node.host.take().length, 1, 'by the node’s stack, not to it')
  node.close()
})

t.test('off, the policy is not asked; changed, it holds for running connections', async (t) => {
  const node = guarded(policy())
  const pod = node.pod()
  node.controller.setHostFirewall(false)
  node.send(pod.port, fromPod(pod, 5000, 22))
  t.equal(node.host.take().length, 1)
  node.controller.setHostFirewall(true)
  node.send(pod.port, fromPod(pod, 5000, 22, 'ACK'))
  t.same(node.drops(), [133])
  node.controller.setPolicy(HOST_ENDPOINT_ID, policy({ identities: [pod.identity] }))
  node.send(pod.port, fromPod(pod, 5000, 22, 'ACK'))
  t.equal(node.host.take().length, 1)
  node.controller.setPolicyAudit(true, HOST_ENDPOINT_ID)
  node.controller.setPolicy(HOST_ENDPOINT_ID, policy())
  node.send(pod.port, fromPod(pod, 5000, 22, 'ACK'))
  t.equal(node.host.take().length, 1)
  t.equal(node.counted(NotedReason.POLICY_AUDITED, INGRESS), 1, 'audit mode is for the node, too')
  node.close()
})

t.test('an uplink brings the node what its policy allows, and what may be a reply', async (t) => {
  const node = guarded(policy({ identities: [2], port: 443 }), true)
  node.send(node.uplink, fromOutside(443, 'SYN'))
  t.equal(node.host.take().length, 1)
  node.send(node.uplink, fromOutside(22, 'SYN'))
  t.same(node.drops(), [133])
  node.send(node.uplink, fromOutside(50_000, 'SYN ACK'))
  t.equal(node.host.take().length, 1, 'to a connection that the node opened without us')
  node.controller.setPolicy(HOST_ENDPOINT_ID, policy())
  node.send(node.uplink, fromOutside(443, 'ACK'))
  t.same(node.drops(), [133], 'a connection that came in by us is known to be one')
  node.close()
})

t.test('a service leads the node only to backends that its policy allows', async (t) => {
  const node = guarded(policy({ direction: EGRESS, identities: [301], port: 8080 }))
  const [web, other] = [node.pod(), node.pod()]
  node.controller.setService(service([web]))
  node.send(node.host, fromHost(VIP, 5000, 80))
  t.equal(web.port.take().length, 1)
  node.send(web.port, fromPod(web, 8080, 5000, 'SYN ACK'))
  t.equal(node.host.take().length, 1, 'the service answers')
  node.controller.setService(service([other]))
  const before = node.maps.conntrackTable.size
  node.send(node.host, fromHost(VIP, 5001, 80))
  t.same(node.drops(), [133])
  t.ok(node.maps.conntrackTable.size <= before + 1, 'but for its choice nothing is remembered')
  node.close()
})

t.test('the node as a service’s backend is asked about its clients', async (t) => {
  const node = guarded(policy({ identities: [301] }))
  const [good, bad] = [node.pod(), node.pod()]
  const backend = { address: NODE_ADDRESS, port: 6443 }
  node.controller.setService(service([backend]))
  node.send(good.port, fromPod(good, 5000, 80, 'SYN', VIP))
  t.equal(node.host.take().length, 1)
  node.send(node.host, fromHost(good.address, 6443, 5000, 'SYN ACK'))
  t.equal(good.port.take().length, 1)
  node.send(bad.port, fromPod(bad, 5000, 80, 'SYN', VIP))
  t.same(node.drops(), [133])
  node.close()
})

t.test('a router’s errors are no connections of the node', async (t) => {
  const node = guarded(policy())
  const pod = node.pod()
  const query = fromPod(pod, 5000, 443, 'SYN', OUTSIDE_ADDRESS)
  node.send(pod.port, query)
  t.equal(node.host.take().length, 1)
  const error = eth({ from: HOST_MAC, to: NODE_MAC })
    .ipv4({ from: NODE_ADDRESS, to: pod.address })
    .icmpError({ type: 11, code: 0, quoted: query.subarray(14) })
  node.send(node.host, error.bytes())
  t.equal(pod.port.take().length, 1)
  node.close()
})
