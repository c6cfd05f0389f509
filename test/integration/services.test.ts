/** Services over real AF_XDP, with real programs: a web server behind a ClusterIP with three backends, and more. */
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import {
  httpGet,
  httpServer,
  tcpProbe,
  transferWithHash,
  udpEcho,
  udpEchoServer,
} from '../../src/lab/traffic.js'
import type { ServiceSpec } from '../../src/lb/service-spec.js'
import { LiveNode, type LivePod } from '../support/live-node.js'

const VIP = '10.96.0.10'
const NO_SERVICE = 158
const PORT = 8080

const live = await LiveNode.create('services')
const directory = mkdtempSync(join(tmpdir(), 'rp-web-'))
t.after(async () => {
  await live.close()
  rmSync(directory, { recursive: true, force: true })
})
const client = await live.pod('client')
const pods: LivePod[] = []
for (const name of ['web1', 'web2', 'web3']) pods.push(await live.pod(name))
await live.start()

const big = randomBytes(20_000_000)
const bigHash = createHash('sha256').update(big).digest('hex')
for (const pod of pods) {
  const own = join(directory, `${pod.id}`)
  mkdirSync(own)
  writeFileSync(join(own, 'name'), `pod ${pod.id}`)
  writeFileSync(join(own, 'big'), big)
  await httpServer(live.lab, { ns: pod, address: '0.0.0.0', port: PORT }, own)
}

const web = (backends: readonly LivePod[], options: Partial<ServiceSpec> = {}): ServiceSpec => ({
  name: 'web',
  frontends: [{ address: VIP, port: 80, protocol: 'TCP', type: 'ClusterIP' }],
  backends: backends.map(({ address }) => ({ address, port: PORT })),
  ...options,
})

const names = async (from: LivePod, count: number): Promise<Set<string>> => {
  const found = new Set<string>()
  for (let i = 0; i < count; i++) {
    const { status, body, error } = await httpGet(live.lab, from, `http://${VIP}/name`)
    found.add(status === 200 ? body : error)
  }
  return found
}

t.test('curl reaches all three backends of a ClusterIP', { timeout: 60_000 }, async (t) => {
  live.controller.setService(web(pods))
  const all = pods.map((pod) => `pod ${pod.id}`)
  t.same([...(await names(client, 30))].sort(), all)
  live.controller.setService(web(pods, { algorithm: 'maglev' }))
  t.same([...(await names(client, 30))].sort(), all)
})

t.test('a client with affinity sees one of them', { timeout: 60_000 }, async (t) => {
  live.controller.setService(web(pods, { sessionAffinitySeconds: 60 }))
  t.equal((await names(client, 12)).size, 1)
})

t.test('20 MB come and go through the service unharmed', { timeout: 60_000 }, async (t) => {
  live.controller.setService(web(pods))
  const script = `curl -sS --noproxy '*' --max-time 30 http://${VIP}/big | sha256sum`
  const { stdout } = await live.lab.exec(client, 'sh', ['-c', script], { timeoutMs: 40_000 })
  t.equal(stdout.split(' ')[0], bigHash)

  const [sink] = pods as [LivePod]
  live.controller.setService({
    name: 'sink',
    frontends: [{ address: VIP, port: 5001, protocol: 'TCP', type: 'ClusterIP' }],
    backends: [{ address: sink.address, port: 6001 }],
  })
  const to = { ns: sink, address: sink.address, port: 6001 }
  const through = { address: VIP, port: 5001 }
  const up = await transferWithHash(live.lab, client, to, 20, 60_000, through)
  t.equal(up.receivedHash, up.sentHash)
})

t.test('backends that go and come back disturb nobody', { timeout: 60_000 }, async (t) => {
  const [first, second] = pods as [LivePod, LivePod]
  live.controller.setService(web([first, second]))
  t.notOk((await names(client, 12)).has('pod 4'))
  const slowly = "curl -sS --noproxy '*' --limit-rate 8M --max-time 30"
  const script = `${slowly} http://${VIP}/big | sha256sum`
  const running = live.lab.exec(client, 'sh', ['-c', script], { timeoutMs: 40_000 })
  // By now it runs, from one of the two.
  await names(client, 6)
  for (let i = 0; i < 20; i++) {
    const isDraining = i % 2 === 0
    const state = isDraining ? ('terminating' as const) : ('active' as const)
    const backends = pods.map(({ address, id }) => {
      return { address, port: PORT, ...(id === 4 ? {} : { state }) }
    })
    live.controller.setService(web(pods, { backends }))
    if (isDraining) t.same([...(await names(client, 2))], ['pod 4'])
  }
  t.equal((await running).stdout.split(' ')[0], bigHash, 'a download went on all the time')
})

t.test('a pod reaches itself through its service', { timeout: 60_000 }, async (t) => {
  const [own] = pods as [LivePod]
  live.controller.setService(web([own]))
  t.same([...(await names(own, 3))], ['pod 2'])
  const script = `curl -sS --noproxy '*' --max-time 30 http://${VIP}/big | sha256sum`
  const { stdout } = await live.lab.exec(own, 'sh', ['-c', script], { timeoutMs: 40_000 })
  t.equal(stdout.split(' ')[0], bigHash)
})

t.test('UDP goes through a service, and its closed ports are told', async (t) => {
  const [server] = pods as [LivePod]
  live.controller.setService({
    name: 'dns',
    frontends: [{ address: VIP, port: 53, protocol: 'UDP', type: 'ClusterIP' }],
    backends: [{ address: server.address, port: 5300 }],
  })
  const echo = await udpEchoServer(live.lab, { ns: server, address: server.address, port: 5300 })
  t.equal(await udpEcho(live.lab, client, { ns: server, address: VIP, port: 53 }, 'hello'), 'hello')
  await echo.stop()
  const script = [
    'import socket',
    's = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)',
    's.settimeout(3)',
    `s.connect(('${VIP}', 53))`,
    "s.send(b'anyone?')",
    'try: s.recv(100)',
    'except OSError as error: print(type(error).__name__)',
  ].join('\n')
  const { stdout } = await live.lab.exec(client, 'python3', ['-c', script])
  t.equal(stdout.trim(), 'ConnectionRefusedError', 'the backend’s ICMP error reached the socket')
})

t.test('no backend is refused at once, an unknown port is silent', async (t) => {
  live.controller.setService(web([]))
  t.equal(await tcpProbe(live.lab, client, VIP, 80, 3), 'refused')
  const before = live.dropped(NO_SERVICE)
  t.equal(await tcpProbe(live.lab, client, VIP, 81), 'silent')
  t.ok(live.dropped(NO_SERVICE) > before)
})

t.test('kernels found no wrong checksum', async (t) => {
  for (const pod of [client, ...pods]) {
    const { stdout } = await live.lab.exec(pod, 'cat', ['/proc/net/snmp'])
    for (const protocol of ['Tcp', 'Udp', 'Icmp']) {
      const [head = '', values = ''] = stdout
        .split('\n')
        .filter((l) => l.startsWith(`${protocol}:`))
      t.equal(values.split(' ')[head.split(' ').indexOf('InCsumErrors')], '0', protocol)
    }
  }
})

t.end()
