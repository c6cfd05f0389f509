/** Two of our own nodes over real AF_XDP, with a router between them: pods reach each other in VXLAN. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { Direction } from '../../src/packet/verdict.js'
import type { EndpointPolicy } from '../../src/policy/policy-rule.js'
import { LiveNode, type LivePod } from '../support/live-node.js'
import {
  httpGet,
  httpServer,
  ping,
  tcpProbe,
  transferWithHash,
  udpEcho,
  udpEchoServer,
  untilOpen,
} from '../support/traffic.js'

const MEGABYTES = 25
const VIP = '10.96.0.10'
const NODE_PORT = 30_080
const POLICY_DENIED = 133

const a = await LiveNode.create('overlay-nodes', { hasUplink: true })
const b = await LiveNode.create('overlay-nodes', { hasUplink: true, beside: a, number: 4 })
t.after(async () => {
  await b.close()
  await a.close()
})
const client = await a.pod('client')
const stranger = await a.pod('stranger')
const onlyClient: EndpointPolicy = {
  enforceIngress: true,
  enforceEgress: false,
  rules: [{ direction: Direction.INGRESS, action: 'allow', identities: [client.identity] }],
}
const server = await b.pod('server')
const guarded = await b.pod('guarded', onlyClient)
const pairs = [
  [a, b, '10.0.4.0/24'],
  [b, a, '10.0.1.0/24'],
] as const
for (const [node, peer, podCidr] of pairs) {
  node.controller.setTunnel({ mode: 'tunnel' })
  node.controller.addPeer({
    name: 'peer',
    address: peer.uplinkAddress,
    podCidrs: [podCidr],
    hostAddresses: [peer.address],
  })
}
await a.start()
await b.start()
// The first packets find out the MACs of the router.
await ping(a.lab, client, server.address, { count: 2 })

const at = (pod: LivePod, port: number) => ({ ns: pod, address: pod.address, port })

t.test('pods of two nodes reach each other, and their policies know them', async (t) => {
  t.equal((await ping(a.lab, client, server.address)).received, 3)
  t.equal((await ping(a.lab, server, client.address)).received, 3)
  t.equal((await ping(a.lab, client, guarded.address)).received, 3)
  const before = b.dropped(POLICY_DENIED)
  const few = { waitSeconds: 1, isExact: true }
  t.equal((await ping(a.lab, stranger, guarded.address, few)).received, 0)
  t.equal(b.dropped(POLICY_DENIED), before + 3)
})

t.test(`${MEGABYTES} MB go both ways unharmed`, { timeout: 120_000 }, async (t) => {
  const there = await transferWithHash(a.lab, client, at(server, 5001), MEGABYTES)
  t.equal(there.receivedHash, there.sentHash)
  const back = await transferWithHash(a.lab, server, at(client, 5002), MEGABYTES)
  t.equal(back.receivedHash, back.sentHash)
})

const service = (address: string, port: number, type: 'ClusterIP' | 'NodePort') =>
  a.controller.setService({
    name: 'web',
    frontends: [{ address, port, protocol: 'TCP', type }],
    backends: [{ address: server.address, port: 6001 }],
  })

t.test('a service of one node has its backend on the other', { timeout: 60_000 }, async (t) => {
  service(VIP, 80, 'ClusterIP')
  const through = { address: VIP, port: 80 }
  const up = await transferWithHash(a.lab, client, at(server, 6001), MEGABYTES, 60_000, through)
  t.equal(up.receivedHash, up.sentHash)

  service(a.uplinkAddress, NODE_PORT, 'NodePort')
  const directory = mkdtempSync(join(tmpdir(), 'rp-web-'))
  writeFileSync(join(directory, 'name'), 'node b')
  const listening = { ns: server, address: '0.0.0.0', port: 6001 }
  const web = await httpServer(a.lab, listening, directory)
  await untilOpen(a.lab, a.outside, a.uplinkAddress, NODE_PORT)
  const { body } = await httpGet(a.lab, a.outside, `http://${a.uplinkAddress}:${NODE_PORT}/name`)
  t.equal(body, 'node b')
  await web.stop()
  rmSync(directory, { recursive: true })
})

t.test('UDP, closed ports and an ended TTL are answered across nodes', async (t) => {
  const echo = await udpEchoServer(a.lab, at(server, 5300))
  t.equal(await udpEcho(a.lab, client, at(server, 5300), 'hello'), 'hello')
  await echo.stop()
  t.equal(await tcpProbe(a.lab, client, server.address, 81, 3), 'refused')
  const short = ['-n', '-c', '1', '-W', '2', '-t', '1', server.address]
  const { stdout } = await a.lab.exec(client, 'ping', short)
  t.match(stdout, `From ${b.uplinkAddress}`, 'the other node is the next hop')
  t.match(stdout, /Time to live exceeded/)
})

t.test('each node reaches the other’s pods as a remote node', async (t) => {
  const route = `10.0.4.0/24 dev ringpath_host src ${a.address} mtu 1450`
  await a.lab.ip(a.node, [`route add ${route}`])
  t.equal((await ping(a.lab, a.node, server.address)).received, 3)
  t.equal((await ping(a.lab, server, a.address)).received, 3)
})

t.test('a datapath that starts again finds the overlay as it was', async (t) => {
  await b.datapath?.kill()
  t.equal((await ping(a.lab, client, server.address, { waitSeconds: 1 })).received, 0)
  await b.start()
  t.equal((await ping(a.lab, client, server.address, { count: 10 })).received > 7, true)
})
t.end()
