/** Other Node documents for a running node: devices and settings change, other traffic goes on. */
import { readFileSync } from 'node:fs'
import t from 'tap'
import {
  httpGet,
  httpServer,
  ping,
  tcpProbe,
  udpEcho,
  udpEchoServer,
} from '../../src/lab/traffic.js'
import { LiveAgent } from '../support/live-agent.js'

const OPTIONS = { timeout: 90_000 }
const live = await LiveAgent.create('changes')
t.after(() => live.close())
const { lab, node } = live
const client = await live.pod('client', '10.0.1.1')
const server = await live.pod('server', '10.0.1.2')
const world = await lab.namespace('world')
for (const [device, net] of [
  ['eth0', '192.0.2'],
  ['eth1', '203.0.113'],
] as const) {
  await lab.link({
    a: { ns: node, device, address: `${net}.2/24` },
    b: { ns: world, device: `to-${device}`, address: `${net}.1/24` },
  })
}
live.manifest(
  'web.yaml',
  `apiVersion: v1
kind: Service
metadata: { name: web }
spec:
  type: NodePort
  clusterIP: 10.96.0.10
  selector: { app: server }
  ports: [{ port: 80, targetPort: 8080, nodePort: 30080 }]
---
apiVersion: v1
kind: Service
metadata: { name: empty }
spec: { clusterIP: 10.96.0.20, selector: { app: nobody }, ports: [{ port: 80 }] }
`,
)
await live.start()
await httpServer(lab, { ns: server, address: server.address, port: 8080 }, 'docs')

type Test = typeof t

/** The document's other lines, with pings between the pods while it takes effect. */
async function change(t: Test, spec: string): Promise<void> {
  const before = await live.status()
  const pings = ping(lab, client, server.address, { count: 60 })
  await live.restart(spec)
  const { sent, received } = await pings
  t.equal(received, sent, 'pods lose nothing')
  t.equal((await live.status()).datapath.pid, before.datapath.pid, 'by the same datapath')
  if (received !== sent) t.comment(readFileSync(live.path('state/datapath.log'), 'utf8'))
  t.same((await live.json<{ failures: unknown[] }>('status')).failures, [])
}

const nodePort = async (address: string): Promise<number> => {
  try {
    return (await httpGet(lab, world, `http://${address}:30080/`)).status
  } catch {
    return 0
  }
}
const links = async () => (await lab.exec(node, 'ip', ['-d', 'link'])).stdout

interface EndpointRow {
  readonly id: number
  readonly name: string
  readonly status: string
  readonly dropped: number
}

t.test('an endpoint with another number is attached, and its MTU followed', OPTIONS, async (t) => {
  const edited = await live.pod('edited', '10.0.1.3')
  const row = async (): Promise<EndpointRow | undefined> => {
    const rows = await live.json<EndpointRow[]>('endpoint')
    return rows.find(({ name }) => name === 'default/edited')
  }
  const isAttached = async () => (await row())?.status === 'attached'
  await live.until('its port', isAttached)
  live.endpoint(edited, ', id: 77, masquerade: false')
  await live.until('the other number', async () => (await row())?.id === 77)
  await live.until('its report', isAttached)
  t.equal((await ping(lab, client, edited.address)).received, 3)
  await lab.ip(node, [`link set ${edited.device} mtu 1300`])
  const isToldTheMtu = async (): Promise<boolean> => {
    const args = ['-M', 'do', '-s', '1400', '-c', '1', '-W', '1', edited.address]
    return (await lab.exec(client, 'ping', args)).stdout.includes('mtu = 1300')
  }
  await live.until('its MTU', isToldTheMtu)
})

t.test('frames for an endpoint whose device is gone are told as lost', OPTIONS, async (t) => {
  const row = async () => {
    const rows = await live.json<EndpointRow[]>('endpoint')
    return rows.find(({ name }) => name === 'default/edited')
  }
  await lab.ip(node, ['link del lxc-edited'])
  await live.until('its failure', async () => (await row())?.status === 'failed')
  const before = (await row())?.dropped ?? 0
  t.equal((await ping(lab, client, '10.0.1.3')).received, 0)
  await live.until('its losses', async () => ((await row())?.dropped ?? 0) >= before + 3)
  const status = await live.cli('status')
  t.match(status.stdout, /pending: attach Endpoint default\/edited: lxc-edited: ENODEV/)
  const metrics = await live.cli('metrics')
  t.match(metrics.stdout, /ringpath_port_dropped_packets_total\{[^}]*default\/edited[^}]*\} [1-9]/)
  const trace = await live.cli('trace', '--in', 'client', '--to', '10.0.1.3:80')
  t.match(trace.stdout, /lxc-edited, not attached: ENODEV/)
  live.removeManifest('endpoint-edited.yaml')
  await live.until('its end', async () => (await row()) === undefined)
})

t.test('an uplink is added', OPTIONS, async (t) => {
  await change(t as Test, 'uplinks: [{ device: eth0, address: 192.0.2.2 }]')
  await live.until('the NodePort', async () => (await nodePort('192.0.2.2')) === 200)
  t.equal(await nodePort('203.0.113.2'), 0)
})

t.test('an uplink is replaced by another one', OPTIONS, async (t) => {
  await change(t as Test, 'uplinks: [{ device: eth1, address: 203.0.113.2 }]')
  await live.until('the NodePort', async () => (await nodePort('203.0.113.2')) === 200)
  t.equal(await nodePort('192.0.2.2'), 0)
  t.notMatch(await links(), /eth0@[^\n]* xdp/, 'the kernel has it to itself')
})

t.test('an uplink gets another address', OPTIONS, async (t) => {
  await lab.ip(node, ['address add 203.0.113.9/24 dev eth1'])
  await change(t as Test, 'uplinks: [{ device: eth1, address: 203.0.113.9 }]')
  await live.until('the NodePort', async () => (await nodePort('203.0.113.9')) === 200)
  t.equal(await nodePort('203.0.113.2'), 0)
})

t.test('an uplink gets another MAC address while it is in use', OPTIONS, async (t) => {
  await lab.ip(node, ['link set eth1 address 02:00:00:00:0d:01'])
  await lab.ip(world, ['neigh flush dev to-eth1'])
  const update = /"kind":"Uplink".*"fields":\["mac"\],"msg":"update"/
  await live.until('the MAC', async () => update.test(live.process?.output ?? ''), 15_000)
  t.equal(await nodePort('203.0.113.9'), 200)
})

t.test('the host pair is replaced by another one, with another address', OPTIONS, async (t) => {
  t.equal((await ping(lab, client, '10.0.0.1')).received, 3)
  await change(t as Test, 'host: { device: rpnet2, peerDevice: rphost2, addresses: [10.0.0.9] }')
  const isThere = async () => (await ping(lab, client, '10.0.0.9')).received === 3
  await live.until('the other address', isThere)
  t.equal((await ping(lab, node, client.address)).received, 3, 'routes lead by the new pair')
  t.notMatch(await links(), /ringpath_host/, 'the old pair, which the agent made, is gone')
  t.equal(await nodePort('203.0.113.9'), 0, 'an uplink that is not in the document any more')
})

t.test('the host pair is made anew under the agent', OPTIONS, async (t) => {
  await live.process?.stop('SIGTERM')
  await lab.ip(node, ['link del rphost2'])
  live.writeNode('host: { device: rpnet2, peerDevice: rphost2, addresses: [10.0.0.9] }')
  await live.start()
  const isThere = async () => (await ping(lab, client, '10.0.0.9')).received === 3
  await live.until('the node', isThere)
  t.pass()
})

t.test('settings of the document take effect: answers to what is refused', OPTIONS, async (t) => {
  t.equal(await tcpProbe(lab, client, '10.96.0.20', 80), 'refused', 'noBackendResponse: reject')
  live.manifest(
    'policy.yaml',
    `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: closed }
spec: { podSelector: { matchLabels: { app: server } } }
`,
  )
  const probe = (port: number) => tcpProbe(lab, client, server.address, port)
  await live.until('the policy', async () => (await probe(8080)) === 'silent')
  await live.restart(`services: { noBackendResponse: drop }
behaviour: { policyDenyResponse: reset }
allowLocalhost: true
`)
  t.equal(await tcpProbe(lab, client, '10.96.0.20', 80), 'silent')
  t.equal(await probe(8080), 'refused')
  t.equal(await tcpProbe(lab, node, server.address, 8080), 'open', 'allowLocalhost')
  await live.restart('policyAudit: true')
  t.equal(await probe(8080), 'open', 'policyAudit')
  live.removeManifest('policy.yaml')
})

t.test('fragments, ClusterIPs from outside, algorithms, sizes that stay', OPTIONS, async (t) => {
  const echo = { ns: server, address: server.address, port: 7000 }
  await udpEchoServer(lab, echo)
  const large = 'x'.repeat(3000)
  t.equal((await udpEcho(lab, client, echo, large)).length, 3000)
  await live.restart(`behaviour: { fragmentTracking: false }
services: { externalClusterIp: true, algorithm: maglev, loopback: 169.254.42.9 }
uplinks: [{ device: eth1, address: 203.0.113.2 }]
maps: { connections: 32768 }
`)
  t.equal(await udpEcho(lab, client, echo, large, 1), '', 'fragmentTracking')
  await lab.ip(world, ['route add 10.96.0.10/32 via 203.0.113.2'])
  const url = 'http://10.96.0.10/'
  await live.until('the ClusterIP', async () => {
    return (await httpGet(lab, world, url).catch(() => ({ status: 0 }))).status === 200
  })
  const rows = await live.json<{ service: string; algorithm: string }[]>('service')
  const web = rows.filter(({ service }) => service === 'default/web:80')
  t.same([...new Set(web.map(({ algorithm }) => algorithm))], ['maglev'])
  t.equal((await httpGet(lab, server, url)).status, 200, 'a pod that reaches itself')
  const { problems } = await live.status()
  t.match(problems, [/spec.maps.connections: 32768, expected 16384/])
})

t.test('sizes that stay are changed by the command that the message names', OPTIONS, async (t) => {
  const [said = ''] = (await live.status()).problems
  const [, command = ''] = /"ringpath ([^"]*)"/.exec(said) ?? []
  t.equal((await live.cli(...command.split(' '))).code, 0, command)
  await live.start()
  t.same((await live.status()).problems, [])
  const maps = await live.json<{ name: string; capacity: number }[]>('map')
  t.match(
    maps.find(({ name }) => name === 'ct4'),
    { capacity: 32_768 },
  )
  t.equal((await ping(lab, client, server.address)).received, 3)
})

t.end()
