/**
 * Fragments and the node's own answers over real AF_XDP, with real programs: datagrams of 8 kB,
 * traceroute and tracepath, path MTU discovery, and policies that say no at once.
 */
import t from 'tap'
import type { Namespace } from '../../src/lab/lab.js'
import { tcpProbe, transferWithHash } from '../../src/lab/traffic.js'
import { datagramEcho, datagramEchoes, kernelCounter } from '../support/datagrams.js'
import { GATEWAY_ADDRESS, LiveNode, OUTSIDE_ADDRESS, UPLINK_ADDRESS } from '../support/live-node.js'

const VIP = '10.96.0.10'
const PORT = 5300
const FAR_ADDRESS = '203.0.113.2'
const POLICY_DENIED = 133
const TOO_LARGE = 136
const FRAGMENT_NOT_FOUND = 175
const TTL_EXCEEDED = 196
const OPEN = { enforceIngress: false, enforceEgress: false, rules: [] }
const CLOSED = { enforceIngress: true, enforceEgress: false, rules: [] }
const NO_EGRESS = { enforceIngress: false, enforceEgress: true, rules: [] }

const live = await LiveNode.create('fragments', { hasUplink: true })
t.after(() => live.close())
const client = await live.pod('client')
const server = await live.pod('server')
const other = await live.pod('other')
await live.start()

const echoAnySize = (ns: Namespace, address: string) => datagramEcho(live.lab, ns, address, PORT)
const echoes = (from: Namespace, address: string, port: number, bytes: number, count: number) =>
  datagramEchoes(live.lab, from, { address, port }, bytes, count)
const counter = (ns: Namespace, protocol: string, field: string) =>
  kernelCounter(live.lab, ns, protocol, field)

t.test('datagrams of 8 kB go from pod to pod and back', { timeout: 60_000 }, async (t) => {
  const echo = await echoAnySize(server, '0.0.0.0')
  t.equal(await echoes(client, server.address, PORT, 8192, 50), '50')
  t.ok((await counter(client, 'Ip', 'FragCreates')) >= 300, 'they were fragments')
  t.equal(await counter(server, 'Ip', 'ReasmFails'), 0)
  t.equal(await echoes(client, server.address, PORT, 60_000, 5), '5', '41 fragments each')
  t.equal(live.dropped(FRAGMENT_NOT_FOUND), 0)
  await echo.stop()
})

t.test('and to a ClusterIP: all fragments to one backend', { timeout: 60_000 }, async (t) => {
  const backends = [server, other]
  const servers = []
  for (const pod of backends) servers.push(await echoAnySize(pod, '0.0.0.0'))
  live.controller.setService({
    name: 'big',
    frontends: [{ address: VIP, port: 53, protocol: 'UDP', type: 'ClusterIP' }],
    backends: backends.map(({ address }) => ({ address, port: PORT })),
  })
  // Backends are chosen at random: flows go on until each had one, 40 without being one in 2^39.
  const reassembled = () => Promise.all(backends.map((pod) => counter(pod, 'Ip', 'ReasmOKs')))
  const before = await reassembled()
  let hadSome = 0
  for (let flow = 0; flow < 40 && (flow < 6 || hadSome < backends.length); flow++) {
    t.equal(await echoes(client, VIP, 53, 8192, 5), '5')
    hadSome = (await reassembled()).filter((count, i) => count > (before[i] ?? 0)).length
  }
  t.equal(hadSome, backends.length, 'each backend had some')
  for (const pod of [client, ...backends]) {
    t.equal(await counter(pod, 'Ip', 'ReasmFails'), 0)
    t.equal(await counter(pod, 'Udp', 'InCsumErrors'), 0)
  }
  for (const echo of servers) await echo.stop()
})

t.test('traceroute and tracepath show the node on the way to another pod', async (t) => {
  const before = live.dropped(TTL_EXCEEDED)
  for (const method of [[], ['-I'], ['-T', '-p', '80']]) {
    const args = ['-n', '-q', '1', '-w', '2', '-m', '3', ...method, server.address]
    const { stdout } = await live.lab.exec(client, 'traceroute', args)
    const hops = stdout
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(/\s+/)[1])
    t.same(hops.slice(0, 2), [UPLINK_ADDRESS, server.address], stdout)
  }
  const { stdout } = await live.lab.exec(client, 'tracepath', ['-n', '-m', '3', server.address])
  t.match(stdout, new RegExp(`1:\\s+${UPLINK_ADDRESS.replaceAll('.', '\\.')}\\s`), stdout)
  t.match(stdout, /reached/)
  t.ok(live.dropped(TTL_EXCEEDED) >= before + 4)
})

t.test('a denied connection fails at once when the node is told to say so', async (t) => {
  const listen = live.lab.spawn(server, 'nc', ['-lk', '-p', '7000'])
  live.controller.setPolicy(server.id, CLOSED)
  const timed = async () => {
    const start = performance.now()
    const answer = await tcpProbe(live.lab, client, server.address, 7000, 3)
    return { answer, isQuick: performance.now() - start < 1500 }
  }
  t.same(await timed(), { answer: 'silent', isQuick: false })
  live.controller.setNodeOptions({ policyDenyResponse: 'reset' })
  t.same(await timed(), { answer: 'refused', isQuick: true })
  live.controller.setNodeOptions({ policyDenyResponse: 'icmp' })
  const denied = await live.lab.exec(client, 'nc', ['-nvz', '-w', '3', server.address, '7000'])
  t.match(denied.stderr, /No route to host/, 'prohibited, which Linux tells like this')
  live.controller.setPolicy(server.id, OPEN)
  live.controller.setPolicy(client.id, NO_EGRESS)
  live.controller.setNodeOptions({ policyDenyResponse: 'reset' })
  t.same(await timed(), { answer: 'refused', isQuick: true }, 'by its own policy as well')
  t.equal(await echoes(client, server.address, 9, 100, 1), 'OSError\n0', 'UDP: prohibited')
  live.controller.setPolicy(client.id, OPEN)
  live.controller.setNodeOptions({ policyDenyResponse: 'none' })
  t.equal(await tcpProbe(live.lab, client, server.address, 7000, 3), 'open')
  t.ok(live.dropped(POLICY_DENIED) > 0)
  await listen.stop()
})

t.test('8 kB go through the NAT and back', { timeout: 60_000 }, async (t) => {
  const echo = await echoAnySize(live.outside, OUTSIDE_ADDRESS)
  live.controller.setMasquerade({ enabled: true })
  t.equal(await echoes(client, OUTSIDE_ADDRESS, PORT, 8192, 20), '20')
  t.equal(await counter(live.outside, 'Ip', 'ReasmFails'), 0)
  t.equal(await counter(live.outside, 'Udp', 'InCsumErrors'), 0)
  t.equal(live.dropped(FRAGMENT_NOT_FOUND), 0)
  await echo.stop()
})

t.test('8 kB come from outside to a NodePort and back', { timeout: 60_000 }, async (t) => {
  const servers = []
  for (const pod of [server, other]) servers.push(await echoAnySize(pod, '0.0.0.0'))
  live.controller.setService({
    name: 'big-nodeport',
    frontends: [{ address: UPLINK_ADDRESS, port: 30053, protocol: 'UDP', type: 'NodePort' }],
    backends: [server, other].map(({ address }) => ({ address, port: PORT })),
  })
  await live.settled()
  for (let flow = 0; flow < 4; flow++) {
    t.equal(await echoes(live.outside, UPLINK_ADDRESS, 30053, 8192, 5), '5')
  }
  t.equal(live.dropped(FRAGMENT_NOT_FOUND), 0)
  for (const echo of servers) await echo.stop()
})

t.test(
  'the node’s own datagrams in fragments go on undisturbed',
  { timeout: 60_000 },
  async (t) => {
    const echo = await echoAnySize(live.node, UPLINK_ADDRESS)
    t.equal(await echoes(live.outside, UPLINK_ADDRESS, PORT, 8192, 10), '10')
    await echo.stop()
    const far = await echoAnySize(live.outside, OUTSIDE_ADDRESS)
    t.equal(await echoes(live.node, OUTSIDE_ADDRESS, PORT, 8192, 10), '10')
    await far.stop()
  },
)

t.test('a small MTU behind a router is discovered by TCP', { timeout: 90_000 }, async (t) => {
  const far = await live.lab.namespace('far')
  await live.lab.link({
    a: { ns: live.outside, device: 'eth1', address: '203.0.113.1/24' },
    b: { ns: far, device: 'eth0', address: `${FAR_ADDRESS}/24` },
    mtu: 1200,
  })
  await live.lab.ip(far, ['route add default via 203.0.113.1'])
  const to = { ns: far, address: FAR_ADDRESS, port: 7100 }
  const report = await transferWithHash(live.lab, client, to, 5)
  t.equal(report.receivedHash, report.sentHash)
  const { stdout } = await live.lab.exec(client, 'tracepath', ['-n', '-m', '4', FAR_ADDRESS])
  t.match(stdout, /pmtu 1200/, stdout)
})

t.test(
  'a small MTU of the node’s own route is told by the node',
  { timeout: 90_000 },
  async (t) => {
    const address = '198.51.100.9'
    await live.lab.ip(live.outside, [`address add ${address}/32 dev lo`])
    await live.lab.ip(live.node, [`route add ${address}/32 via ${GATEWAY_ADDRESS} mtu lock 1100`])
    const before = live.dropped(TOO_LARGE)
    const to = { ns: live.outside, address, port: 7200 }
    const report = await transferWithHash(live.lab, client, to, 5)
    t.equal(report.receivedHash, report.sentHash)
    t.ok(live.dropped(TOO_LARGE) > before, 'the first full segments were too large')
    const { stdout } = await live.lab.exec(client, 'ip', ['route', 'get', address])
    t.match(stdout, /mtu 1100/, 'the pod’s kernel knows')
    const echo = await echoAnySize(live.outside, address)
    t.equal(await echoes(client, address, PORT, 8192, 5), '5', 'and cuts datagrams to fit')
    await echo.stop()
  },
)

t.end()
