/**
 * Fields of the Node document and of Service documents, by the agent alone: what each of them does to
 * traffic, or to whom a socket is open. All on one node, which starts twice.
 */
import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { threadCores } from 'xdp-socket-napi'
import { holderOf, Role } from '../../src/daemon/process-lock.js'
import type { Namespace } from '../../src/lab/lab.js'
import { ping } from '../../src/lab/traffic.js'
import { fillMaglev, maglevHash } from '../../src/lb/maglev.js'
import { ipv4Words, parseIpv4 } from '../../src/wire/address.js'
import { Protocol } from '../../src/wire/protocols.js'
import { LiveAgent } from '../support/live-agent.js'
import { refusalsOf } from '../support/refusals.js'
import { askBySocat, socatServer } from '../support/socat.js'
import { coresOfThreads } from '../support/thread-cores.js'

const OPTIONS = { timeout: 60_000 }
const OUTSIDE = '198.51.100.1'
/** Of the same network, and not of the list that is not masqueraded. */
const OTHER = '198.51.100.2'
const LINK_LOCAL = '169.254.7.7'
/** A backend that is no pod of the node. */
const FAR = '198.51.100.7'
const ANNOUNCED = '192.0.2.50'
/** Whoever has it may use the API; a group that every system has. */
const GROUP = 'adm'
const STICKY_PORTS = 24
const AFFINITY_SECONDS = 12

const live = await LiveAgent.create('node-fields')
t.after(() => live.close())
const { lab, node } = live
const client = await live.pod('client', '10.0.1.1')
const near = await live.pod('near', '10.0.1.2')
const also = await live.pod('also', '10.0.1.3')
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
const own = [OUTSIDE, OTHER, LINK_LOCAL, FAR].map((a) => `address add ${a}/32 dev lo`)
await lab.ip(world, [...own, 'route add 10.0.1.0/24 via 192.0.2.2'])
await lab.ip(node, ['route add default via 192.0.2.1'])

const UPLINKS = `uplinks:
- { device: eth0, address: 192.0.2.2 }
- { device: eth1, address: 203.0.113.2 }`
const announced = (device: string) =>
  `announcements: [{ address: ${ANNOUNCED}, devices: [${device}] }]`
const core = threadCores().at(-1) as number
const datapath = (more: string) =>
  `datapath: { pinDirectory: ${live.pins.path}, cores: [${core}], ${more} }`

/** Answers each connection with its name, and who it sees there. */
async function nameServer(ns: Namespace, name: string, address: string): Promise<void> {
  const listen = `TCP-LISTEN:8080,bind=${address},reuseaddr,fork`
  const said = `SYSTEM:echo ${name} $SOCAT_PEERADDR`
  await socatServer(lab, ns, listen, said)
}

/** "near 10.0.1.1"; empty when nobody answers. */
async function ask(from: Namespace, address: string, port: number, more = ''): Promise<string> {
  // Sixteen at once are slow to start on a busy machine; nobody to answer costs all of it.
  const target = `TCP:${address}:${port},connect-timeout=3${more}`
  return (await askBySocat(lab, from, target)).trim()
}

/** What so many connections were answered, each answer once, in order. */
async function answers(from: Namespace, address: string, port: number): Promise<string[]> {
  const all = await Promise.all(Array.from({ length: 16 }, () => ask(from, address, port)))
  return [...new Set(all)].sort()
}

const slice = (
  name: string,
  addresses: readonly string[],
  ports = '{ port: 8080, name: "" }',
) => `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: ${name}, labels: { kubernetes.io/service-name: ${name} } }
addressType: IPv4
endpoints: [${addresses.map((address) => `{ addresses: [${address}] }`).join(', ')}]
ports: [${ports}]
`

live.manifest(
  'hashed.yaml',
  `apiVersion: v1
kind: Service
metadata: { name: hashed }
spec: { clusterIP: 10.96.0.10, ports: [{ port: 80 }] }
---
${slice('hashed', [near.address, also.address])}---
apiVersion: v1
kind: Service
metadata: { name: empty }
spec: { clusterIP: 10.96.0.20, ports: [{ port: 80, protocol: UDP }] }
`,
)

const stickyPorts = Array.from({ length: STICKY_PORTS }, (_, i) => 81 + i)
const sticky = () =>
  Promise.all(stickyPorts.map(async (port) => (await ask(client, '10.96.0.40', port)).slice(0, 4)))
let chosen: readonly string[] = []
let chosenAt = 0

live.writeNode(`${UPLINKS}
${announced('eth0')}
services: { algorithm: maglev, maglevTableSize: 251 }
behaviour: { answersPerSecond: 10, answersBurst: 5 }
masquerade: { enabled: true, nonMasqueradeCidrs: [${OUTSIDE}/32] }
${datapath('busyPollMicroseconds: 50')}
api: { group: ${GROUP} }
`)
await live.start()
await Promise.all([
  nameServer(near, 'near', near.address),
  nameServer(also, 'also', also.address),
  nameServer(world, 'far', '0.0.0.0'),
])

t.test('sessionAffinity: a client stays with its backend, on each port', OPTIONS, async (t) => {
  const ports = stickyPorts.map((port) => `{ port: ${port}, targetPort: 8080, name: p${port} }`)
  const named = stickyPorts.map((port) => `{ port: 8080, name: p${port} }`)
  live.manifest(
    'sticky.yaml',
    `apiVersion: v1
kind: Service
metadata: { name: sticky, annotations: { service.cilium.io/lb-algorithm: random } }
spec:
  clusterIP: 10.96.0.40
  sessionAffinity: ClientIP
  sessionAffinityConfig: { clientIP: { timeoutSeconds: ${AFFINITY_SECONDS} } }
  ports: [${ports.join(', ')}]
---
${slice('sticky', [near.address, also.address], named.join(', '))}`,
  )
  await live.until('the service', async () => (await ask(client, '10.96.0.40', 81)) !== '', 10_000)
  chosen = await sticky()
  t.same([...new Set(chosen)].sort(), ['also', 'near'], 'each port has a choice of its own')
  t.same(await sticky(), chosen, 'and its clients stay')
  chosenAt = performance.now()
})

t.test(
  'externalTrafficPolicy, internalTrafficPolicy: where clients are sent',
  OPTIONS,
  async (t) => {
    const service = (policy: string, backends: readonly string[]) =>
      live.manifest(
        'policies.yaml',
        `apiVersion: v1
kind: Service
metadata: { name: policies, annotations: { service.cilium.io/lb-algorithm: random } }
spec:
  type: NodePort
  clusterIP: 10.96.0.30
  externalTrafficPolicy: ${policy}
  internalTrafficPolicy: ${policy}
  ports: [{ port: 80, nodePort: 30080 }]
---
${slice('policies', backends)}`,
      )
    const both = [near.address, FAR]
    service('Cluster', both)
    const isThere = async () => (await ask(client, '10.96.0.30', 80)) !== ''
    await live.until('the service', isThere, 10_000)
    t.same(await answers(world, '192.0.2.2', 30080), ['far 192.0.2.2', 'near 192.0.2.1'])
    t.same(await answers(client, '10.96.0.30', 80), ['far 192.0.2.2', 'near 10.0.1.1'])
    service('Local', both)
    const isLocal = async () => (await answers(client, '10.96.0.30', 80)).length === 1
    await live.until('the policy', isLocal, 10_000)
    t.same(await answers(world, '192.0.2.2', 30080), ['near 192.0.2.1'], 'and sees its client')
    t.same(await answers(client, '10.96.0.30', 80), ['near 10.0.1.1'])
    service('Local', [FAR])
    await live.until('no backend here', async () => !(await isThere()), 10_000)
    t.equal(await ask(world, '192.0.2.2', 30080), '')
    live.removeManifest('policies.yaml')
  },
)

/** Of so many datagrams to a service without backends, at once or so far apart: ICMP errors. */
const refusals = (count: number, pauseSeconds: number, atLeast = 0): Promise<number> =>
  refusalsOf(lab, client, { count, pauseSeconds, to: '10.96.0.20', atLeast })

t.test('answersPerSecond, answersBurst: so many are told that they were refused', async (t) => {
  // What the tests before took of the bucket is there again.
  await setTimeout(1000)
  const atOnce = await refusals(40, 0, 5)
  t.ok(atOnce >= 5 && atOnce <= 8, `${atOnce} of 40 at once, with a burst of 5`)
  const began = performance.now()
  const paced = await refusals(60, 0.02, 10)
  const most = 5 + ((performance.now() - began) / 1000 + 1) * 10
  t.ok(paced >= 10 && paced <= most, `${paced} of 60 in ${performance.now() - began} ms`)
})

/** The source that a host outside sees. */
const seenBy = async (address: string) => (await ask(client, address, 8080)).split(' ')[1]

t.test('nonMasqueradeCidrs: a list, and link-local addresses with it', OPTIONS, async (t) => {
  t.equal(await seenBy(OUTSIDE), '10.0.1.1', 'in the list')
  t.equal(await seenBy(OTHER), '192.0.2.2', 'not in the list')
  t.equal(await seenBy(LINK_LOCAL), '10.0.1.1', 'masqLinkLocal: false')
})

async function answersFor(device: string): Promise<boolean> {
  await lab.exec(world, 'ip', ['neigh', 'flush', 'to', ANNOUNCED])
  await lab.exec(world, 'ping', ['-c', '1', '-W', '0.3', '-I', device, ANNOUNCED])
  const { stdout } = await lab.exec(world, 'ip', ['neigh', 'show', ANNOUNCED, 'dev', device])
  return /lladdr/.test(stdout)
}

t.test('announcements: by the devices named, and by no other', OPTIONS, async (t) => {
  await live.until('an answer', () => answersFor('to-eth0'), 10_000)
  t.notOk(await answersFor('to-eth1'))
})

/** By the table of that size: the pod that a connection of the client from this port meets. */
function predicted(size: number, sourcePort: number): string {
  const table = new Int32Array(size)
  const backends = [near, also].map(({ address }, i) => {
    return { id: i + 1, address4: parseIpv4(address), port: 8080, weight: 1 }
  })
  fillMaglev(table, backends, 0)
  const tuple = Int32Array.of(
    ...ipv4Words(parseIpv4(client.address)),
    ...ipv4Words(parseIpv4('10.96.0.10')),
  )
  const hash = maglevHash(tuple, 0, (sourcePort << 16) | 80, Protocol.TCP, 0)
  return table[(hash >>> 0) % size] === 1 ? 'near' : 'also'
}

/** Ports for which the two sizes choose differently: twice eight. */
const telling = Array.from({ length: 200 }, (_, i) => 20_000 + i).filter((port) => {
  return predicted(251, port) !== predicted(2039, port)
})

async function choices(size: number, ports: readonly number[]): Promise<[string[], string[]]> {
  const met = ports.map((port) => ask(client, '10.96.0.10', 80, `,sourceport=${port}`))
  const names = (await Promise.all(met)).map((answer) => answer.slice(0, 4))
  return [names, ports.map((port) => predicted(size, port))]
}

t.test('maglevTableSize: the table by which connections are spread', OPTIONS, async (t) => {
  t.ok(telling.length >= 16, `${telling.length}`)
  const [met, expected] = await choices(251, telling.slice(0, 8))
  t.same(met, expected)
})

/** SO_BUSY_POLL of each AF_XDP socket of a process. */
async function busyPolls(pid: number): Promise<string[]> {
  const script = fileURLToPath(
    new URL('../../../test/support/programs/xsk-options.py', import.meta.url),
  )
  const { stdout, stderr } = await lab.exec(node, 'python3', [script, `${pid}`])
  if (stdout === '') throw new Error(stderr)
  return stdout.trim().split('\n')
}

const pidOf = async () => (await live.status()).datapath.pid ?? 0

t.test('busyPollMicroseconds: the kernel is told for each socket', OPTIONS, async (t) => {
  t.equal((await ping(lab, client, near.address)).received, 3)
  const polls = await busyPolls(await pidOf())
  t.ok(polls.length >= 6, polls.join())
  t.same(new Set(polls), new Set(['50']))
})

/** The worker has its core, and everything else of the process the others, if there are any. */
function aloneOnItsCore(pid: number): boolean {
  const others = threadCores().filter((other) => other !== core)
  const elsewhere = (others.length > 0 ? others : [core]).join()
  const [first, ...more] = coresOfThreads(pid).sort((a) => (a === `${core}` ? -1 : 1))
  return first === `${core}` && more.length > 0 && more.every((cores) => cores === elsewhere)
}

t.test('cores: the worker has one to itself', OPTIONS, async (t) => {
  t.ok(aloneOnItsCore(await pidOf()), coresOfThreads(await pidOf()).join(' '))
})

/** The API by its socket, as somebody who is not root, in this group. */
async function asMember(group: string): Promise<string> {
  const who = ['--reuid', 'nobody', '--regid', group, '--clear-groups']
  const curl = [
    'curl',
    '-sS',
    '--unix-socket',
    live.path('state/api.sock'),
    'http://node/v1/health',
  ]
  const { stdout, stderr } = await lab.exec(node, 'setpriv', [...who, ...curl])
  return stdout + stderr
}

t.test('api.group: its members may use the API, others may not', OPTIONS, async (t) => {
  chmodSync(live.directory, 0o755)
  t.match(await asMember(GROUP), /"isHealthy":true/)
  t.match(await asMember('nogroup'), /denied|connect/i)
  t.equal(statSync(live.path('state')).mode & 0o007, 0, 'the directory is nobody else’s')
  const files = ['--reuid', 'nobody', '--regid', GROUP, '--clear-groups']
  const read = ['cat', live.path('state/ct4')]
  t.not((await lab.exec(node, 'setpriv', [...files, ...read])).code, 0, 'and files are not theirs')
})

const trained = () => {
  const log = readFileSync(live.path('state/datapath.log'), 'utf8')
  return [...log.matchAll(/code trained with \d+ frames/g)].length
}

t.test('the same fields with other values, after a restart', OPTIONS, async (t) => {
  await live.restart(`${UPLINKS}
${announced('eth1')}
services: { algorithm: maglev, maglevTableSize: 2039 }
behaviour: { answersPerSecond: 0, answersBurst: 0 }
masquerade: { enabled: true, nonMasqueradeCidrs: default, masqLinkLocal: true }
${datapath('busyPollMicroseconds: 70, training: false, stopWithAgent: true')}
`)
  const [met, expected] = await choices(2039, telling.slice(8, 16))
  t.same(met, expected, 'maglevTableSize')
  t.equal(await refusals(20, 0), 0, 'answersPerSecond: none')
  t.equal(await seenBy(OTHER), '10.0.1.1', 'nonMasqueradeCidrs: default')
  t.equal(await seenBy(LINK_LOCAL), '192.0.2.2', 'masqLinkLocal')
  await live.until('an answer', () => answersFor('to-eth1'), 10_000)
  t.notOk(await answersFor('to-eth0'), 'announcements.devices')
  t.match(await asMember(GROUP), /denied|connect/i, 'no api.group')
  const wait = chosenAt + (AFFINITY_SECONDS + 1) * 1000 - performance.now()
  await setTimeout(Math.max(0, wait))
  t.notSame(await sticky(), chosen, 'timeoutSeconds: clients are free again')
})

t.test('a datapath that is adopted: what it was started without is told', OPTIONS, async (t) => {
  const field = /spec.datapath.busyPollMicroseconds: 70, expected 50, .*"ringpath upgrade"/
  t.match((await live.status()).problems, [field])
  t.match(live.process?.output, /not yet: .*busyPollMicroseconds/)
  const before = trained()
  t.ok(before > 0, 'training, unless told otherwise')
  const { code, stdout, stderr } = await live.cli('upgrade')
  t.equal(code, 0, stdout + stderr)
  const isTold = async () => (await live.status()).problems.length > 0
  await live.until('nothing more', async () => !(await isTold()))
  t.same(new Set(await busyPolls(await pidOf())), new Set(['70']))
  t.equal(trained(), before, 'training: false')
  t.ok(aloneOnItsCore(await pidOf()), 'cores, of one that took over')
})

t.test(
  'a Node document that changes on disk: each field is told, none is used',
  OPTIONS,
  async (t) => {
    const running = readFileSync(live.path('node.yaml'), 'utf8')
    const change = (from: string, to: string) =>
      writeFileSync(live.path('node.yaml'), running.replace(from, to))
    const told = async (pattern: RegExp) => {
      const isTold = async () => pattern.test((await live.status()).problems.join('\n'))
      await live.until(`${pattern}`, isTold)
    }
    change('masqLinkLocal: true', 'masqLinkLocal: false')
    await told(/node.yaml: .*spec.masquerade.masqLinkLocal: false, expected true, .*restart/)
    t.match(live.process?.output, /"level":"warn".*not in force: .*masqLinkLocal/)
    t.equal(await seenBy(LINK_LOCAL), '192.0.2.2', 'the old one holds')
    change('kind: Node', 'kind: Nodes')
    await told(/node.yaml:2: .*Nodes/)
    change('', '')
    await live.until('nothing', async () => (await live.status()).problems.length === 0)
    t.match(live.process?.output, /as it was again/)
  },
)

t.test('stopWithAgent: nothing is left running, or closed', OPTIONS, async (t) => {
  // Not `stop`, which kills it after some seconds.
  live.process?.kill('SIGTERM')
  await live.process?.ended
  for (const role of [Role.DATAPATH, Role.STANDBY, Role.AGENT]) {
    t.equal(holderOf(live.path('state'), role), undefined)
  }
  t.match(readFileSync(live.path('state/datapath.log'), 'utf8'), /datapath stopped/)
})

t.end()
