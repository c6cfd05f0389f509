/**
 * Masquerading over real AF_XDP, with real programs: pods and the node itself share one address
 * toward the outside, which knows no other.
 */
import { fileURLToPath } from 'node:url'
import t from 'tap'
import type { Namespace } from '../../src/lab/lab.js'
import type { LabProcess } from '../../src/lab/lab-process.js'
import { ping, transferWithHash, udpEcho } from '../../src/lab/traffic.js'
import { readDestinations } from '../../src/nat/destination-use.js'
import { GATEWAY_ADDRESS, LiveNode, OUTSIDE_ADDRESS, UPLINK_ADDRESS } from '../support/live-node.js'

const PORT = 7000
const FAR_ADDRESS = '203.0.113.2'
const NO_MAPPING = 167

const program = (name: string) =>
  fileURLToPath(new URL(`../support/programs/${name}.js`, import.meta.url))

const live = await LiveNode.create('nat', { hasUplink: true })
t.after(() => live.close())
const pods = [await live.pod('a'), await live.pod('b')]
const [a, b] = pods as [(typeof pods)[0], (typeof pods)[0]]
live.controller.setMasquerade({ enabled: true })
await live.start()
const server = live.lab.spawn(live.outside, process.execPath, [
  program('peer-server'),
  OUTSIDE_ADDRESS,
  `${PORT}`,
])
await server.waitForOutput(/listening/)

interface Clients {
  readonly process: LabProcess
  readonly opened: number
  readonly peers: readonly string[]
}

async function openClients(from: Namespace, count: number): Promise<Clients> {
  const args = [program('peer-clients'), OUTSIDE_ADDRESS, `${PORT}`, `${count}`]
  const process_ = live.lab.spawn(from, process.execPath, args)
  const [line] = await process_.waitForOutput(/\{.*"opened".*\}/)
  return { process: process_, ...(JSON.parse(line) as Omit<Clients, 'process'>) }
}

/** How many of the clients' connections still carry bytes both ways. */
async function intact(clients: Clients): Promise<number> {
  const before = clients.process.output.length
  clients.process.write('check\n')
  const pattern = new RegExp(`^[\\s\\S]{${before}}\\{"intact":(\\d+)\\}`)
  const [, count] = await clients.process.waitForOutput(pattern)
  return Number(count)
}

/** Linux delays one by 40 ms, and by up to 200. */
const DELAYED_ACK_MILLISECONDS = 250
const sleep = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds))
const outside = { ns: live.outside, address: OUTSIDE_ADDRESS, port: PORT }
const addressOf = (peer: string) => peer.slice(0, peer.lastIndexOf(':'))

t.test('the outside sees TCP, UDP and pings of two pods from the node’s address', async (t) => {
  for (const pod of pods) {
    const clients = await openClients(pod, 3)
    t.equal(clients.opened, 3)
    t.same([...new Set(clients.peers.map(addressOf))], [UPLINK_ADDRESS])
    t.equal(await intact(clients), 3)
    await clients.process.stop()
    const udp = await udpEcho(live.lab, pod, outside, 'hello')
    t.match(udp, new RegExp(`^${UPLINK_ADDRESS.replaceAll('.', '\\.')}:\\d+`))
    const pings = await ping(live.lab, pod, OUTSIDE_ADDRESS, { count: 5 })
    t.equal(pings.received, 5)
  }
  const both = await Promise.all(
    pods.map((pod) => ping(live.lab, pod, OUTSIDE_ADDRESS, { count: 20 })),
  )
  t.same(
    both.map((report) => report.received),
    [20, 20],
    'both at once',
  )
})

t.test('20 MB come through the NAT unharmed', { timeout: 60_000 }, async (t) => {
  const to = { ns: live.outside, address: OUTSIDE_ADDRESS, port: 7100 }
  const report = await transferWithHash(live.lab, a, to, 20)
  t.equal(report.receivedHash, report.sentHash)
})

t.test(
  '200 connections of pods and the node’s own to one destination, all undisturbed',
  {
    timeout: 90_000,
  },
  async (t) => {
    const own = await openClients(live.node, 40)
    await sleep(3500)
    const ofPods = [await openClients(a, 100), await openClients(b, 100)] as const
    await sleep(3500)
    const later = await openClients(live.node, 200)
    const all = [own, ...ofPods, later]
    t.same(
      all.map((clients) => clients.opened),
      [40, 100, 100, 200],
    )
    const peers = all.flatMap((clients) => clients.peers)
    t.same([...new Set(peers.map(addressOf))], [UPLINK_ADDRESS])
    t.equal(new Set(peers).size, 440, 'each with a port of its own')
    const inNatRange = own.peers.filter((peer) => Number(peer.split(':')[1]) >= 32768)
    t.equal(inNatRange.length, 40, 'the node’s ports are of the same range')
    for (const clients of all) t.equal(await intact(clients), clients.opened)
    const line = readDestinations(live.maps.nat.destinations).find(({ protocol }) => protocol === 6)
    t.ok((line?.ports ?? 0) >= 200, JSON.stringify(line))
    t.equal(live.dropped(NO_MAPPING), 0)
    for (const clients of all) await clients.process.stop()
  },
)

t.test('the node’s own pings and datagrams go on beside those of pods', async (t) => {
  const places = [live.node, ...pods]
  const pings = await Promise.all(
    places.map((place) => ping(live.lab, place, OUTSIDE_ADDRESS, { count: 20 })),
  )
  const received = pings.map((report) => report.received)
  t.same(received, [20, 20, 20])
  const peers = await Promise.all(
    places.map(async (place) => (await udpEcho(live.lab, place, outside, 'hello')).trim()),
  )
  t.same(peers.map(addressOf), [UPLINK_ADDRESS, UPLINK_ADDRESS, UPLINK_ADDRESS])
})

t.test(
  'a flow keeps its port while the datapath is killed and started again',
  {
    timeout: 60_000,
  },
  async (t) => {
    const clients = await openClients(a, 10)
    // An acknowledgment that comes late would be routed by the node's kernel, with the pod's address,
    // while no datapath is there; whom it reaches resets the connection.
    await sleep(DELAYED_ACK_MILLISECONDS)
    await live.datapath?.kill()
    await live.start()
    t.equal(await intact(clients), 10)
    await clients.process.stop()
  },
)

t.test(
  'traceroute from a pod shows the node, a router, and the destination behind it',
  {
    timeout: 60_000,
  },
  async (t) => {
    const far = await live.lab.namespace('far')
    await live.lab.link({
      a: { ns: live.outside, device: 'eth1', address: '203.0.113.1/24' },
      b: { ns: far, device: 'eth0', address: `${FAR_ADDRESS}/24` },
    })
    await live.lab.ip(far, ['route add default via 203.0.113.1'])
    for (const method of [[], ['-I'], ['-T', '-p', '80']]) {
      const args = ['-n', '-q', '1', '-w', '2', '-m', '4', ...method, FAR_ADDRESS]
      const { stdout } = await live.lab.exec(a, 'traceroute', args)
      const hops = stdout
        .split('\n')
        .slice(1)
        .map((text) => text.trim().split(/\s+/)[1])
      t.same(hops.slice(0, 3), [UPLINK_ADDRESS, GATEWAY_ADDRESS, FAR_ADDRESS], stdout)
    }
  },
)

t.test('a small MTU behind the node is found by the pod', { timeout: 60_000 }, async (t) => {
  await live.lab.ip(live.outside, ['link set dev eth1 mtu 1200'])
  const probe = (size: number) => [
    '-n',
    '-c',
    '1',
    '-W',
    '1',
    '-M',
    'do',
    '-s',
    `${size}`,
    FAR_ADDRESS,
  ]
  const first = await live.lab.exec(a, 'ping', probe(1300))
  t.match(first.stdout + first.stderr, /Frag needed|message too long/i, 'the router’s word')
  const next = await live.lab.exec(a, 'ping', probe(1300))
  t.match(next.stdout + next.stderr, /message too long/i, 'and the pod’s kernel knows it now')
  t.match((await live.lab.exec(a, 'ip', ['route', 'get', FAR_ADDRESS])).stdout, / mtu 1200/)
  const small = await live.lab.exec(a, 'ping', probe(1100))
  t.equal(small.code, 0)
})

t.end()
