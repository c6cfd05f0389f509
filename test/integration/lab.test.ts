/**
 * The lab on real namespaces: what it makes, and that nothing of it is left however its process
 * ends. Needs root.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import * as fs from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { runOrFail } from '../../src/lab/command.js'
import { Lab, type Namespace } from '../../src/lab/lab.js'
import { listRuns, namespacesOf, removeRun, sweepDeadRuns } from '../../src/lab/run-record.js'
import { STAND_IN_ADDRESS } from '../../src/lab/wiring.js'
import { socatServer } from '../support/socat.js'

const HOLDER = fileURLToPath(new URL('../support/lab-holder.js', import.meta.url))
const GONE_TIMEOUT_MS = 10_000

interface Holder {
  readonly process: ChildProcess
  readonly id: string
  readonly childPid: number
}

async function startHolder(ending: string): Promise<Holder> {
  const holder = spawn(process.execPath, [HOLDER, ending], { stdio: ['ignore', 'pipe', 'ignore'] })
  let output = ''
  for await (const chunk of holder.stdout) {
    output += chunk
    const match = /lab (\w+) child (\d+)\n/.exec(output)
    if (match !== null) return { process: holder, id: match[1] ?? '', childPid: Number(match[2]) }
  }
  throw new Error(`the holder ended before it had a lab: ${output}`)
}

const isRunning = (pid: number) => {
  if (!fs.existsSync(`/proc/${pid}/stat`)) return false
  return !/\) [ZX] /.test(fs.readFileSync(`/proc/${pid}/stat`, 'utf8'))
}

const leftovers = (holder: Pick<Holder, 'id' | 'childPid'>) => [
  ...namespacesOf(holder.id),
  ...listRuns().filter((id) => id === holder.id),
  ...(isRunning(holder.childPid) ? [`process ${holder.childPid}`] : []),
]

async function waitUntilGone(holder: Pick<Holder, 'id' | 'childPid'>): Promise<readonly string[]> {
  const end = Date.now() + GONE_TIMEOUT_MS
  while (leftovers(holder).length > 0 && Date.now() < end) await sleep(20)
  return leftovers(holder)
}

interface LinkJson {
  readonly ifname: string
  readonly address: string
  readonly mtu: number
  readonly flags: readonly string[]
  readonly num_rx_queues: number
}

async function linksOf(lab: Lab, ns: Namespace): Promise<readonly LinkJson[]> {
  const { stdout } = await lab.exec(ns, 'ip', ['-json', '-details', 'link', 'show'])
  return JSON.parse(stdout) as LinkJson[]
}

const routesOf = async (lab: Lab, ns: Namespace) =>
  (await lab.exec(ns, 'ip', ['route', 'show'])).stdout.split('\n').map((line) => line.trim())

t.test('a pod has one address, a link-scope gateway and the MACs it was told', async (t) => {
  const lab = await Lab.create({ name: 'pods' })
  t.teardown(() => lab.close())
  const node = await lab.namespace('node')
  const pod = await lab.pod(node, 'client', { address: '10.0.1.10', mtu: 1400, queues: 2 })

  const eth0 = (await linksOf(lab, pod)).find((link) => link.ifname === 'eth0')
  t.match(eth0, { address: pod.podMac, mtu: 1400, num_rx_queues: 2 })
  const lxc = (await linksOf(lab, node)).find((link) => link.ifname === pod.device)
  t.match(lxc, { address: pod.hostMac, mtu: 1400, num_rx_queues: 2 })
  t.ok(lxc?.flags.includes('UP'), 'the node side is up')
  t.same(await routesOf(lab, pod), [
    'default via 169.254.1.1 dev eth0',
    '169.254.1.1 dev eth0 scope link',
    '',
  ])
  const addresses = await lab.exec(pod, 'ip', ['-brief', 'address', 'show', 'dev', 'eth0'])
  t.match(addresses.stdout, /10\.0\.1\.10\/32\s*$/, 'and no IPv6 address')
  const nodeAddresses = await lab.exec(node, 'ip', ['-brief', 'address', 'show', 'dev', pod.device])
  t.notMatch(nodeAddresses.stdout, /[0-9a-f]+[.:].*\//, 'the node side has no address')
})

t.test('the host pair leads the node to its pods', async (t) => {
  const lab = await Lab.create({ name: 'hostpair' })
  t.teardown(() => lab.close())
  const node = await lab.namespace('node')
  const pair = await lab.hostPair(node, { address: '10.0.1.1', podCidr: '10.0.1.0/24' })
  t.same(await routesOf(lab, node), [
    '10.0.1.0/24 dev ringpath_host scope link src 10.0.1.1',
    `${STAND_IN_ADDRESS} dev ringpath_host scope link`,
    '',
  ])
  const links = await linksOf(lab, node)
  t.match(
    links.find((link) => link.ifname === pair.hostDevice),
    { address: pair.hostMac },
  )
  t.match(
    links.find((link) => link.ifname === pair.netDevice),
    { address: pair.netMac },
  )
})

t.test(
  'two namespaces with a link reach each other, and input, output and codes pass',
  async (t) => {
    const lab = await Lab.create({ name: 'link' })
    t.teardown(() => lab.close())
    const [left, right] = [await lab.namespace('left'), await lab.namespace('right')]
    await lab.link({
      a: { ns: left, device: 'up0', address: '192.0.2.1/24' },
      b: { ns: right, device: 'up0', address: '192.0.2.2/24' },
    })
    const ping = await lab.exec(left, 'ping', ['-c', '2', '-i', '0.05', '-W', '2', '192.0.2.2'])
    t.equal(ping.code, 0, ping.stdout)

    const server = await socatServer(lab, right, 'TCP-LISTEN:7000', 'EXEC:rev')
    const answer = await lab.exec(left, 'nc', ['-N', '192.0.2.2', '7000'], { input: 'abc\n' })
    t.equal(answer.stdout, 'cba\n')
    t.match(await server.ended, { code: 0 })
    t.match(await lab.exec(left, 'false'), { code: 1 })
  },
)

t.test('a program that does not end in time is killed with its children', async (t) => {
  const lab = await Lab.create({ name: 'timeout' })
  t.teardown(() => lab.close())
  const node = await lab.namespace('node')
  const nested = lab.exec(node, 'sh', ['-c', 'sleep 61 & wait'], { timeoutMs: 200 })
  await t.rejects(nested, { code: 'ELAB_TIMEOUT' })
  await t.rejects(lab.exec(node, 'no-such-program'), { code: 'ELAB_SETUP' })
  const child = lab.spawn(node, 'sleep', ['61'])
  await t.rejects(child.waitForOutput(/never/, 50), { code: 'ELAB_TIMEOUT' })
  t.match(await child.stop(), { signal: 'SIGTERM' })
  await t.rejects(child.waitForOutput(/never/), { code: 'ELAB_SETUP' })
})

t.test('nothing is left after close, and closing twice is fine', async (t) => {
  const lab = await Lab.create({ name: 'close' })
  const node = await lab.namespace('node')
  const pod = await lab.pod(node, 'client', { address: '10.0.1.10' })
  const child = lab.spawn(pod, 'sleep', ['600'])
  // A process that left its group is found by its namespace.
  const script = 'setsid sleep 600 < /dev/null > /dev/null 2>&1 & echo $!'
  const stray = await lab.exec(pod, 'sh', ['-c', script])
  t.equal(namespacesOf(lab.id).length, 2)
  await lab.close()
  await lab.close()
  t.same(leftovers({ id: lab.id, childPid: child.pid ?? 0 }), [])
  // Killed, but not ours to wait for.
  t.same(await waitUntilGone({ id: lab.id, childPid: Number(stray.stdout) }), [])
  await t.rejects(lab.namespace('late'), { code: 'ELAB_SETUP' })
})

t.test('a file system mounted among the lab’s files goes with it', async (t) => {
  const lab = await Lab.create({ name: 'mount' })
  const directory = lab.directory('mount')
  await runOrFail('mount', ['-t', 'tmpfs', 'none', directory])
  fs.writeFileSync(`${directory}/file`, 'text')
  await lab.close()
  t.notMatch(fs.readFileSync('/proc/self/mounts', 'utf8'), directory)
  t.notOk(fs.existsSync(directory))
  t.notOk(listRuns().includes(lab.id))
})

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGKILL'] as const) {
  t.test(`nothing is left after ${signal}`, async (t) => {
    const holder = await startHolder('wait')
    t.equal(namespacesOf(holder.id).length, 2)
    holder.process.kill(signal)
    await once(holder.process, 'exit')
    t.same(await waitUntilGone(holder), [])
  })
}

for (const ending of ['throw', 'exit']) {
  t.test(`nothing is left when the process ends by ${ending}`, async (t) => {
    const holder = await startHolder(ending)
    if (holder.process.exitCode === null) await once(holder.process, 'exit')
    t.equal(holder.process.exitCode, ending === 'exit' ? 7 : 1)
    t.same(await waitUntilGone(holder), [])
  })
}

t.test('the next run sweeps what a killed run and its killed janitor left', async (t) => {
  const holder = await startHolder('wait')
  killJanitorOf(holder)
  holder.process.kill('SIGKILL')
  await once(holder.process, 'exit')
  await sleep(100)
  t.not(leftovers(holder).length, 0, 'no janitor, so it is all still there')
  const lab = await Lab.create({ name: 'sweep' })
  t.teardown(() => lab.close())
  t.same(await waitUntilGone(holder), [])
  t.same(namespacesOf(lab.id), [], 'its own run is untouched')
  t.ok(listRuns().includes(lab.id))
})

function killJanitorOf(holder: Holder): void {
  const pids = fs.readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))
  const janitor = pids.find((pid) => {
    try {
      const line = fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8')
      return line.includes('janitor.js') && line.includes(holder.id)
    } catch {
      return false
    }
  })
  if (janitor === undefined) throw new Error('the holder has no janitor')
  process.kill(Number(janitor), 'SIGKILL')
}

t.test('runs at the same time and one after the other do not meet', async (t) => {
  const labs = await Promise.all([1, 2, 3].map(() => Lab.create({ name: 'same' })))
  t.teardown(() => Promise.all(labs.map((lab) => lab.close())))
  for (const lab of labs) {
    const node = await lab.namespace('node')
    await lab.pod(node, 'client', { address: '10.0.1.10' })
  }
  t.equal(new Set(labs.map((lab) => lab.id)).size, 3)
  t.same(
    sweepDeadRuns().filter((id) => labs.some((lab) => lab.id === id)),
    [],
  )
  const [first, ...others] = labs
  await first?.close()
  for (const lab of others) t.equal(namespacesOf(lab.id).length, 2)
  t.doesNotThrow(() => removeRun(first?.id ?? ''), 'removing what is gone is fine')
})
