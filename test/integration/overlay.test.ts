/**
 * The overlay over real AF_XDP, with nodes of other makes: the Linux kernel's vxlan devices, and
 * Open vSwitch. Pings, TCP both ways, 25 MB each way, path MTU, services across nodes.
 */
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { Namespace } from '../../src/lab/lab.js'
import type { FrontendType, ServiceSpec } from '../../src/lb/service-spec.js'
import { Direction } from '../../src/packet/verdict.js'
import type { EndpointPolicy } from '../../src/policy/policy-rule.js'
import { datagramEcho, datagramEchoes } from '../support/datagrams.js'
import { LiveNode, NODE_ADDRESS, UPLINK_ADDRESS } from '../support/live-node.js'
import {
  INNER_MAC,
  linuxPeer,
  NODE_CORRESPONDENTS,
  type OverlayPeer,
  openVSwitchPeer,
} from '../support/overlay-peers.js'
import {
  httpServer,
  ping,
  tcpProbe,
  transferWithHash,
  udpEcho,
  udpEchoServer,
  untilOpen,
} from '../support/traffic.js'

const FRAGMENTATION_NEEDED = 136
const POLICY_DENIED = 133
const VIP = '10.96.0.10'
const PORT = 8080
const NODE_PORT = 30_080
const MEGABYTES = 25

const onlyLinux: EndpointPolicy = {
  enforceIngress: true,
  enforceEgress: false,
  rules: [{ direction: Direction.INGRESS, action: 'allow', identities: [902, 301] }],
}

const web = (address: string, port: number, type: FrontendType, backend: string): ServiceSpec => ({
  name: 'web',
  frontends: [{ address, port, protocol: 'TCP', type }],
  backends: [{ address: backend, port: PORT }],
})

/** Writes 25 MB to a file `big` and returns their hash. */
function randomFile(directory: string): string {
  const bytes = randomBytes(MEGABYTES * 1_000_000)
  writeFileSync(join(directory, 'big'), bytes)
  return createHash('sha256').update(bytes).digest('hex')
}

const live = await LiveNode.create('overlay', { hasUplink: true })
const client = await live.pod('client')
const guarded = await live.pod('guarded', onlyLinux)
const all = [client, guarded, ...NODE_CORRESPONDENTS]
const linux = await linuxPeer(live, all)
const ovs = await openVSwitchPeer(live, all)
t.after(async () => {
  await ovs.ovs.close()
  await live.close()
})
live.controller.setTunnel({ mode: 'tunnel', innerMac: INNER_MAC })
for (const { podAddress, identity, address } of [linux, ovs]) {
  live.controller.setRemote({ prefix: podAddress, identity, tunnelEndpoint: address })
}
await live.start()
const peers: readonly (readonly [string, OverlayPeer])[] = [
  ['plain Linux', linux],
  ['Open vSwitch', ovs],
]

async function downloadHash(from: Namespace, url: string): Promise<string | undefined> {
  const script = `curl -sS --noproxy '*' --max-time 30 ${url} | sha256sum`
  const { stdout } = await live.lab.exec(from, 'sh', ['-c', script], { timeoutMs: 40_000 })
  return stdout.split(' ')[0]
}

t.test('a packet too large for the tunnel is refused with the size that fits', async (t) => {
  for (const [name, peer] of peers) {
    // The first finds out the MACs of the routers on the way.
    await ping(live.lab, client, peer.podAddress, { count: 2 })
    const before = live.dropped(FRAGMENTATION_NEEDED)
    const large = ['-n', '-c', '1', '-W', '1', '-M', 'do', '-s', '1472', peer.podAddress]
    const { stdout, stderr } = await live.lab.exec(client, 'ping', large)
    t.match(stdout + stderr, /mtu = 1450/, name)
    t.equal(live.dropped(FRAGMENTATION_NEEDED), before + 1)
    const fits = await ping(live.lab, client, peer.podAddress, { sizeBytes: 1422 })
    t.equal(fits.received, 3, 'what fits goes there and back')
  }
})

for (const [name, peer] of peers) {
  t.test(`${name}: pings go both ways`, { timeout: 60_000 }, async (t) => {
    // The first finds out the MACs of the routers on the way.
    await ping(live.lab, client, peer.podAddress, { count: 2 })
    t.equal((await ping(live.lab, client, peer.podAddress)).received, 3)
    t.equal((await ping(live.lab, peer.pod, client.address)).received, 3)
  })

  t.test(`${name}: ${MEGABYTES} MB come and go unharmed`, { timeout: 120_000 }, async (t) => {
    const there = { ns: peer.pod, address: peer.podAddress, port: 5001 }
    const up = await transferWithHash(live.lab, client, there, MEGABYTES)
    t.equal(up.receivedHash, up.sentHash)
    const here = { ns: client, address: client.address, port: 5002 }
    const down = await transferWithHash(live.lab, peer.pod, here, MEGABYTES)
    t.equal(down.receivedHash, down.sentHash)
  })

  t.test(`${name}: UDP goes there and back`, { timeout: 30_000 }, async (t) => {
    const at = { ns: peer.pod, address: peer.podAddress, port: 5300 }
    const server = await udpEchoServer(live.lab, at)
    t.equal(await udpEcho(live.lab, client, at, 'hello'), 'hello')
    await server.stop()
  })

  t.test(`${name}: datagrams of 8 kB come back whole`, { timeout: 60_000 }, async (t) => {
    const to = { address: peer.podAddress, port: 5301 }
    const echo = await datagramEcho(live.lab, peer.pod, to.address, to.port)
    // It forgets what it has been told; of the first datagram, which it may cut, it learns it again.
    await live.lab.exec(client, 'ip', ['route', 'flush', 'cache'])
    await datagramEchoes(live.lab, client, to, 8192, 1)
    const { stdout } = await live.lab.exec(client, 'ip', ['route', 'get', to.address])
    t.match(stdout, /mtu 1450/)
    t.equal(await datagramEchoes(live.lab, client, to, 8192, 10), '10')
    await echo.stop()
  })

  t.test(`${name}: a closed port answers at once`, { timeout: 30_000 }, async (t) => {
    t.equal(await tcpProbe(live.lab, client, peer.podAddress, 81, 3), 'refused')
    t.equal(await tcpProbe(live.lab, peer.pod, client.address, 81, 3), 'refused')
  })
}

t.test(
  'policy knows the senders of both makes by their identity',
  { timeout: 30_000 },
  async (t) => {
    t.equal((await ping(live.lab, linux.pod, guarded.address)).received, 3)
    const before = live.dropped(POLICY_DENIED)
    const few = { waitSeconds: 1, isExact: true }
    t.equal((await ping(live.lab, ovs.pod, guarded.address, few)).received, 0)
    t.equal(live.dropped(POLICY_DENIED), before + 3)
  },
)

t.test('a service’s backends are on three kinds of node', { timeout: 60_000 }, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'rp-web-'))
  const hash = randomFile(directory)
  const everywhere = [
    { ns: guarded, address: guarded.address },
    ...peers.map(([, peer]) => ({ ns: peer.pod, address: peer.podAddress })),
  ]
  for (const { ns } of everywhere) {
    await httpServer(live.lab, { ns, address: '0.0.0.0', port: PORT }, directory)
  }
  for (const { address } of everywhere) {
    live.controller.setService(web(VIP, 80, 'ClusterIP', address))
    t.equal(await downloadHash(client, `http://${VIP}/big`), hash, address)
  }
  for (const [name, peer] of peers) {
    live.controller.setService(web(UPLINK_ADDRESS, NODE_PORT, 'NodePort', peer.podAddress))
    await untilOpen(live.lab, live.outside, UPLINK_ADDRESS, NODE_PORT)
    const url = `http://${UPLINK_ADDRESS}:${NODE_PORT}/big`
    t.equal(await downloadHash(live.outside, url), hash, `${name}, from outside through the node`)
  }
  rmSync(directory, { recursive: true })
})

t.test('the node itself reaches pods of the others, and they reach it', async (t) => {
  for (const [name, peer] of peers) {
    const route = `${peer.podAddress} dev ringpath_host src ${NODE_ADDRESS} mtu 1450`
    await live.lab.ip(live.node, [`route add ${route}`])
    t.equal((await ping(live.lab, live.node, peer.podAddress)).received, 3, name)
    t.equal((await ping(live.lab, peer.pod, NODE_ADDRESS)).received, 3, name)
  }
})

t.test('kernels found no wrong checksum', async (t) => {
  for (const ns of [client, guarded, live.node, live.outside, linux.node, linux.pod, ovs.pod]) {
    const { stdout } = await live.lab.exec(ns, 'cat', ['/proc/net/snmp'])
    for (const protocol of ['Tcp', 'Udp', 'Icmp']) {
      const [head = '', values = ''] = stdout
        .split('\n')
        .filter((l) => l.startsWith(`${protocol}:`))
      t.equal(values.split(' ')[head.split(' ').indexOf('InCsumErrors')], '0', protocol)
    }
  }
})
t.end()
