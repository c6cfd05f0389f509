/**
 * Pods of one node over real AF_XDP, with real programs: the promises of the README, one by one.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import t from 'tap'
import {
  echoServer,
  httpGet,
  httpServer,
  ping,
  tcpEcho,
  tcpProbe,
  transferWithHash,
  udpEcho,
  udpEchoServer,
} from '../../src/lab/traffic.js'
import { Direction } from '../../src/packet/verdict.js'
import type { EndpointPolicy } from '../../src/policy/policy-rule.js'
import { LiveNode, NODE_ADDRESS } from '../support/live-node.js'
import { askBySocat, socatServer } from '../support/socat.js'

const TCP = 6
const POLICY_DENIED = 133
const POLICY_DENY = 181
const BANDWIDTH_EXCEEDED = 162

const onlyFrom = (identity: number, port: number): EndpointPolicy => ({
  enforceIngress: true,
  enforceEgress: false,
  rules: [
    {
      direction: Direction.INGRESS,
      action: 'allow',
      identities: [identity],
      ports: [{ protocol: TCP, firstPort: port }],
    },
  ],
})

const live = await LiveNode.create('pods')
t.after(() => live.close())
const client = await live.pod('client')
const server = await live.pod('server')
const intruder = await live.pod('intruder')
await live.start()

t.test('pods ping each other, up to the full MTU', async (t) => {
  t.equal((await ping(live.lab, client, server.address, { count: 5 })).received, 5)
  const full = await ping(live.lab, client, server.address, { count: 3, sizeBytes: 1472 })
  t.equal(full.received, 3)
})

t.test(
  '100 MB over one TCP connection arrive with the same hash',
  { timeout: 90_000 },
  async (t) => {
    const to = { ns: server, address: server.address, port: 5001 }
    const report = await transferWithHash(live.lab, client, to, 100)
    t.equal(report.receivedHash, report.sentHash)
    t.comment(`${((report.bytes * 8) / report.seconds / 1e9).toFixed(2)} Gbit/s`)
  },
)

t.test('the receiver’s kernel finds no wrong checksum', async (t) => {
  const counters = await live.lab.exec(server, 'cat', ['/proc/net/snmp'])
  const tcp = counters.stdout.split('\n').filter((line) => line.startsWith('Tcp:'))
  const names = tcp[0]?.split(' ') ?? []
  const values = tcp[1]?.split(' ') ?? []
  t.equal(values[names.indexOf('InCsumErrors')], '0')
  t.not(values[names.indexOf('InSegs')], '0')
})

t.test('UDP datagrams come back from an echo server', async (t) => {
  const to = { ns: server, address: server.address, port: 5300 }
  const echo = await udpEchoServer(live.lab, to)
  t.equal(await udpEcho(live.lab, client, to, 'hello'), 'hello')
  await echo.stop()
})

t.test('200 connections at once get every byte back', { timeout: 60_000 }, async (t) => {
  const to = { ns: server, address: server.address, port: 5002 }
  const echo = await echoServer(live.lab, to)
  const load = { connections: 200, bytesEach: 50_000 }
  t.same(await tcpEcho(live.lab, client, to, load), { opened: 200, intact: 200 })
  await echo.stop()
})

t.test('a closed port answers with a reset', async (t) => {
  t.equal(await tcpProbe(live.lab, client, server.address, 9), 'refused')
})

t.test('a half-closed connection still carries the answer', async (t) => {
  const listen = `TCP-LISTEN:5006,bind=${server.address},reuseaddr`
  const listener = await socatServer(live.lab, server, listen, 'SYSTEM:sha256sum')
  const input = 'x'.repeat(3_000_000)
  const answer = await askBySocat(live.lab, client, `TCP:${server.address}:5006`, input)
  t.equal(answer.split(' ')[0], createHash('sha256').update(input).digest('hex'))
  await listener.stop()
})

t.test('after a reset the same ports may connect again at once', async (t) => {
  const listen = `TCP-LISTEN:5007,bind=${server.address},reuseaddr,fork,linger=0`
  const listener = await socatServer(live.lab, server, listen, 'SYSTEM:echo hello')
  for (let round = 0; round < 5; round++) {
    const target = `TCP:${server.address}:5007,sourceport=45007,reuseaddr`
    t.equal(await askBySocat(live.lab, client, target), 'hello\n')
  }
  await listener.stop()
})

t.test('policy lets the client in and drops the intruder with 133', async (t) => {
  const to = { ns: server, address: server.address, port: 8080 }
  const web = await httpServer(live.lab, to, '.')
  live.controller.setPolicy(server.id, onlyFrom(client.identity, 8080))
  const url = `http://${server.address}:8080/package.json`
  const got = await httpGet(live.lab, client, url)
  t.equal(got.status, 200)
  t.equal(got.body, readFileSync('package.json', 'utf8'))

  const before = live.dropped(POLICY_DENIED)
  t.equal(await tcpProbe(live.lab, intruder, server.address, 8080), 'silent')
  t.ok(live.dropped(POLICY_DENIED) > before, 'the drop is counted by its code')

  const deny = { ...onlyFrom(intruder.identity, 8080), rules: [denyAll(intruder.identity)] }
  live.controller.setPolicy(server.id, deny)
  const deniedBefore = live.dropped(POLICY_DENY)
  t.equal(await tcpProbe(live.lab, intruder, server.address, 8080), 'silent')
  t.ok(live.dropped(POLICY_DENY) > deniedBefore)

  const open = { enforceIngress: false, enforceEgress: false, rules: [] }
  live.controller.setPolicy(server.id, open)
  t.equal(await tcpProbe(live.lab, intruder, server.address, 8080), 'open')
  await web.stop()
})

t.test('the node reaches a pod, and a pod the node', async (t) => {
  t.equal((await ping(live.lab, live.node, server.address)).received, 3)
  t.equal((await ping(live.lab, server, NODE_ADDRESS)).received, 3)
  const inPod = { ns: server, address: server.address, port: 5003 }
  const down = await transferWithHash(live.lab, live.node, inPod, 10)
  t.equal(down.receivedHash, down.sentHash)
  const onNode = { ns: live.node, address: NODE_ADDRESS, port: 5004 }
  const up = await transferWithHash(live.lab, server, onNode, 10)
  t.equal(up.receivedHash, up.sentHash)
})

const denyAll = (identity: number) => ({
  direction: Direction.INGRESS,
  action: 'deny' as const,
  identities: [identity],
})

t.test('a pod with a bandwidth sends at that rate, over TCP', { timeout: 60_000 }, async (t) => {
  const rate = 20_000_000
  live.controller.setBandwidth(client.id, { egressBitsPerSecond: rate })
  const to = { ns: server, address: server.address, port: 5009 }
  const report = await transferWithHash(live.lab, client, to, 6)
  t.equal(report.receivedHash, report.sentHash)
  const measured = (report.bytes * 8) / report.seconds
  t.comment(`${(measured / 1e6).toFixed(1)} Mbit/s of ${rate / 1e6}`)
  // What the bucket holds at first makes it a little more.
  t.ok(measured > rate * 0.3 && measured < rate * 1.15)
  t.not(live.dropped(BANDWIDTH_EXCEEDED), 0)
  live.controller.setBandwidth(client.id, {})
})

t.end()
