/** The agent's own files, damaged: nothing is opened by it, and it is told. */
import { existsSync, readFileSync, renameSync, truncateSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { ping } from '../../src/lab/traffic.js'
import { LiveAgent } from '../support/live-agent.js'

const OPTIONS = { timeout: 60_000 }
const live = await LiveAgent.create('storage')
t.after(() => live.close())
const { lab, node } = live
const client = await live.pod('client', '10.0.1.1')
const server = await live.pod('server', '10.0.1.2')
await live.start()

const received = async () => (await ping(lab, client, server.address, { waitSeconds: 1 })).received

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
