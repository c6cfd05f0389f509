/** Policy as packets meet it: audit mode, and policies that change under a lookup. */
import t from 'tap'
import { Endpoint } from '../../src/endpoint/endpoint-table.js'
import { EventType, EventWord } from '../../src/monitor/event.js'
import { NotedReason } from '../../src/monitor/metrics.js'
import { Burst } from '../../src/packet/burst.js'
import { PacketBuffer } from '../../src/packet/packet-buffer.js'
import { Direction } from '../../src/packet/verdict.js'
import { PacketContext } from '../../src/pipeline/context.js'
import { FrameTable } from '../../src/pipeline/frame-table.js'
import { parseFrames } from '../../src/pipeline/parse.js'
import { PolicyCheck } from '../../src/pipeline/policy-check.js'
import { PolicyMap, PolicyMatch } from '../../src/policy/policy-map.js'
import type { EndpointPolicy, PolicyRule } from '../../src/policy/policy-rule.js'
import { eth } from '../support/packet-builder.js'
import { NODE_MAC, TestNode, type TestPod } from '../support/test-node.js'

const TCP = 6
const HEADROOM_BYTES = 256

const ingress = (...rules: Omit<PolicyRule, 'direction'>[]): EndpointPolicy => ({
  enforceIngress: true,
  enforceEgress: false,
  rules: rules.map((rule) => ({ ...rule, direction: Direction.INGRESS })),
})

const segment = (from: TestPod, to: TestPod, flags = 'SYN', port = 80) =>
  eth({ from: from.mac, to: NODE_MAC })
    .ipv4({ from: from.address, to: to.address, ttl: 64 })
    .tcp({ from: 40000, to: port, flags, seq: 1 })
    .bytes()

const verdicts = (node: TestNode) =>
  node
    .events(EventType.POLICY_VERDICT)
    .filter((event) => event[EventWord.DIRECTION] === Direction.INGRESS)
    .map((event) => ({
      code: event[EventWord.CODE],
      match: event[EventWord.POLICY_MATCH],
      cookie: event[EventWord.RULE_COOKIE],
      audited: event[EventWord.IS_AUDITED],
    }))

t.test('in audit mode what policy would drop passes, is counted each time, and told', async (t) => {
  const node = new TestNode()
  const client = node.pod()
  const deny = { action: 'deny', identities: [client.identity], cookie: 7 } as const
  const server = node.pod(ingress({ ...deny, ports: [{ protocol: TCP, firstPort: 22 }] }))
  node.controller.setPolicyAudit(true, server.id)
  const audited = () => node.counted(NotedReason.POLICY_AUDITED, Direction.INGRESS)

  node.send(client.port, segment(client, server, 'SYN', 80))
  t.equal(server.port.take().length, 1)
  t.same(verdicts(node), [{ code: 133, match: PolicyMatch.NONE, cookie: 0, audited: 1 }])
  node.send(client.port, segment(client, server, 'SYN', 22))
  t.same(verdicts(node), [{ code: 181, match: PolicyMatch.L3_L4, cookie: 7, audited: 1 }])
  t.equal(audited(), 2)
  for (let i = 0; i < 3; i++) node.send(client.port, segment(client, server, 'ACK', 80))
  t.equal(server.port.take().length, 4)
  t.equal(audited(), 5, 'packets of a known connection too')
  t.equal(node.counted(133, Direction.INGRESS), 0)

  node.controller.setPolicyAudit(false, server.id)
  node.send(client.port, segment(client, server, 'ACK', 80))
  t.same(node.drops(), [133], 'the connection that audit mode let in is not remembered as allowed')
  node.close()
})

t.test('audit mode of the node is that of every endpoint', async (t) => {
  const node = new TestNode()
  const [client, server] = [node.pod(), node.pod(ingress())]
  node.controller.setPolicyAudit(true)
  node.send(client.port, segment(client, server))
  t.equal(server.port.take().length, 1)
  t.equal(node.counted(NotedReason.POLICY_AUDITED, Direction.INGRESS), 1)
  node.controller.setPolicyAudit(false)
  node.send(client.port, segment(client, server, 'SYN', 81))
  t.same(node.drops(), [133])
  node.close()
})

t.test('a verdict tells the rule and the kind of its entry', async (t) => {
  const node = new TestNode()
  const client = node.pod()
  const ports = [{ protocol: TCP, firstPort: 80 }]
  const server = node.pod(ingress({ action: 'allow', ports, cookie: 12 }))
  node.send(client.port, segment(client, server))
  t.same(verdicts(node), [{ code: 0, match: PolicyMatch.L4_ONLY, cookie: 12, audited: 0 }])
  node.close()
})

t.test('a policy that goes while it is asked is not the one that answers', async (t) => {
  const node = new TestNode()
  const client = node.pod()
  const rule = { action: 'allow', identities: [client.identity] } as const
  const server = node.pod(ingress(rule, { action: 'deny', ports: [{ protocol: TCP }] }))
  const state = node.maps.stateFor(0, 1)
  // A lookup during which the control plane swaps the policy and deletes the old one, as another
  // process may at any moment.
  let swaps = 0
  class Interrupted extends PolicyMap {
    override lookup(...args: Parameters<PolicyMap['lookup']>): number {
      if (swaps-- > 0) node.controller.setPolicy(server.id, ingress({ ...rule, cookie: 5 }))
      return super.lookup(...args)
    }
  }
  const policy = new Interrupted(node.maps.policyEntries, node.maps.policyPrefixes)
  const check = new PolicyCheck({ ...state, policy }, Direction.INGRESS)
  const row = state.endpoints.rowStart(node.controller.portOf(server.id))
  const ask = (swapsDuring: number) => {
    swaps = swapsDuring
    return check.admit(contextOf(node, client, server), row, client.identity)
  }
  t.equal(ask(0), -181)
  t.equal(ask(1), 0, 'judged by the new policy, not by what was left of the old one')
  t.equal(ask(3), 0)
  t.equal(ask(1000), -203, 'a policy that is never the same twice lets nobody in')
  const words = state.endpoints.words
  node.controller.removeEndpoint(server.id)
  t.equal(words[row + Endpoint.POLICY], 0, 'a removed endpoint names no policy')
  node.close()
})

/** The context of a SYN that conntrack does not know, at the server's side. */
function contextOf(node: TestNode, client: TestPod, server: TestPod): PacketContext {
  const bytes = segment(client, server)
  const umem = new Uint8Array(2048)
  umem.set(bytes, HEADROOM_BYTES)
  const packet = new PacketBuffer(umem.buffer, umem.length)
  const table = new FrameTable(1)
  const burst = new Burst(1)
  burst.count = 1
  burst.starts[0] = HEADROOM_BYTES
  burst.lengths[0] = bytes.length
  parseFrames(burst, Int32Array.of(0), 1, packet, table, node.maps.conntrackTable.seed)
  const ctx = new PacketContext(packet, table)
  ctx.load(0, 0)
  return ctx
}
