/** The agent sets a bare node up, keeps it so, and `ringpath cleanup` puts it back. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { makeLog } from '../../src/daemon/log.js'
import { putNodeBack } from '../../src/daemon/setup/node-setup.js'
import { httpGet, httpServer, ping } from '../../src/lab/traffic.js'
import { podAddressLines, podLinkLines } from '../../src/lab/wiring.js'
import { LiveAgent } from '../support/live-agent.js'

const OPTIONS = { timeout: 60_000 }
const CLI = fileURLToPath(new URL('../../src/cli/ringpath.js', import.meta.url))
const live = await LiveAgent.create('setup', { spec: 'serviceCidrs: [10.96.0.0/12]' })
t.after(() => live.close())
const { lab, node } = live
const client = await live.pod('client', '10.0.1.1')
const server = await live.pod('server', '10.0.1.2')

const ip = async (...args: string[]) => (await lab.exec(node, 'ip', args)).stdout
const sysctl = async (name: string) =>
  (await lab.exec(node, 'sysctl', ['-n', `net.ipv4.${name}`])).stdout.trim()

interface Setup {
  readonly managed: boolean
  readonly hasPair: boolean
  readonly routes: readonly string[]
  readonly sysctls: readonly { name: string; before: string; set: string }[]
  readonly problems: readonly string[]
}
const setup = async () => (await live.json<{ setup: Setup }>('status')).setup

await lab.ip(node, ['link add other type veth peer name other2', 'link set other up'])
await live.start()

t.test(
  'a namespace with nothing but pods: they reach each other, the node, and back',
  async (t) => {
    t.equal((await ping(lab, client, server.address)).received, 3)
    t.equal((await ping(lab, client, '10.0.0.1')).received, 3)
    t.equal((await ping(lab, node, client.address)).received, 3)
  },
)

t.test('the node’s own processes reach services', async (t) => {
  const web = await httpServer(lab, { ns: server, address: server.address, port: 8080 }, 'docs')
  live.manifest(
    'web.yaml',
    `apiVersion: v1
kind: Service
metadata: { name: web }
spec:
  clusterIP: 10.96.0.10
  externalIPs: [203.0.113.5]
  selector: { app: server }
  ports: [{ port: 80, targetPort: 8080 }]
`,
  )
  await live.until('the service', async () => (await live.json<unknown[]>('service')).length === 2)
  t.equal((await httpGet(lab, node, 'http://10.96.0.10/')).status, 200, 'of serviceCidrs')
  t.equal((await httpGet(lab, node, 'http://203.0.113.5/')).status, 200, 'another address')
  t.match(await ip('route'), /203.0.113.5 dev ringpath_host proto 114 scope link src 10.0.0.1/)
  live.removeManifest('web.yaml')
  await live.until('no route', async () => !/203.0.113.5/.test(await ip('route')))
  await web.stop()
})

t.test('a pod outside of podCidrs has a route of its own while it is there', async (t) => {
  const guest = await live.pod('guest', '10.9.9.9')
  await live.until('the route', async () => /10.9.9.9 dev ringpath/.test(await ip('route')))
  await live.until('an answer', async () => (await ping(lab, node, guest.address)).received === 3)
  live.removeManifest('endpoint-guest.yaml')
  await live.until('no route', async () => !/10.9.9.9/.test(await ip('route')))
  t.pass()
})

t.test('what was set is logged once and shown by status, with what was there before', async (t) => {
  const { managed, hasPair, routes, sysctls, problems } = await setup()
  t.match({ managed, hasPair, problems }, { managed: true, hasPair: true, problems: [] })
  t.same(routes, ['10.0.1.0/24', '10.96.0.0/12', '169.254.42.1/32'])
  t.match(sysctls, [{ name: 'net.ipv4.ip_forward', before: '0', set: '1' }, { name: /rp_filter/ }])
  t.match(live.process?.output, /"set":\["pair ringpath_host and ringpath_net"/)
  const text = (await live.cli('status')).stdout
  t.match(text, /Set-up {5}by the agent: 3 routes\n {2}net.ipv4.ip_forward 0 → 1/)
})

t.test('other devices keep the reverse path filter that "all" gave them', async (t) => {
  t.equal(await sysctl('conf.all.rp_filter'), '0')
  t.equal(await sysctl('conf.other.rp_filter'), '1')
  t.equal(await sysctl('conf.default.rp_filter'), '1', 'and those to come')
  t.equal(await sysctl('conf.ringpath_host.rp_filter'), '0')
  t.equal(await sysctl('conf.ringpath_host.accept_local'), '1')
})

t.test('what somebody takes away is set up again', async (t) => {
  await lab.ip(node, ['route del 10.0.1.0/24 dev ringpath_host'])
  await lab.sysctl(node, { 'net.ipv4.ip_forward': '0' })
  const isBack = async () =>
    /10.0.1.0\/24 dev ringpath_host/.test(await ip('route')) && (await sysctl('ip_forward')) === '1'
  await live.until('the set-up', isBack, 15_000)
  t.pass()
})

/** Without a route there is no ping at all. */
const reaches = async (from: typeof node, address: string) =>
  (await ping(lab, from, address).catch(() => undefined))?.received === 3

t.test('a host pair that is deleted is made anew, and leads to pods again', OPTIONS, async (t) => {
  const mac = await ip('-br', 'link', 'show', 'ringpath_host')
  await lab.ip(node, ['link del ringpath_host'])
  await live.until('the pod', () => reaches(node, client.address), 30_000)
  t.not(await ip('-br', 'link', 'show', 'ringpath_host'), mac, 'with another MAC address')
  t.ok(await reaches(client, '10.0.0.1'))
  t.match(live.process?.output, /"kind":"Host".*"fields":\["mac","nodeMac"\],"msg":"update"/)
})

t.test('a pod’s veth that is made anew leads to it again', OPTIONS, async (t) => {
  await lab.ip(node, [`link del ${client.device}`])
  const spec = { ...client, podNetns: client.netns, hostMac: '02:00:00:00:0c:01' }
  await lab.ip(node, podLinkLines(spec))
  await lab.ip(client, podAddressLines(spec))
  await live.until('the pod', () => reaches(node, client.address), 30_000)
  t.ok(await reaches(client, server.address))
  const { failures } = await live.json<{ failures: unknown[] }>('status')
  t.same(failures, [])
})

t.test('cleanup from another network namespace refuses, and leaves everything', async (t) => {
  const directory = live.path('state')
  const { agent, datapath } = await live.status()
  const args = [CLI, 'cleanup', '--remove', '--state', directory]
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' })
  t.same([status, stdout], [1, ''])
  t.match(stderr, `clean up there, by \`ip netns exec ${node.netns} ringpath cleanup …\``)
  t.match(JSON.parse(readFileSync(join(directory, 'node-setup.json'), 'utf8')), { hasPair: true })
  t.match(await live.status(), { agent: { pid: agent.pid }, datapath: { pid: datapath.pid } })
})

t.test('a second agent finds it as it is; cleanup puts everything back', async (t) => {
  await live.process?.stop('SIGKILL')
  await live.start()
  t.notMatch(live.process?.output, /node set up/)
  t.equal((await ping(lab, node, client.address)).received, 3)
  const before = readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8')
  t.match(putNodeBack(live.path('state'), makeLog('error')), [/in another network namespace/])
  t.equal(readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8'), before)
  const { stdout } = await live.cli('cleanup')
  t.match(stdout, /route to 10.0.1.0\/24 removed/)
  t.match(stdout, /net.ipv4.ip_forward 1 → 0/)
  t.match(stdout, /pair ringpath_host removed/)
  t.equal(await sysctl('ip_forward'), '0')
  t.equal(await sysctl('conf.all.rp_filter'), '1')
  t.equal(await sysctl('conf.other.rp_filter'), '0')
  t.notMatch(await ip('link'), /ringpath/)
  t.notMatch(await ip('route'), /proto 114/)
  t.match(JSON.parse(readFileSync(live.path('state/node-setup.json'), 'utf8')), { routes: [] })
})

t.test('what is there already is left to whoever made it', async (t) => {
  await lab.hostPair(node, { address: '10.0.0.1', podCidr: '10.0.1.0/24' })
  await lab.ip(node, ['route add 10.96.0.0/12 dev other'])
  await live.start()
  const { hasPair, routes, problems } = await setup()
  t.equal(hasPair, false)
  t.same(routes, [], 'the pair’s maker made those routes, too')
  t.same(problems, ['route to 10.96.0.0/12: there is one by other; remove it'])
  t.equal((await ping(lab, node, client.address)).received, 3)
  await live.cli('cleanup')
  t.match(await ip('route'), /10.0.1.0\/24 dev ringpath_host/)
  t.match(await ip('link'), /ringpath_host/)
  await lab.ip(node, ['link del ringpath_host', 'route del 10.96.0.0/12 dev other'])
})

t.test('host.managed: false leaves the node alone', async (t) => {
  live.writeNode('host: { addresses: [10.0.0.1], managed: false }')
  await lab.ip(node, ['link add ringpath_host type veth peer name ringpath_net'])
  await live.start()
  t.match(await setup(), { managed: false, routes: [], sysctls: [] })
  t.equal(await sysctl('ip_forward'), '0')
  t.match((await live.cli('status')).stdout, /Set-up {5}not by the agent/)
})

t.end()
