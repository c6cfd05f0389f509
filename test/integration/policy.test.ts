/**
 * Policy over real AF_XDP, with real programs: rules over prefixes, entities and ICMP types, audit
 * mode, the host firewall, and policies that are swapped under running connections.
 */
import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import { PolicyController } from '../../src/daemon/policy-controller.js'
import type { Namespace } from '../../src/lab/lab.js'
import {
  echoServer,
  ping,
  tcpEcho,
  tcpProbe,
  transferWithHash,
  udpEcho,
  udpEchoServer,
} from '../../src/lab/traffic.js'
import { NotedReason } from '../../src/monitor/metrics.js'
import type { Entity, PeerSpec, RuleSpec } from '../../src/policy-rules/rule-spec.js'
import { LiveNode, NODE_ADDRESS, OUTSIDE_ADDRESS, UPLINK_ADDRESS } from '../support/live-node.js'
import { apps, ruleFor, tcp } from '../support/policy-node.js'

const [POLICY_DENIED, POLICY_DENY] = [133, 181]
/** Of the outside: within the prefix, and within its exception. */
const [NEAR, EXCEPTED] = ['203.0.113.2', '203.0.113.130']

const live = await LiveNode.create('policy', { hasUplink: true })
t.after(() => live.close())
const { lab, node, outside, controller } = live
const [client, server, intruder] = [
  await live.pod('client'),
  await live.pod('server'),
  await live.pod('intruder'),
]
await lab.ip(outside, [`address add ${NEAR}/32 dev lo`, `address add ${EXCEPTED}/32 dev lo`])
controller.setMasquerade({ enabled: true })
const policies = new PolicyController(controller, live.maps)
for (const pod of [client, server, intruder]) {
  policies.setEndpointLabels(pod.id, { 'k8s:app': pod.name })
}
await live.start()

const LOGIN_PORT = 2223
/** A server of the node, as clients outside know it. */
const FROM_OUTSIDE = { ns: node, address: UPLINK_ADDRESS, port: LOGIN_PORT }

const probe = (from: Namespace, address: string, port = 9) => tcpProbe(lab, from, address, port)
/** A closed port that answers is one that the packet, and its answer, came to. */
const REACHED = 'refused'
const KEPT_OUT = 'silent'

t.afterEach(() => policies.replaceRules([]))

t.test('a prefix with an exception: the one is reached, the other is not', async (t) => {
  t.equal(await probe(client, EXCEPTED), REACHED, 'without rules everything is open')
  const cidrs = [{ cidr: '203.0.113.0/24', except: ['203.0.113.128/25'] }]
  policies.changeRules({ set: [ruleFor('client', { egress: [{ peers: { cidrs } }] })] })
  t.equal(await probe(client, NEAR), REACHED)
  t.equal(await probe(client, EXCEPTED), KEPT_OUT)
  t.equal(await probe(client, OUTSIDE_ADDRESS), KEPT_OUT)
  t.equal(await probe(intruder, EXCEPTED), REACHED, 'another pod has no such rule')
  const egressDeny = [{ peers: { cidrs: [{ cidr: '203.0.113.0/25' }] } }]
  policies.changeRules({ set: [ruleFor('client', { egress: [{}], egressDeny })] })
  const before = live.dropped(POLICY_DENY)
  t.equal(await probe(client, NEAR), KEPT_OUT)
  t.ok(live.dropped(POLICY_DENY) > before)
  t.equal(await probe(client, EXCEPTED), REACHED)
})

t.test('entities: the world is outside, the host is the node', async (t) => {
  const only = (entity: Entity) =>
    policies.changeRules({
      set: [ruleFor('client', { egress: [{ peers: { entities: [entity] } }] })],
    })
  only('world')
  t.equal(await probe(client, OUTSIDE_ADDRESS), REACHED)
  t.equal(await probe(client, NODE_ADDRESS), KEPT_OUT)
  t.equal(await probe(client, server.address), KEPT_OUT)
  only('host')
  t.equal(await probe(client, OUTSIDE_ADDRESS), KEPT_OUT)
  t.equal(await probe(client, NODE_ADDRESS), REACHED)
  only('cluster')
  t.equal(await probe(client, server.address), REACHED)
  t.equal(await probe(client, OUTSIDE_ADDRESS), KEPT_OUT)
})

t.test('a rule for echo requests lets pings in, and nothing else', async (t) => {
  policies.changeRules({ set: [ruleFor('server', { ingress: [{ icmps: [{ type: 8 }] }] })] })
  t.equal((await ping(lab, client, server.address)).received, 3)
  t.equal(await probe(client, server.address), KEPT_OUT)
  policies.changeRules({ set: [ruleFor('server', { ingress: [{ icmps: [{ type: 13 }] }] })] })
  t.equal((await ping(lab, client, server.address, { count: 2, waitSeconds: 1 })).received, 0)
})

t.test('in audit mode nobody is kept out, and it is counted who would be', async (t) => {
  policies.changeRules({ set: [ruleFor('server', { ingress: [{ peers: apps('client') }] })] })
  t.equal(await probe(intruder, server.address), KEPT_OUT)
  controller.setPolicyAudit(true, server.id)
  const before = live.dropped(NotedReason.POLICY_AUDITED)
  t.equal(await probe(intruder, server.address), REACHED)
  t.equal(live.dropped(NotedReason.POLICY_AUDITED) - before, 1, 'its SYN')
  t.equal(await probe(client, server.address), REACHED)
  t.equal(live.dropped(NotedReason.POLICY_AUDITED) - before, 1)
  controller.setPolicyAudit(false, server.id)
  t.equal(await probe(intruder, server.address), KEPT_OUT)
})

t.test('the host firewall: who reaches the node, and whom it reaches', async (t) => {
  const echo = await echoServer(lab, { ns: node, address: NODE_ADDRESS, port: 2222 })
  policies.setHostLabels({ 'reserved:host': '', 'k8s:kubernetes.io/hostname': 'node' })
  const host: RuleSpec = {
    name: 'host',
    nodeSelector: { matchLabels: { 'k8s:kubernetes.io/hostname': 'node' } },
    ingress: [{ peers: apps('client'), ...tcp(2222) }],
    egress: [{ peers: apps('server') }],
  }
  policies.changeRules({ set: [host] })
  t.equal(await probe(intruder, NODE_ADDRESS), REACHED, 'off: nobody is asked')
  controller.setHostFirewall(true)
  const at = { ns: node, address: NODE_ADDRESS, port: 2222 }
  t.same(await tcpEcho(lab, client, at, { connections: 20, bytesEach: 20_000 }), {
    opened: 20,
    intact: 20,
  })
  t.equal(await probe(client, NODE_ADDRESS, 22), KEPT_OUT)
  t.equal(await probe(intruder, NODE_ADDRESS, 2222), KEPT_OUT)
  t.equal((await ping(lab, node, server.address)).received, 3)
  t.equal((await ping(lab, node, client.address, { count: 2, waitSeconds: 1 })).received, 0)
  t.equal(await probe(client, OUTSIDE_ADDRESS), REACHED, 'forwarding is not the node’s own traffic')
  const login = await echoServer(lab, FROM_OUTSIDE)
  t.equal(await probe(outside, UPLINK_ADDRESS, LOGIN_PORT), 'open', 'not ours to judge')
  await login.stop()
  controller.setHostFirewall(false)
  await login.stop()
  await echo.stop()
})

t.test('the host firewall on the uplink: what begins there is judged too', async (t) => {
  const servers = [
    await echoServer(lab, FROM_OUTSIDE),
    await udpEchoServer(lab, { ns: outside, address: OUTSIDE_ADDRESS, port: 5300 }),
    await echoServer(lab, { ns: outside, address: OUTSIDE_ADDRESS, port: 5301 }),
  ]
  const few = { connections: 5, bytesEach: 10_000 }
  const all = { opened: 5, intact: 5 }
  const nodeLabels = { 'reserved:host': '' }
  policies.setHostLabels(nodeLabels)
  const world: PeerSpec = { entities: ['world'] }
  const ingress = [{ peers: world, ...tcp(LOGIN_PORT) }]
  policies.changeRules({ set: [{ name: 'host', nodeSelector: {}, ingress }] })
  const slow = tcpEcho(lab, outside, FROM_OUTSIDE, { connections: 2, bytesEach: 5_000_000 })
  controller.setHostFirewall(true, true)
  await live.settled()
  t.same(await tcpEcho(lab, outside, FROM_OUTSIDE, few), all, 'what is allowed')
  const before = live.dropped(POLICY_DENIED)
  t.equal(await probe(outside, UPLINK_ADDRESS, 22), KEPT_OUT)
  t.ok(live.dropped(POLICY_DENIED) > before)
  t.equal((await ping(lab, outside, UPLINK_ADDRESS, { count: 2, waitSeconds: 1 })).received, 0)
  t.equal((await ping(lab, node, OUTSIDE_ADDRESS)).received, 3, 'the node’s own go on: pings')
  const udp = { ns: outside, address: OUTSIDE_ADDRESS, port: 5300 }
  t.equal(await udpEcho(lab, node, udp, 'hello'), 'hello', 'UDP')
  t.same(await tcpEcho(lab, node, { ...udp, port: 5301 }, few), all, 'TCP')
  t.same(await slow, { opened: 2, intact: 2 }, 'and what came in before')
  policies.changeRules({ set: [{ name: 'host', nodeSelector: {}, ingress: [] }] })
  t.equal(await probe(outside, UPLINK_ADDRESS, LOGIN_PORT), KEPT_OUT)
  controller.setHostFirewall(false)
  await live.settled()
  t.equal(await probe(outside, UPLINK_ADDRESS, LOGIN_PORT), 'open')
  for (const server of servers) await server.stop()
})

/** Always the client's access, and beside it rules that change each time. */
function rulesOfTurn(turn: number): RuleSpec[] {
  const access = ruleFor('server', { name: 'access', ingress: [{ peers: apps('client') }] })
  const others = Array.from({ length: 100 }, (_, i): RuleSpec => {
    const number = turn * 100 + i
    const peers: PeerSpec =
      i % 2 === 0 ? { cidrs: [{ cidr: `172.${16 + (number & 15)}.${i}.0/24` }] } : apps('nobody')
    return ruleFor('server', {
      name: `other ${i}`,
      ingress: [{ peers, ...tcp(1000 + (number % 5000)) }],
    })
  })
  return turn % 2 === 0 ? [access, ...others] : [...others.reverse(), access]
}

t.test(
  'while policies are swapped no packet is judged by half of one',
  { timeout: 90_000 },
  async (t) => {
    policies.replaceRules(rulesOfTurn(0))
    const drops = () => live.dropped(POLICY_DENIED) + live.dropped(POLICY_DENY)
    const before = drops()
    const to = { ns: server, address: server.address, port: 5001 }
    let isDone = false
    const transfer = transferWithHash(lab, client, to, 60).finally(() => {
      isDone = true
    })
    let swaps = 0
    while (!isDone || swaps < 300) {
      policies.replaceRules(rulesOfTurn(++swaps))
      await setImmediate()
    }
    const report = await transfer
    t.equal(report.receivedHash, report.sentHash)
    t.equal(drops(), before, `no packet was refused in ${swaps} swaps`)
    const guesses: string[] = []
    for (let i = 0; i < 3; i++) {
      const attempt = probe(intruder, server.address, 5001)
      for (let n = 0; n < 50; n++) {
        policies.replaceRules(rulesOfTurn(++swaps))
        await setImmediate()
      }
      guesses.push(await attempt)
    }
    t.same(guesses, Array(3).fill(KEPT_OUT), 'and the intruder never found a gap')
    t.comment(`${swaps} swaps, ${((report.bytes * 8) / report.seconds / 1e6).toFixed(0)} Mbit/s`)
  },
)

t.end()
