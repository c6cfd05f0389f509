/** Two workers on real AF_XDP: a flow's directions meet different ones, and everything is as with one. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import {
  echoServer,
  httpGet,
  httpServer,
  ping,
  tcpEcho,
  tcpProbe,
  transferWithHash,
} from '../../src/lab/traffic.js'
import { Direction } from '../../src/packet/verdict.js'
import type { PolicyRule } from '../../src/policy/policy-rule.js'
import { PORT_STATISTICS_CELLS } from '../../src/port/port-statistics.js'
import { Protocol } from '../../src/wire/protocols.js'
import { LiveNode, type LivePod, OUTSIDE_ADDRESS, UPLINK_ADDRESS } from '../support/live-node.js'
import { TransferUnderWay } from '../support/transfer-under-way.js'

const VIP = '10.96.0.10'
const PORT = 8080
const OPEN = { enforceIngress: false, enforceEgress: false, rules: [] }

const live = await LiveNode.create('workers', { workers: 2, hasUplink: true })
const directory = mkdtempSync(join(tmpdir(), 'rp-web-'))
t.after(async () => {
  await live.close()
  rmSync(directory, { recursive: true, force: true })
})
const client = await live.pod('client')
const server = await live.pod('server')
// Made as by somebody who knows nothing of workers: one queue, and no room for more.
const narrow = await live.pod('narrow', undefined, 1)
live.controller.setMasquerade({ enabled: true })
await live.start()
writeFileSync(join(directory, 'name'), 'web')
for (const pod of [server, narrow]) {
  await httpServer(live.lab, { ns: pod, address: '0.0.0.0', port: PORT }, directory)
}

/** Of each worker: frames received, of all ports. */
function received(): number[] {
  return [0, 1].map((worker) => {
    const row = live.maps.portStatistics.row(worker)
    let frames = 0
    for (let at = 0; at < row.length; at += PORT_STATISTICS_CELLS) frames += row[at] as number
    return frames
  })
}

async function echoThrough(from: LivePod, to: LivePod, connections: number): Promise<number> {
  const at = { ns: to, address: to.address, port: 7001 }
  const echo = await echoServer(live.lab, at)
  const report = await tcpEcho(live.lab, from, at, { connections, bytesEach: 20_000 })
  await echo.stop()
  return report.intact
}

t.test('both workers receive, and 200 connections at once get all bytes back', async (t) => {
  t.equal(await echoThrough(client, server, 200), 200)
  await sleep(300)
  const [first = 0, second = 0] = received()
  t.ok(first > 500 && second > 500, `${first} and ${second} frames`)
})

t.test('100 MB arrive as they were sent', { timeout: 60_000 }, async (t) => {
  const to = { ns: server, address: server.address, port: 5005 }
  const report = await transferWithHash(live.lab, client, to, 100)
  t.equal(report.receivedHash, report.sentHash)
})

t.test('a pod with one queue is reached by both workers, and reaches all', async (t) => {
  t.equal(await echoThrough(client, narrow, 60), 60)
  t.equal(await echoThrough(narrow, server, 60), 60)
  const to = { ns: narrow, address: narrow.address, port: 5006 }
  const report = await transferWithHash(live.lab, client, to, 20)
  t.equal(report.receivedHash, report.sentHash)
})

t.test('a service keeps its backend for each connection, from either worker', async (t) => {
  live.controller.setService({
    name: 'web',
    frontends: [{ address: VIP, port: 80, protocol: 'TCP', type: 'ClusterIP' }],
    backends: [server, narrow].map(({ address }) => ({ address, port: PORT })),
  })
  const answers = await Promise.all(
    Array.from({ length: 40 }, () => httpGet(live.lab, client, `http://${VIP}/name`)),
  )
  t.same(
    answers.filter(({ body }) => body !== 'web'),
    [],
  )
})

t.test('a policy holds for the flows of both workers', async (t) => {
  const fromClient: PolicyRule = {
    direction: Direction.INGRESS,
    action: 'allow',
    identities: [client.identity],
    ports: [{ protocol: Protocol.TCP, firstPort: PORT, lastPort: PORT }],
  }
  live.controller.setPolicy(server.id, {
    enforceIngress: true,
    enforceEgress: false,
    rules: [fromClient],
  })
  await sleep(50)
  for (let i = 0; i < 6; i++) {
    t.equal(await tcpProbe(live.lab, client, server.address, PORT), 'open')
  }
  t.equal(await tcpProbe(live.lab, client, server.address, 9), 'silent')
  t.equal(await tcpProbe(live.lab, narrow, server.address, PORT), 'silent')
  live.controller.setPolicy(server.id, OPEN)
})

t.test('100 masqueraded connections of each pod go out by one address and back', async (t) => {
  const at = { ns: live.outside, address: OUTSIDE_ADDRESS, port: 7002 }
  const echo = await echoServer(live.lab, at)
  const load = { connections: 100, bytesEach: 5_000 }
  const reports = await Promise.all([client, narrow].map((pod) => tcpEcho(live.lab, pod, at, load)))
  t.same(
    reports.map(({ intact }) => intact),
    [100, 100],
  )
  t.not(live.maps.nat.snat.size, 0, UPLINK_ADDRESS)
  await echo.stop()
})

t.test('pods come and go while others speak', { timeout: 60_000 }, async (t) => {
  const pings = ping(live.lab, client, server.address, { count: 100 })
  for (const name of ['p', 'q', 'r']) {
    const pod = await live.pod(name)
    await live.attached()
    t.equal((await ping(live.lab, pod, server.address, { count: 3 })).received, 3)
    t.equal(await echoThrough(pod, client, 20), 20)
    await live.remove(pod)
  }
  t.equal((await pings).received, 100)
})

t.test('a transfer outlives a datapath that is killed', { timeout: 60_000 }, async (t) => {
  const to = { ns: server, address: server.address, port: 5007 }
  const transfer = await TransferUnderWay.of(live, client, to, 400)
  await live.datapath?.kill()
  t.notOk(transfer.isOver, 'in the midst of it')
  t.same(await live.devicesWithXdp(), [])
  await live.start()
  const report = await transfer.report
  t.equal(report.receivedHash, report.sentHash)
})

t.test('it stops in good order, with every frame of both accounted for', async (t) => {
  const { datapath } = live
  t.equal(await datapath?.stop(), 0)
  t.match(datapath?.output.at(-1), /every frame accounted for/)
  t.same(await live.devicesWithXdp(), [])
})

t.end()
