/** Fields of documents that say how traffic leaves and where it is redirected, by the agent alone. */
import { readFileSync } from 'node:fs'
import t from 'tap'
import { httpGet, httpServer, ping } from '../../src/lab/traffic.js'
import { A_ADDRESS, AgentPair, B_ADDRESS, OUTSIDE } from '../support/agent-pair.js'

const OPTIONS = { timeout: 90_000 }
const pair = await AgentPair.create('fields')
t.after(() => pair.close())
const { lab, world, a, b, client, remote } = pair
const server = await a.pod('server', '10.0.1.2')
await lab.ip(world, [
  `route add 10.0.1.0/24 via ${A_ADDRESS}`,
  `route add 10.0.2.0/24 via ${B_ADDRESS}`,
])
await Promise.all([a.start(), b.start()])
await httpServer(lab, { ns: server, address: server.address, port: 8080 }, 'docs')

const status = async (from: typeof world, url: string): Promise<number> => {
  try {
    return (await httpGet(lab, from, url)).status
  } catch {
    return 0
  }
}
const uplink = `uplinks: [{ device: eth0, address: ${A_ADDRESS} }]\n`
let port = 7200
const source = () => pair.sourceAndPortSeenBy(port++, client)

t.test('CiliumLocalRedirectPolicy: an address and a service of pods here', OPTIONS, async (t) => {
  const policy = (frontend: string) => `apiVersion: cilium.io/v2
kind: CiliumLocalRedirectPolicy
metadata: { name: local }
spec:
  redirectFrontend: ${frontend}
  redirectBackend:
    localEndpointSelector: { matchLabels: { app: server } }
    toPorts: [{ port: "8080", protocol: TCP }]
`
  const ports = 'toPorts: [{ port: "80", protocol: TCP }]'
  a.manifest('redirect.yaml', policy(`{ addressMatcher: { ip: 198.51.100.9, ${ports} } }`))
  const url = 'http://198.51.100.9/'
  await a.until('the redirect', async () => (await status(client, url)) === 200, 10_000)
  a.removeManifest('redirect.yaml')
  await a.until('no redirect', async () => (await status(client, url)) === 0, 20_000)
  a.manifest(
    'service.yaml',
    `apiVersion: v1
kind: Service
metadata: { name: s }
spec: { clusterIP: 10.96.0.7, ports: [{ port: 80 }] }
`,
  )
  const matcher = '{ serviceMatcher: { serviceName: s, namespace: default } }'
  a.manifest('redirect.yaml', policy(matcher))
  const isThere = async () => (await status(client, 'http://10.96.0.7/')) === 200
  await a.until('the redirected service', isThere, 10_000)
  const rows = await a.json<{ address: string; type: string }[]>('service')
  t.match(rows, [{ address: '10.96.0.7', type: 'LocalRedirect' }])
  a.removeManifest('redirect.yaml')
  a.removeManifest('service.yaml')
})

t.test('loadBalancerSourceRanges: who may come', OPTIONS, async (t) => {
  a.manifest(
    'service.yaml',
    `apiVersion: v1
kind: Service
metadata: { name: s }
spec:
  type: LoadBalancer
  externalIPs: [192.0.2.80]
  loadBalancerSourceRanges: [192.0.2.1/32]
  selector: { app: server }
  ports: [{ port: 80, targetPort: 8080, nodePort: 30081 }]
`,
  )
  const url = `http://${A_ADDRESS}:30081/`
  await a.until('the service', async () => (await status(world, url)) === 200, 10_000)
  const args = ['-s', '--max-time', '2', '--interface', OUTSIDE, url]
  t.not((await lab.exec(world, 'curl', args)).code, 0)
  a.removeManifest('service.yaml')
})

t.test('masquerade: its ports, its exceptions, an endpoint without it', OPTIONS, async (t) => {
  const tunnel = 'tunnel: { mode: tunnel }\n'
  const ports = 'masquerade: { enabled: true, ports: { low: 40000, high: 40009 } }'
  await a.restart(`${uplink}${tunnel}${ports}`)
  await a.until('the ports', async () => /^192.0.2.2 4000\d$/.test(await source()), 10_000)
  await a.restart(
    `${uplink}${tunnel}masquerade: { enabled: true, nativeRoutingCidrs: [198.51.100.0/24] }`,
  )
  t.match(await source(), /^10.0.1.1 /, 'nativeRoutingCidrs')
  await a.restart(`${uplink}${tunnel}masquerade: { enabled: true }`)
  t.match(await source(), /^192.0.2.2 /)
  a.endpoint(client, ', identity: 400, masquerade: false')
  const isOwn = async () => /^10.0.1.1 /.test(await source())
  await a.until('its own address', isOwn, 20_000)
  a.endpoint(client, ', identity: 400')
  await a.until('the node’s', async () => /^192.0.2.2 /.test(await source()), 20_000)
})

t.test('Peer: skipTunnel leads around the tunnel, by plain routing', OPTIONS, async (t) => {
  const documents = [a, b].map((live) => readFileSync(live.path('manifests/peer.yaml'), 'utf8'))
  const tell = (field: string) => {
    for (const [i, live] of [a, b].entries()) {
      live.manifest('peer.yaml', `${documents[i]}${field}`)
    }
  }
  const isReached = async () => {
    return (await ping(lab, client, remote.address, { waitSeconds: 0.3 })).received === 3
  }
  await lab.ip(world, [`route del 10.0.2.0/24 via ${B_ADDRESS}`])
  await a.until('b through the tunnel', isReached, 10_000)
  tell('  skipTunnel: true\n')
  await a.until('no way', async () => !(await isReached()), 10_000)
  await lab.ip(world, [`route add 10.0.2.0/24 via ${B_ADDRESS}`])
  await a.until('b by the world’s route', isReached, 10_000)
  tell('')
  await lab.ip(world, [`route del 10.0.2.0/24 via ${B_ADDRESS}`])
  await a.until('b through the tunnel again', isReached, 10_000)
  await lab.ip(world, [`route add 10.0.2.0/24 via ${B_ADDRESS}`])
  t.pass()
})

t.test('tunnel: another port, and none', OPTIONS, async (t) => {
  const other = (address: string) => `uplinks: [{ device: eth0, address: ${address} }]\n`
  const isReached = async () => (await ping(lab, client, remote.address)).received === 3
  await a.restart(`${uplink}tunnel: { mode: tunnel, port: 8473 }`)
  t.notOk((await ping(lab, client, remote.address, { waitSeconds: 1 })).received, 'one of two')
  await b.restart(`${other(B_ADDRESS)}tunnel: { mode: tunnel, port: 8473 }`)
  await a.until('b by the other port', isReached, 10_000)
  await a.restart(`${uplink}tunnel: { mode: native }\nmasquerade: { enabled: true }`)
  await b.restart(`${other(B_ADDRESS)}tunnel: { mode: native }`)
  await a.until('b by plain routing', isReached, 10_000)
  t.pass()
})

t.test('remoteNodes: other nodes see a pod’s own address, or this node’s', OPTIONS, async (t) => {
  const seen = () => pair.sourceAndPortSeenBy(port++, client, b.node, B_ADDRESS)
  t.match(await seen(), /^10.0.1.1 /)
  await a.restart(`${uplink}masquerade: { enabled: true, remoteNodes: true }`)
  t.match(await seen(), /^192.0.2.2 /)
})

t.end()
