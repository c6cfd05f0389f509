/** Packets of several buffers over real AF_XDP, with real programs: pods with an MTU of 9000. */
import t from 'tap'
import {
  echoServer,
  ping,
  type TransferReport,
  tcpEcho,
  transferWithHash,
  udpEcho,
  udpEchoServer,
} from '../../src/lab/traffic.js'
import { GATEWAY_ADDRESS, LiveNode, NODE_ADDRESS, OUTSIDE_ADDRESS } from '../support/live-node.js'

const MTU_BYTES = 9000
/** Of an echo request that fills the MTU: IP and ICMP have 28. */
const FULL_PING = MTU_BYTES - 28
const VIP = '10.96.0.10'
const FRAGMENTATION_NEEDED = 136

const live = await LiveNode.create('big', { mtuBytes: MTU_BYTES, hasUplink: true })
t.after(() => live.close())
const client = await live.pod('client')
const server = await live.pod('server')
const small = await live.pod('small', undefined, undefined, 1500)
await live.lab.ip(live.outside, [`route add 10.0.1.0/24 via ${live.uplinkAddress}`])
await live.start()

type Test = Pick<typeof t, 'equal' | 'comment'>

const isWhole = (t: Test, report: TransferReport): void => {
  t.equal(report.receivedHash, report.sentHash)
  t.comment(`${((report.bytes * 8) / report.seconds / 1e9).toFixed(2)} Gbit/s`)
}

t.test('pods ping each other up to an MTU of 9000, at every length around a buffer', async (t) => {
  t.equal((await ping(live.lab, client, server.address, { count: 5 })).received, 5)
  for (const sizeBytes of [1472, 1813, 1814, 1815, 1816, 3670, 3671, 8000, 8001, FULL_PING]) {
    const { received } = await ping(live.lab, client, server.address, { sizeBytes })
    t.equal(received, 3, `${sizeBytes} bytes`)
  }
})

for (const [name, from, to] of [
  ['one direction', client, server],
  ['the other direction', server, client],
] as const) {
  t.test(`100 MB in ${name} arrive with the same hash`, { timeout: 90_000 }, async (t) => {
    isWhole(
      t,
      await transferWithHash(live.lab, from, { ns: to, address: to.address, port: 5001 }, 100),
    )
  })
}

t.test('100 MB to a service arrive with the same hash', { timeout: 90_000 }, async (t) => {
  live.controller.setService({
    name: 'sink',
    frontends: [{ address: VIP, port: 80, protocol: 'TCP', type: 'ClusterIP' }],
    backends: [{ address: server.address, port: 5002 }],
  })
  const to = { ns: server, address: server.address, port: 5002 }
  const through = { address: VIP, port: 80 }
  isWhole(t, await transferWithHash(live.lab, client, to, 100, 60_000, through))
})

t.test('20 MB between pod and node arrive both ways', { timeout: 90_000 }, async (t) => {
  const node = { ns: live.node, address: NODE_ADDRESS, port: 5003 }
  isWhole(t, await transferWithHash(live.lab, client, node, 20))
  const pod = { ns: client, address: client.address, port: 5004 }
  isWhole(t, await transferWithHash(live.lab, live.node, pod, 20))
  t.equal((await ping(live.lab, client, NODE_ADDRESS, { sizeBytes: FULL_PING })).received, 3)
})

t.test('20 MB leave by the uplink, masqueraded, and come back', { timeout: 90_000 }, async (t) => {
  t.equal((await ping(live.lab, client, GATEWAY_ADDRESS, { sizeBytes: FULL_PING })).received, 3)
  const out = { ns: live.outside, address: OUTSIDE_ADDRESS, port: 5005 }
  isWhole(t, await transferWithHash(live.lab, client, out, 20))
  const inwards = { ns: server, address: server.address, port: 5006 }
  isWhole(t, await transferWithHash(live.lab, live.outside, inwards, 20))
})

t.test('pods of MTU 9000 and 1500 speak TCP to each other', { timeout: 90_000 }, async (t) => {
  const toSmall = { ns: small, address: small.address, port: 5007 }
  isWhole(t, await transferWithHash(live.lab, client, toSmall, 20))
  const toLarge = { ns: client, address: client.address, port: 5008 }
  isWhole(t, await transferWithHash(live.lab, small, toLarge, 20))
})

t.test(
  'what a pod’s device does not carry is a drop, and its sender is told the MTU',
  async (t) => {
    const before = live.dropped(FRAGMENTATION_NEEDED)
    const args = ['-n', '-M', 'do', '-c', '1', '-W', '1', '-s', '4000', small.address]
    const { stdout } = await live.lab.exec(client, 'ping', args)
    t.match(stdout, /mtu = 1500/)
    t.ok(live.dropped(FRAGMENTATION_NEEDED) > before)
    const route = await live.lab.exec(client, 'ip', ['route', 'get', small.address])
    t.match(route.stdout, /mtu 1500/)
    const fits = await ping(live.lab, client, small.address, { sizeBytes: 1472 })
    t.equal(fits.received, 3)
  },
)

t.test('UDP datagrams of 8000 bytes come back whole', async (t) => {
  const to = { ns: server, address: server.address, port: 5300 }
  const echo = await udpEchoServer(live.lab, to)
  const text = 'abcdefgh'.repeat(1000)
  t.equal(await udpEcho(live.lab, client, to, text), text)
  await echo.stop()
})

t.test('200 connections at once get every byte back', { timeout: 60_000 }, async (t) => {
  const to = { ns: server, address: server.address, port: 7000 }
  const echo = await echoServer(live.lab, to)
  const load = { connections: 200, bytesEach: 50_000 }
  t.same(await tcpEcho(live.lab, client, to, load), { opened: 200, intact: 200 })
  await echo.stop()
})

t.test('an MTU that is changed is known within seconds', { timeout: 20_000 }, async (t) => {
  await live.lab.ip(live.node, [`link set ${server.device} mtu 3000`])
  const deadline = Date.now() + 10_000
  const isTold = async (): Promise<boolean> => {
    const args = ['-n', '-M', 'do', '-c', '1', '-W', '1', '-s', '5000', server.address]
    return (await live.lab.exec(client, 'ping', args)).stdout.includes('mtu = 3000')
  }
  let told = false
  while (!told && Date.now() < deadline) told = await isTold()
  t.ok(told)
  await live.lab.ip(live.node, [`link set ${server.device} mtu ${MTU_BYTES}`])
})

t.test('the receivers’ kernels find no wrong checksum', async (t) => {
  for (const pod of [client, server, small, live.node]) {
    const { stdout } = await live.lab.exec(pod, 'cat', ['/proc/net/snmp'])
    for (const protocol of ['Tcp', 'Udp', 'Icmp']) {
      const [names, values] = stdout.split('\n').filter((line) => line.startsWith(`${protocol}:`))
      const at = names?.split(' ').indexOf('InCsumErrors') ?? -1
      t.equal(values?.split(' ')[at], '0', `${pod.name}: ${protocol}`)
    }
  }
})

t.end()
