/**
 * An uplink on real AF_XDP: clients outside and processes of the node on services, pods' own traffic to
 * the outside, and everything else on the uplink's address going on as if nobody were there.
 */
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { Namespace } from '../../src/lab/lab.js'
import {
  echoServer,
  httpGet,
  httpServer,
  tcpEcho,
  tcpProbe,
  udpEcho,
  udpEchoServer,
} from '../../src/lab/traffic.js'
import type { FrontendSpec, ServiceSpec } from '../../src/lb/service-spec.js'
import {
  GATEWAY_ADDRESS,
  LiveNode,
  type LivePod,
  NODE_ADDRESS,
  OUTSIDE_ADDRESS,
  UPLINK_ADDRESS,
} from '../support/live-node.js'
import { askBySocat, socatServer } from '../support/socat.js'

const VIP = '10.96.0.10'
const NODE_PORT = 30_080
const NODE_URL = `http://${UPLINK_ADDRESS}:${NODE_PORT}`
const OPTIONS = { timeout: 60_000 }

const live = await LiveNode.create('uplink', { hasUplink: true })
const { lab, node, outside } = live
const directory = mkdtempSync(join(tmpdir(), 'rp-web-'))
t.after(async () => {
  await live.close()
  rmSync(directory, { recursive: true, force: true })
})
const pods = [await live.pod('web1'), await live.pod('web2')] as [LivePod, LivePod]
const [first] = pods
// Native routing: the outside knows the way to the pods, and the node's processes to services.
await lab.ip(outside, [`route add 10.0.1.0/24 via ${UPLINK_ADDRESS}`])
await lab.ip(node, [`route add 10.96.0.0/16 dev ringpath_host src ${NODE_ADDRESS}`])

const big = randomBytes(10_000_000)
const bigHash = createHash('sha256').update(big).digest('hex')
const sites: [Namespace, number, string][] = [
  [pods[0], 8080, 'web1'],
  [pods[1], 8080, 'web2'],
  [outside, 8081, 'outside'],
  [node, 6443, 'node'],
]
for (const [ns, port, name] of sites) {
  const own = join(directory, name)
  mkdirSync(own)
  writeFileSync(join(own, 'name'), name)
  writeFileSync(join(own, 'big'), big)
  await httpServer(lab, { ns, address: '0.0.0.0', port }, own)
}

/** A connection from outside to the node itself, as a login is; it answers each line as long as it lives. */
const echo = { ns: node, address: UPLINK_ADDRESS, port: 2222 }
await echoServer(lab, echo)
const login = lab.spawn(outside, 'python3', [
  '-u',
  '-c',
  `
import socket, time
s = socket.create_connection(('${UPLINK_ADDRESS}', 2222))
s.settimeout(20)
count = 0
while True:
    line = b'%d\\n' % count
    s.sendall(line)
    got = b''
    while len(got) < len(line): got += s.recv(100)
    assert got == line
    count += 1
    print('line', count)
    time.sleep(0.05)
`,
])
await login.waitForOutput(/line 3/)
await live.start()

const nodePort: FrontendSpec = {
  address: '0.0.0.0',
  port: NODE_PORT,
  protocol: 'TCP',
  type: 'NodePort',
}
const clusterIp: FrontendSpec = { address: VIP, port: 80, protocol: 'TCP', type: 'ClusterIP' }
const web = (options: Partial<ServiceSpec> = {}): ServiceSpec => ({
  name: 'web',
  frontends: [nodePort, clusterIp],
  backends: pods.map(({ address }) => ({ address, port: 8080 })),
  ...options,
})

/** The steering follows the maps within a turn of the worker, which may be asleep. */
const set = async (spec: ServiceSpec): Promise<void> => {
  live.controller.setService(spec)
  await live.settled()
}

const names = async (from: Namespace, url: string, count: number): Promise<string[]> => {
  const found = new Set<string>()
  for (let i = 0; i < count; i++) {
    const { status, body, error } = await httpGet(lab, from, `${url}/name`)
    found.add(status === 200 ? body : error)
  }
  return [...found].sort()
}

const download = async (from: Namespace, url: string): Promise<string> => {
  const script = `curl -sS --noproxy '*' --max-time 30 ${url}/big | sha256sum`
  const { stdout } = await lab.exec(from, 'sh', ['-c', script], { timeoutMs: 40_000 })
  return stdout.split(' ')[0] ?? ''
}

t.test('a client outside reaches both backends of a NodePort', OPTIONS, async (t) => {
  await set(web())
  t.same(await names(outside, NODE_URL, 20), ['web1', 'web2'])
  t.equal(await download(outside, NODE_URL), bigHash)
})

t.test('the backend sees the client’s own address', OPTIONS, async (t) => {
  await socatServer(lab, first, 'TCP-LISTEN:9000,fork,reuseaddr', 'SYSTEM:echo $SOCAT_PEERADDR')
  const backends = [{ address: first.address, port: 9000 }]
  await set(web({ name: 'who', frontends: [{ ...nodePort, port: 30_090 }], backends }))
  const target = `TCP4:${UPLINK_ADDRESS}:30090,bind=${OUTSIDE_ADDRESS}`
  t.equal((await askBySocat(lab, outside, target)).trim(), OUTSIDE_ADDRESS)
})

t.test('source ranges hold for clients outside', OPTIONS, async (t) => {
  await set(web({ sourceRanges: [`${GATEWAY_ADDRESS}/32`] }))
  const from = (address: string) => [
    '-sS',
    '--noproxy',
    '*',
    '--max-time',
    '2',
    '--interface',
    address,
  ]
  const url = `${NODE_URL}/name`
  const admitted = await lab.exec(outside, 'curl', [...from(GATEWAY_ADDRESS), url])
  t.match(admitted.stdout, /^web/)
  const before = live.dropped(177)
  const refused = await lab.exec(outside, 'curl', [...from(OUTSIDE_ADDRESS), url])
  t.match(refused.stderr, /timed out/i)
  t.ok(live.dropped(177) > before)
  await set(web())
})

t.test('a backend elsewhere is reached from the node’s address', OPTIONS, async (t) => {
  await set(web({ backends: [{ address: OUTSIDE_ADDRESS, port: 8081 }] }))
  t.same(await names(outside, NODE_URL, 5), ['outside'])
  t.equal(await download(outside, NODE_URL), bigHash)
  t.same(await names(node, `http://${VIP}`, 5), ['outside'], 'and by the node’s own process')
})

t.test(
  'a backend of the node’s own stack serves outside, pods and the node',
  OPTIONS,
  async (t) => {
    await set(web({ backends: [{ address: UPLINK_ADDRESS, port: 6443 }] }))
    t.same(await names(outside, NODE_URL, 5), ['node'])
    t.same(await names(first, `http://${VIP}`, 5), ['node'])
    t.same(await names(node, `http://${VIP}`, 5), ['node'])
    t.equal(await download(outside, NODE_URL), bigHash)
  },
)

t.test('the node’s own process reaches pods through a ClusterIP', OPTIONS, async (t) => {
  await set(web())
  t.same(await names(node, `http://${VIP}`, 20), ['web1', 'web2'])
  t.equal(await download(node, `http://${VIP}`), bigHash)
  t.same(await names(node, `http://${first.address}:8080`, 1), ['web1'], 'and without one')
})

t.test('a ClusterIP is closed to the outside, an unknown port silent', OPTIONS, async (t) => {
  await lab.ip(outside, [`route add 10.96.0.0/16 via ${UPLINK_ADDRESS}`])
  const before = live.dropped(174)
  t.equal(await tcpProbe(lab, outside, VIP, 80), 'silent')
  t.ok(live.dropped(174) > before)
  t.equal(await tcpProbe(lab, outside, VIP, 81), 'silent')
  live.controller.setServiceOptions({ externalClusterIp: true })
  t.same(await names(outside, `http://${VIP}`, 20), ['web1', 'web2'])
  live.controller.setServiceOptions({ externalClusterIp: false })
})

t.test(
  'a service without backends is refused, a deleted one is the kernel’s',
  OPTIONS,
  async (t) => {
    await set(web({ backends: [] }))
    t.equal(await tcpProbe(lab, outside, UPLINK_ADDRESS, NODE_PORT, 3), 'refused')
    live.controller.deleteService('web')
    await live.settled()
    const drops = live.dropped(158)
    t.equal(await tcpProbe(lab, outside, UPLINK_ADDRESS, NODE_PORT, 3), 'refused')
    t.equal(live.dropped(158), drops)
    await set(web())
  },
)

t.test('UDP goes through a NodePort', OPTIONS, async (t) => {
  await udpEchoServer(lab, { ns: first, address: first.address, port: 5300 })
  const frontends: FrontendSpec[] = [{ ...nodePort, protocol: 'UDP', port: 30_053 }]
  await set({ name: 'dns', frontends, backends: [{ address: first.address, port: 5300 }] })
  const at = { ns: node, address: UPLINK_ADDRESS, port: 30_053 }
  t.equal(await udpEcho(lab, outside, at, 'hello'), 'hello')
})

t.test('pods and the outside reach one another by native routing', OPTIONS, async (t) => {
  t.same(await names(first, `http://${OUTSIDE_ADDRESS}:8081`, 3), ['outside'])
  t.equal(await download(first, `http://${OUTSIDE_ADDRESS}:8081`), bigHash)
  t.same(await names(outside, `http://${first.address}:8080`, 3), ['web1'])
  t.equal(await download(outside, `http://${first.address}:8080`), bigHash)
  t.same(await names(first, `http://${UPLINK_ADDRESS}:6443`, 3), ['node'], 'pod to node')
})

t.test('a new datapath process serves what the maps say', OPTIONS, async (t) => {
  await live.datapath?.stop()
  t.equal(await tcpProbe(lab, outside, UPLINK_ADDRESS, NODE_PORT), 'refused', 'by the kernel')
  await live.start()
  t.same(await names(outside, NODE_URL, 20), ['web1', 'web2'])
})

t.test('the node’s own connection on the uplink went on all the time', OPTIONS, async (t) => {
  t.ok(login.isRunning)
  const count = () =>
    Number(
      login.output
        .match(/line (\d+)/g)
        ?.at(-1)
        ?.slice(5),
    )
  const before = count()
  for (let tries = 0; tries < 200 && !(count() > before); tries++) {
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  t.ok(count() > before, `${before} lines so far`)
  const load = { connections: 50, bytesEach: 10_000 }
  const report = await tcpEcho(lab, outside, echo, load)
  t.match(report, { opened: 50, intact: 50 })
})

t.end()
