/** The agent's own files, damaged or on a full disk: nothing is opened by it, and it is told. */
import {
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import t from 'tap'
import { runOrFail } from '../../src/lab/command.js'
import { ping } from '../../src/lab/traffic.js'
import { LiveAgent } from '../support/live-agent.js'

const OPTIONS = { timeout: 60_000 }
const live = await LiveAgent.create('storage')
t.after(() => live.close())
const { lab, node } = live
const client = await live.pod('client', '10.0.1.1')
const server = await live.pod('server', '10.0.1.2')
await live.start()

const received = async () => (await ping(lab, client, server.address)).received

t.test('damaged documents: the agent does not begin, their policy holds', OPTIONS, async (t) => {
  const policy = live.path('closed.yaml')
  writeFileSync(
    policy,
    `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: closed }
spec:
  endpointSelector: { matchLabels: { app: client } }
  egressDeny: [{ toEndpoints: [{ matchLabels: { app: server } }] }]
`,
  )
  t.equal(await received(), 3)
  t.equal((await live.cli('apply', '-f', policy)).code, 0)
  t.equal(await received(), 0)
  await live.process?.stop()
  const path = live.path('data/documents.json')
  const good = readFileSync(path)
  truncateSync(path, 200)
  const agent = [process.execPath, 'dist/src/cli/ringpath.js', 'agent', '-c']
  const { code, stderr } = await lab.exec(node, agent[0] ?? '', [
    ...agent.slice(1),
    live.path('node.yaml'),
  ])
  t.not(code, 0)
  t.match(stderr, `ringpath: ${path}: 200 characters that are no JSON`)
  t.match(stderr, /expected the documents of this node, version 1: restore it, or move it away/)
  t.equal(readFileSync(path).length, 200, 'it is not overwritten')
  t.equal(await received(), 0, 'the datapath goes on with what was applied')
  writeFileSync(path, good)
  await live.start()
  t.equal(await received(), 0)
  const remove = await live.cli('delete', 'CiliumNetworkPolicy', 'closed')
  t.equal(remove.code, 0, remove.stderr)
  t.equal(await received(), 3)
})

/** As much as there is room for. */
function fill(path: string): void {
  try {
    for (;;) writeFileSync(path, 'x'.repeat(4096), { flag: 'a' })
  } catch {
    // Full.
  }
}

const lockdown = (name: string): string => `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: ${name} }
spec: { podSelector: { matchLabels: { app: server } } }
`

t.test(
  'a full data directory: told, survived, made good when there is room',
  OPTIONS,
  async (t) => {
    await live.process?.stop()
    const data = live.path('data')
    const text = readFileSync(`${data}/documents.json`)
    await runOrFail('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'none', data])
    t.teardown(() => runOrFail('umount', ['-l', data]))
    writeFileSync(`${data}/documents.json`, text)
    await live.start()
    fill(`${data}/full`)
    live.manifest('lockdown.yaml', lockdown('lockdown'))
    const problem = `${data}/documents.json: file: not written: ENOSPC, no space left on device`
    const isTold = async () => (await live.status()).problems.some((p) => p.startsWith(problem))
    await live.until('the problem', isTold)
    t.equal(await received(), 3, 'the state in force stays')
    const file = live.path('request.yaml')
    writeFileSync(file, lockdown('request'))
    const apply = await live.cli('apply', '-f', file)
    t.not(apply.code, 0)
    t.match(apply.stderr, `${data}/documents.json: not written: ENOSPC, no space left on device`)
    t.equal(live.process?.output.match(/manifest refused/g)?.length, 1, 'logged once')
    await live.process?.stop()
    await live.start()
    t.ok(await isTold(), 'an agent that begins on a full disk')
    t.equal(await received(), 3)
    rmSync(`${data}/full`)
    await live.until('no problem', async () => (await live.status()).problems.length === 0)
    t.equal(await received(), 0)
    live.removeManifest('lockdown.yaml')
    await live.until('no policy', async () => (await received()) === 3)
  },
)

t.test('a set-up that cannot be written down is not done, but told', OPTIONS, async (t) => {
  const path = live.path('state/node-setup.json')
  const record = readFileSync(path)
  // Nothing can take a directory's place.
  rmSync(path)
  mkdirSync(path)
  const guest = await live.pod('guest', '10.9.9.9')
  const problems = async () =>
    (await live.json<{ setup: { problems: string[] } }>('status')).setup.problems
  await live.until('the problem', async () => (await problems()).length > 0)
  t.match(await problems(), [`${path}: not written: EISDIR`])
  const route = async () => (await lab.exec(node, 'ip', ['route', 'show', guest.address])).stdout
  t.equal(await route(), '')
  rmSync(path, { recursive: true })
  writeFileSync(path, record)
  await live.until('the route', async () => /dev ringpath_host/.test(await route()), 15_000)
  t.match(readFileSync(path, 'utf8'), guest.address)
  t.same(await problems(), [])
  live.removeManifest('endpoint-guest.yaml')
})

t.test('a damaged record of the set-up is told until it is removed', OPTIONS, async (t) => {
  const setup = async () =>
    (await live.json<{ setup: { problems: string[] } }>('status')).setup.problems
  await live.process?.stop()
  const path = live.path('state/node-setup.json')
  const aside = `${path}.damaged`
  truncateSync(path, 60)
  await live.start()
  t.match(await setup(), [`${aside}: 60 characters that are no JSON`])
  t.match(live.process?.output, /"level":"error".*set-up of an earlier agent unknown/)
  t.match((await live.cli('status')).stdout, /pending: .*node-setup\.json\.damaged/)
  await live.process?.stop()
  await live.start()
  t.match(await setup(), [/routes of protocol 114, host pair and sysctls may be left/])
  const { stdout } = await live.cli('cleanup')
  t.match(stdout, /node-setup\.json\.damaged: .*may be left as they are; see to them/)
  t.ok(existsSync(aside))
  renameSync(aside, live.path('seen-to'))
  await live.start()
  t.same(await setup(), [])
})

t.end()
