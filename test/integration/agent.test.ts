/** The agent on real AF_XDP: documents in, traffic out, and killed in the middle of it. */
import { readFileSync } from 'node:fs'
import t from 'tap'
import { holderOf, Role } from '../../src/daemon/process-lock.js'
import { httpGet, httpServer, ping, transferWithHash } from '../../src/lab/traffic.js'
import type { Flow } from '../../src/observe/flow.js'
import { readCapture } from '../../src/port/pcap/open-capture.js'
import { LiveAgent } from '../support/live-agent.js'

const live = await LiveAgent.create('agent', { isTrained: true })
t.after(() => live.close())
const client = await live.pod('client', '10.0.1.1')
const server = await live.pod('server', '10.0.1.2')
const { lab } = live
await live.start()

type Test = typeof t
const seconds = (count: number) => new Promise((resolve) => setTimeout(resolve, count * 1000))

t.test('endpoints of the manifests are attached and reach each other and the node', async (t) => {
  const rows = await live.json<{ name: string; status: string }[]>('endpoint')
  t.same(rows.map(({ name }) => name).sort(), ['default/client', 'default/server', 'host'])
  t.ok(
    rows.every(({ status }) => status === 'attached'),
    JSON.stringify(rows),
  )
  t.equal((await ping(lab, client, server.address)).received, 3)
  t.equal((await ping(lab, client, '10.0.0.1')).received, 3)
})

t.test('a service is found by its selector, and goes with its document', async (t) => {
  const web = await httpServer(lab, { ns: server, address: server.address, port: 8080 }, 'docs')
  const document = `apiVersion: v1
kind: Service
metadata: { name: web }
spec: { clusterIP: 10.96.0.10, selector: { app: server }, ports: [{ port: 80, targetPort: 8080 }] }
`
  live.manifest('web.yaml', document)
  const isThere = async () => (await live.json<unknown[]>('service')).length === 1
  await live.until('the service', isThere)
  t.equal((await httpGet(lab, client, 'http://10.96.0.10/')).status, 200)
  live.removeManifest('web.yaml')
  await live.until('no service', async () => !(await isThere()))
  await web.stop()
})

t.test('a wrong document is told with its place and disturbs nothing', async (t) => {
  live.manifest(
    'endpoint-server.yaml',
    'apiVersion: ringpath.io/v1\nkind: Endpoint\nmetadata: {}\n',
  )
  await live.until('the problem', async () => (await live.status()).problems.length > 0)
  t.match((await live.status()).problems.join('\n'), /endpoint-server.yaml:\d+: Endpoint/)
  t.equal((await ping(lab, client, server.address)).received, 3)
  const spec = `{ device: ${server.device}, address: 10.0.1.2, mac: "${server.podMac}" }`
  const head = 'apiVersion: ringpath.io/v1\nkind: Endpoint'
  const text = `${head}\nmetadata: { name: server, labels: { app: server } }\nspec: ${spec}\n`
  live.manifest('endpoint-server.yaml', text)
  await live.until('no problem', async () => (await live.status()).problems.length === 0)
})

t.test('a policy closes, the drop is explained by its number, the policy opens', async (t) => {
  const policy = (from: string) => `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: server-in }
spec:
  podSelector: { matchLabels: { app: server } }
  ingress: [{ from: [{ podSelector: { matchLabels: { app: ${from} } } }] }]
`
  live.manifest('policy.yaml', policy('nobody'))
  await live.until('the rule', async () => {
    const { stdout } = await live.cli('trace', '--in', 'client', '--to', 'server:80')
    return /DROPPED 133/.test(stdout)
  })
  t.equal((await ping(lab, client, server.address, { waitSeconds: 1 })).received, 0)
  const { stdout: lines } = await live.cli('drops', '--reason', 'POLICY_DENIED', '-o', 'json')
  const [drop] = lines.trim().split('\n')
  const flow = JSON.parse(drop ?? '{}') as Flow
  t.match(flow, { source: '10.0.1.1', destination: '10.0.1.2', dropCode: 133 })
  const { stdout: why } = await live.cli('why', `${flow.id}`)
  t.match(why, /default\/client/)
  t.match(why, /ingress policy of default\/server: denied/)
  const file = live.path('drops.pcapng')
  t.equal((await live.cli('drops', '-w', file)).code, 0)
  const frame = readCapture(readFileSync(file)).next()
  t.match(frame?.comments, [/^#\d+ DROPPED 133 POLICY_DENIED; stage IPV4_TO_ENDPOINT/])
  t.equal(frame?.originalLength, 98)
  live.manifest('policy.yaml', policy('client'))
  await live.until('the other rule', async () => {
    const { stdout } = await live.cli('trace', '--in', 'client', '--to', 'server:80')
    return /NetworkPolicy default\/server-in/.test(stdout) && /FORWARDED/.test(stdout)
  })
  t.equal((await ping(lab, client, server.address)).received, 3)
  live.removeManifest('policy.yaml')
})

/** Kills the agent and starts another one; both must have the same datapath. */
async function replaceAgent(t: Test): Promise<void> {
  const before = await live.status()
  t.notMatch(live.process?.output, /datapath hangs/, 'a busy machine is no reason')
  process.kill(before.agent.pid, 'SIGKILL')
  await seconds(0.3)
  await live.start()
  const after = await live.status()
  t.not(after.agent.pid, before.agent.pid)
  t.equal(after.datapath.pid, before.datapath.pid, 'the same datapath')
  t.match(live.process?.output, /datapath adopted/)
  t.notMatch(live.process?.output, /"msg":"(create|update|delete)"/, 'nothing was applied again')
}

t.test('kill -9 of the agent loses no packet; a new one adopts the datapath', async (t) => {
  const pings = ping(lab, client, server.address, { count: 60 })
  await seconds(0.3)
  await replaceAgent(t as Test)
  const { sent, received } = await pings
  t.equal(received, sent)
})

t.test('a TCP transfer goes on while the agent is killed and started again', async (t) => {
  const to = { ns: server, address: server.address, port: 5001 }
  const transfer = transferWithHash(lab, client, to, 100)
  await seconds(0.3)
  await replaceAgent(t as Test)
  const report = await transfer
  t.equal(report.receivedHash, report.sentHash)
})

/** Milliseconds without an answer while `act` is done: pings every 10 ms, counted. */
async function silence(act: () => Promise<void>): Promise<number> {
  const args = ['-n', '-i', '0.01', '-c', '300', '-W', '1', server.address]
  const pings = lab.exec(client, 'ping', args)
  await seconds(0.3)
  await act()
  const { stdout } = await pings
  const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(stdout) ?? []
  return (Number(sent) - Number(received)) * 10
}

const standby = () =>
  live.until('a datapath that stands by', async () => {
    return (await live.status()).datapath.standbyPid !== undefined
  })

const replaced = (pid: number | undefined) =>
  live.until('another datapath', async () => {
    const { datapath } = await live.status()
    return datapath.pid !== pid && datapath.isReady
  })

t.test('a datapath that is told to stop hands over to the one that stands by', async (t) => {
  await standby()
  await seconds(1)
  const before = await live.status()
  const milliseconds = await silence(async () => {
    process.kill(before.datapath.pid ?? 0, 'SIGTERM')
    await replaced(before.datapath.pid)
  })
  t.comment(`silent for ${milliseconds} ms`)
  t.ok(milliseconds < 1_000, `${milliseconds} ms`)
  t.equal((await live.status()).datapath.pid, before.datapath.standbyPid)
})

/** Processes whose command line has the text. */
const processesOf = async (text: string): Promise<string[]> => {
  const { stdout } = await lab.exec(live.node, 'pgrep', ['-f', text])
  return stdout.split('\n').filter(Boolean)
}

/** An agent that ends with a datapath stands by that has no role yet, and would take over. */
async function endsWithItsStandby(t: Test): Promise<void> {
  await live.start(['--stop-datapath'])
  await standby()
  const { standbyPid = 0 } = (await live.status()).datapath
  process.kill(standbyPid, 'SIGKILL')
  const command = `datapath-main.js --state ${live.path('state')} --standby`
  await live.until('another one, just begun', async () => {
    return (await processesOf(command)).some((pid) => Number(pid) !== standbyPid)
  })
  live.process?.kill('SIGTERM')
  await live.process?.ended
  t.same(await processesOf(`datapath-main.js --state ${live.path('state')}`), [])
}

t.test('SIGTERM leaves the datapath running, and a second agent is refused', async (t) => {
  const { datapath } = await live.status()
  const { stderr } = await lab.exec(live.node, process.execPath, [
    ...['--enable-source-maps', 'dist/src/cli/ringpath.js'],
    ...['agent', '-c', live.path('node.yaml')],
  ])
  t.match(stderr, /of process \d+ already/)
  await live.process?.stop('SIGTERM')
  t.equal((await ping(lab, client, server.address)).received, 3, 'without an agent')
  const rows = await live.json<unknown[]>('endpoint')
  t.equal(rows.length, 3, 'tables are read from the files')
  const trace = await live.cli('trace', '--in', 'client', '--to', 'server:80')
  t.match(trace.stdout, /FORWARDED/)
  await live.start(['--stop-datapath'])
  t.equal((await live.status()).datapath.pid, datapath.pid)
  // Not `stop`, which kills what takes long, as the end of two processes may.
  live.process?.kill('SIGTERM')
  await live.process?.ended
  t.equal(holderOf(live.path('state'), Role.DATAPATH), undefined)
  await endsWithItsStandby(t as Test)
  await live.start()
  t.match(await live.cli('cleanup'), { code: 0, stdout: /agent ended[\s\S]*datapath ended/ })
  for (const role of [Role.DATAPATH, Role.STANDBY]) {
    t.equal(holderOf(live.path('state'), role), undefined)
  }
})

t.end()
