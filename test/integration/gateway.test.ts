/**
 * The way out of a node over real AF_XDP while it changes: gateways that come and go, neighbours
 * that nobody but the datapath uses; and what holds at the uplink itself: announced addresses,
 * denied sources, VLANs.
 */
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { echoServer, ping, tcpEcho, tcpProbe } from '../../src/lab/traffic.js'
import { readPortStatistics } from '../../src/port/port-statistics.js'
import { PortStatus } from '../../src/port/port-table.js'
import { Fib, FibResult } from '../../src/routing/fib.js'
import { formatIpv4, parseIpv4 } from '../../src/wire/address.js'
import { GATEWAY_ADDRESS, LiveNode, OUTSIDE_ADDRESS, UPLINK_ADDRESS } from '../support/live-node.js'
import { eth } from '../support/packet-builder.js'

const VLAN_FILTERED = 182
const UPLINK_DEVICE = 'uplink0'
const OTHER_DEVICE = 'uplink1'
/** Another address of the gateway, and another router. */
const SECOND_ADDRESS = '192.0.2.9'
const OTHER_GATEWAY = '203.0.113.1'
const OTHER_UPLINK = '203.0.113.2'
const VIP = '192.0.2.80'
const OPTIONS = { timeout: 60_000 }

const live = await LiveNode.create('gateway', { hasUplink: true })
const { lab, node, outside, controller, maps } = live
t.after(() => live.close())
const pod = await live.pod('client')
const other = await lab.namespace('other')
const link = await lab.link({
  a: { ns: node, device: OTHER_DEVICE, address: `${OTHER_UPLINK}/24` },
  b: { ns: other, device: 'eth0', address: `${OTHER_GATEWAY}/24` },
})
await lab.ip(other, [
  `address add ${OUTSIDE_ADDRESS}/32 dev lo`,
  `route add 10.0.1.0/24 via ${OTHER_UPLINK}`,
])
await lab.ip(outside, [
  `address add ${SECOND_ADDRESS}/24 dev eth0`,
  `route add 10.0.1.0/24 via ${UPLINK_ADDRESS}`,
])
const otherPort = controller.addUplink({
  device: OTHER_DEVICE,
  address: OTHER_UPLINK,
  mac: link.a.mac,
})
await live.start()
const fib = new Fib(maps.routing)

const statistics = (port: number) =>
  readPortStatistics((cell) => maps.portStatistics.sum(cell), port)

async function until(holds: () => boolean | Promise<boolean>, seconds = 10): Promise<boolean> {
  for (const end = Date.now() + seconds * 1000; Date.now() < end; ) {
    if (await holds()) return true
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return false
}

/** Next hop and port to the outside, once its MAC is known. */
function way(): string {
  const isFound = fib.lookup(parseIpv4(OUTSIDE_ADDRESS), 0) === FibResult.FOUND
  return isFound ? `${formatIpv4(fib.nextHop4)} by ${maps.ports.device(fib.port)}` : 'none'
}

t.test('the datapath finds the gateway by itself, before the first packet', OPTIONS, async (t) => {
  t.ok(
    await until(
      () => maps.ports.report(otherPort, live.datapath?.pid ?? 0).status === PortStatus.ATTACHED,
    ),
  )
  t.ok(await until(() => way() === `${GATEWAY_ADDRESS} by ${UPLINK_DEVICE}`), way())
})

t.test('a pod’s ping goes on while the gateway changes, and loses nothing', OPTIONS, async (t) => {
  const before = statistics(otherPort).sentFrames
  const pings = ping(lab, pod, OUTSIDE_ADDRESS, { count: 100 })
  await new Promise((resolve) => setTimeout(resolve, 1000))
  await lab.ip(node, [`route replace default via ${SECOND_ADDRESS}`])
  t.ok(await until(() => way() === `${SECOND_ADDRESS} by ${UPLINK_DEVICE}`), way())
  await new Promise((resolve) => setTimeout(resolve, 500))
  await lab.ip(node, [`route replace default via ${OTHER_GATEWAY}`])
  t.ok(await until(() => way() === `${OTHER_GATEWAY} by ${OTHER_DEVICE}`), way())
  const report = await pings
  t.equal(report.received, report.sent)
  t.ok(
    await until(() => statistics(otherPort).sentFrames - before > 30),
    'and it is the other uplink that sends',
  )
})

t.test('a route of a device that goes down gives way to the next best', OPTIONS, async (t) => {
  await lab.ip(node, [`route add default via ${GATEWAY_ADDRESS} metric 100`])
  await lab.ip(node, [`link set ${OTHER_DEVICE} down`])
  t.ok(await until(() => way() === `${GATEWAY_ADDRESS} by ${UPLINK_DEVICE}`), way())
  t.equal((await ping(lab, pod, OUTSIDE_ADDRESS)).received, 3)
  await lab.ip(node, [`link set ${OTHER_DEVICE} up`])
})

t.test('a gateway that only the datapath speaks to is not forgotten', OPTIONS, async (t) => {
  await lab.sysctl(node, { [`net.ipv4.neigh.${UPLINK_DEVICE}.delay_first_probe_time`]: '1' })
  const before = statistics(maps.node.hostPort).sentFrames
  const states = new Set<string>()
  let isMissing = false
  let isOver = false
  const watch = (async () => {
    while (!isOver) {
      const show = await lab.exec(node, 'ip', ['neigh', 'show', GATEWAY_ADDRESS])
      states.add(/ (\w+)\s*$/.exec(show.stdout)?.[1] ?? 'none')
      if (way() === 'none') isMissing = true
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  })()
  const pings = ping(lab, pod, OUTSIDE_ADDRESS, { count: 100 })
  await new Promise((resolve) => setTimeout(resolve, 500))
  states.clear()
  // As after half a minute in which the kernel itself sent nothing.
  await lab.ip(node, [`neigh change ${GATEWAY_ADDRESS} dev ${UPLINK_DEVICE} nud stale`])
  const report = await pings
  isOver = true
  await watch
  t.equal(report.received, report.sent)
  t.notOk(isMissing)
  t.ok(states.has('DELAY') || states.has('PROBE'), [...states].join(' '))
  t.ok(states.has('REACHABLE'), 'confirmed again')
  t.ok(statistics(maps.node.hostPort).sentFrames - before < 5, 'and no packet took the slow way')
})

t.test('a new MAC of the gateway is learned', OPTIONS, async (t) => {
  await lab.sysctl(outside, { 'net.ipv4.conf.eth0.arp_notify': '1' })
  const mac = '02:00:00:00:00:99'
  await lab.ip(outside, [`link set eth0 address ${mac}`])
  const isNew = () => {
    way()
    return fib.macHigh === 0x02000000 && fib.macLow === 0x99
  }
  t.ok(await until(isNew, 20))
  t.equal((await ping(lab, pod, OUTSIDE_ADDRESS)).received, 3)
})

t.test('a service’s address is announced: clients of the network find it', OPTIONS, async (t) => {
  const echo = await echoServer(lab, { ns: pod, address: pod.address, port: 8080 })
  controller.setService({
    name: 'echo',
    frontends: [{ address: VIP, port: 80, protocol: 'TCP', type: 'LoadBalancer' }],
    backends: [{ address: pod.address, port: 8080 }],
  })
  const to = { ns: pod, address: VIP, port: 80 }
  const load = { connections: 1, bytesEach: 1000 }
  t.not(await tcpProbe(lab, outside, VIP, 80), 'open', 'nobody answers for it yet')
  const alive = setInterval(() => controller.netdev.signAlive(), 1000)
  t.teardown(() => clearInterval(alive))
  controller.netdev.signAlive()
  const stranger = '02:00:00:00:00:77'
  await lab.ip(outside, [`neigh replace ${VIP} lladdr ${stranger} dev eth0 nud stale`])
  controller.netdev.announce(VIP)
  const known = async () => (await lab.exec(outside, 'ip', ['neigh', 'show', VIP])).stdout
  t.ok(
    await until(async () => !(await known()).includes(stranger)),
    'who knew another node by it learns of the new one',
  )
  await lab.ip(outside, [`neigh del ${VIP} dev eth0`])
  t.same(await tcpEcho(lab, outside, to, load), { opened: 1, intact: 1 })
  controller.netdev.withdraw(VIP)
  await echo.stop()
})

t.test(
  'nothing of a denied prefix reaches the node, and then it does again',
  OPTIONS,
  async (t) => {
    t.equal((await ping(lab, outside, UPLINK_ADDRESS)).received, 3)
    controller.netdev.setDeniedSources(['192.0.2.1', '198.51.100.0/24'])
    const pingOnce = { count: 1, waitSeconds: 1 }
    t.ok(
      await until(async () => (await ping(lab, outside, UPLINK_ADDRESS, pingOnce)).received === 0),
    )
    t.equal((await ping(lab, pod, OUTSIDE_ADDRESS, pingOnce)).received, 0)
    controller.netdev.setDeniedSources([])
    t.ok(
      await until(async () => (await ping(lab, outside, UPLINK_ADDRESS, pingOnce)).received === 1),
    )
  },
)

t.test('frames of a VLAN that is not allowed are dropped with 182', OPTIONS, async (t) => {
  const program = fileURLToPath(new URL('../support/programs/inject-frames.js', import.meta.url))
  const tagged = (id: number) =>
    Buffer.from(eth().vlan(id).ipv4({ to: UPLINK_ADDRESS }).udp({ to: 9 }).bytes()).toString('hex')
  const inject = async (id: number) => {
    const input = `${tagged(id)}\n`.repeat(5)
    await lab.exec(outside, process.execPath, [program, 'eth0'], { input })
  }
  await inject(7)
  t.equal(live.dropped(VLAN_FILTERED), 0, 'without a list all are the kernel’s')
  controller.netdev.setAllowedVlans([7])
  t.ok(
    await until(async () => {
      await inject(8)
      return live.dropped(VLAN_FILTERED) > 0
    }),
  )
  const before = live.dropped(VLAN_FILTERED)
  await inject(7)
  t.equal(live.dropped(VLAN_FILTERED), before)
})

t.end()
