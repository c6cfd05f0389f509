/** What documents say of uplinks, other nodes and the node itself, through the agent alone. */
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { echoServer, httpGet, httpServer, iperf, ping, tcpProbe } from '../../src/lab/traffic.js'
import { A_ADDRESS, AgentPair, B_ADDRESS, UNWANTED, uplinkOf } from '../support/agent-pair.js'
import { eth } from '../support/packet-builder.js'

const OPTIONS = { timeout: 60_000 }
const pair = await AgentPair.create('uplink')
t.after(() => pair.close())
const { lab, world, a, b, client, remote } = pair
await Promise.all([a.start(), b.start()])
await httpServer(lab, { ns: client, address: client.address, port: 8080 }, 'docs')

const dropped = async (reason: string): Promise<number> => {
  const { counters } = await a.json<{ counters: { reason: string; packets: number }[] }>('status')
  const rows = counters.filter((row) => row.reason === reason)
  return rows.reduce((sum, { packets }) => sum + packets, 0)
}
const get = async (url: string): Promise<number> => {
  try {
    return (await httpGet(lab, world, url)).status
  } catch {
    return 0
  }
}
const service = (spec: string) =>
  a.manifest('web.yaml', `apiVersion: v1\nkind: Service\nmetadata: { name: web }\nspec: ${spec}\n`)

t.test('masquerade: the world sees the uplink’s address', OPTIONS, async (t) => {
  await a.until('a way out', async () => (await pair.sourceSeenBy(7001, client)) !== '', 20_000)
  t.equal(await pair.sourceSeenBy(7002, client), A_ADDRESS)
})

t.test('NodePort: the world reaches a pod by the uplink', OPTIONS, async (t) => {
  service(`{ type: NodePort, clusterIP: 10.96.0.10, selector: { app: client },
    ports: [{ port: 80, targetPort: 8080, nodePort: 30080 }] }`)
  const url = `http://${A_ADDRESS}:30080/`
  await a.until('the NodePort', async () => (await get(url)) === 200, 10_000)
  t.equal(await get(url), 200)
})

t.test('tunnel and Peer: pods and nodes of two nodes reach each other', OPTIONS, async (t) => {
  await a.until('b', async () => (await ping(lab, client, remote.address)).received === 3, 10_000)
  t.equal((await ping(lab, client, remote.address)).received, 3)
  await b.until('a', async () => (await ping(lab, remote, client.address)).received === 3, 10_000)
  t.equal((await ping(lab, a.node, remote.address)).received, 3, 'the node’s own processes')
  const { stdout } = await lab.exec(a.node, 'ip', ['route', 'show', '10.0.2.0/24'])
  t.match(stdout, /dev ringpath_host proto 114 scope link src 10.0.0.1 mtu 1450/)
})

t.test('labels of a peer’s pods and of namespaces decide about policy', OPTIONS, async (t) => {
  const policy = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: in }
spec:
  podSelector: { matchLabels: { app: remote } }
  ingress: [{ from: [{ namespaceSelector: { matchLabels: { team: a } },
    podSelector: { matchLabels: { app: client } } }] }]
`
  b.manifest('policy.yaml', policy)
  const answers = async (count: number) =>
    (await ping(lab, client, remote.address, { waitSeconds: 1 })).received === count
  await b.until('the policy', () => answers(0), 10_000)
  const namespace = 'apiVersion: v1\nkind: Namespace\nmetadata: { name: default, labels:'
  b.manifest('namespace.yaml', `${namespace} { team: a } }\n`)
  await b.until('the namespace', () => answers(3), 10_000)
  b.removeManifest('policy.yaml')
  b.removeManifest('namespace.yaml')
  t.pass()
})

t.test('egress gateway: a pod leaves by the other node, from its address', OPTIONS, async (t) => {
  const policy = `apiVersion: cilium.io/v2
kind: CiliumEgressGatewayPolicy
metadata: { name: out }
spec:
  selectors: [{ podSelector: { matchLabels: { app: client } } }]
  destinationCIDRs: [198.51.100.0/24]
  egressGateway: { nodeSelector: { matchLabels: { egress: "yes" } }, egressIP: ${B_ADDRESS} }
`
  b.manifest('egress.yaml', policy)
  a.manifest('egress.yaml', policy)
  let port = 7100
  const seen = async (address: string) => (await pair.sourceSeenBy(port++, client)) === address
  await a.until('the gateway', () => seen(B_ADDRESS), 20_000)
  a.removeManifest('egress.yaml')
  b.removeManifest('egress.yaml')
  await a.until('the own uplink', () => seen(A_ADDRESS), 20_000)
  t.pass()
})

t.test('bandwidth: an endpoint’s limit holds for what it sends', OPTIONS, async (t) => {
  const limit = 8_000_000
  a.endpoint(client, `, identity: 400, bandwidth: { egressBitsPerSecond: ${limit} }`)
  const measured = async () => {
    const to = { ns: a.node, address: '10.0.0.1', port: 5201 }
    return (await iperf(lab, client, to, { seconds: 1 })).bitsPerSecond
  }
  await a.until('the limit', async () => (await measured()) < 2 * limit, 20_000)
  t.ok((await measured()) < 2 * limit)
  a.endpoint(client, ', identity: 400')
  await a.until('no limit', async () => (await measured()) > 2 * limit, 20_000)
})

t.test('announceServices: a load balancer’s address is found by ARP', OPTIONS, async (t) => {
  service(`{ type: LoadBalancer, loadBalancerIP: 192.0.2.60, selector: { app: client },
    ports: [{ port: 80, targetPort: 8080 }] }`)
  t.equal(await get('http://192.0.2.60/'), 0, 'nobody answers for it')
  await a.restart(`${uplinkOf(A_ADDRESS)}announceServices: true\ndeniedSources: [${UNWANTED}/32]`)
  await a.until('the address', async () => (await get('http://192.0.2.60/')) === 200, 10_000)
  const args = ['-s', '--max-time', '2', '--interface', UNWANTED, 'http://192.0.2.60/']
  t.not((await lab.exec(world, 'curl', args)).code, 0, 'deniedSources')
})

t.test('announcements and allowedVlans of the Node document', OPTIONS, async (t) => {
  const spec = `announcements: [{ address: 192.0.2.70 }]\nallowedVlans: [7]\n`
  await a.restart(`${uplinkOf(A_ADDRESS)}${spec}`)
  const probe = async () => {
    await lab.exec(world, 'ping', ['-c', '1', '-W', '1', '192.0.2.70'])
    return (await lab.exec(world, 'ip', ['neigh', 'show', '192.0.2.70'])).stdout
  }
  await a.until('an ARP answer', async () => /lladdr/.test(await probe()), 10_000)
  const program = fileURLToPath(new URL('../support/programs/inject-frames.js', import.meta.url))
  const frame = eth().vlan(8).ipv4({ to: A_ADDRESS }).udp({ to: 9 }).bytes()
  const input = `${Buffer.from(frame).toString('hex')}\n`.repeat(5)
  await a.until('a drop', async () => {
    await lab.exec(world, process.execPath, [program, 'to-a'], { input })
    return (await dropped('VLAN_FILTERED')) > 0
  })
  t.pass()
})

t.test('hostFirewall and guardUplinks: the node’s own policy', OPTIONS, async (t) => {
  for (const port of [7000, 7001]) await echoServer(lab, { ns: a.node, address: '0.0.0.0', port })
  const open = (from: typeof world, address: string, port: number) =>
    tcpProbe(lab, from, address, port)
  t.equal(await open(client, '10.0.0.1', 7001), 'open')
  a.manifest(
    'host.yaml',
    `apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: { name: node }
spec:
  nodeSelector: {}
  ingress: [{ fromEntities: [all], toPorts: [{ ports: [{ port: "7000", protocol: TCP }] }] }]
`,
  )
  await a.restart(`${uplinkOf(A_ADDRESS)}hostFirewall: true`)
  await a.until('the policy', async () => (await open(client, '10.0.0.1', 7001)) === 'silent')
  t.equal(await open(client, '10.0.0.1', 7000), 'open')
  t.equal(await open(world, A_ADDRESS, 7001), 'open', 'uplinks are not guarded')
  await a.restart(`${uplinkOf(A_ADDRESS)}hostFirewall: true\nguardUplinks: true`)
  await a.until('the guard', async () => (await open(world, A_ADDRESS, 7001)) === 'silent')
  t.equal(await open(world, A_ADDRESS, 7000), 'open')
})

t.end()
