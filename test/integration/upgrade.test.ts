/**
 * Processes that end, one after another, under a TCP transfer and a packet each millisecond: how long
 * nothing comes through is printed for each. An upgrade that cannot hand its sockets over (another
 * steering program, several workers) attaches the devices anew.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { Role, readyHolderOf } from '../../src/daemon/process-lock.js'
import { transferWithHash } from '../../src/lab/traffic.js'
import { GapStream } from '../support/gap-stream.js'
import { LiveAgent } from '../support/live-agent.js'

const OPTIONS = { timeout: 90_000 }
const MARK = fileURLToPath(
  new URL('../../../test/support/programs/other-program.py', import.meta.url),
)
const SETTLE_SECONDS = 1
/** Beside other tests; docs/operations.md has what was measured alone. */
const SILENCE_MILLISECONDS_MAX = 5_000

const live = await LiveAgent.create('upgrade', { isTrained: true })
t.after(() => live.close())
const { lab } = live
const pod = async (name: string, address: string) => {
  const made = await lab.pod(live.node, name, { address, queues: 2 })
  live.endpoint(made)
  return made
}
const client = await pod('client', '10.0.1.1')
const server = await pod('server', '10.0.1.2')
await live.start()

type Test = typeof t
const seconds = (count: number) => new Promise((resolve) => setTimeout(resolve, count * 1000))
const pidOf = async () => (await live.status()).datapath.pid ?? 0

/** Waits for one that stands by, with everything ready. */
async function standby(): Promise<number> {
  const state = live.path('state')
  await live.until(
    'a datapath that stands by',
    async () => readyHolderOf(state, Role.STANDBY) !== undefined,
    30_000,
  )
  return readyHolderOf(state, Role.STANDBY) ?? 0
}

/** XDP programs of the node's devices, as the kernel numbers them. */
async function programs(): Promise<readonly (number | undefined)[]> {
  const { stdout } = await lab.exec(live.node, 'ip', ['-json', '-details', 'link', 'show'])
  const links = JSON.parse(stdout) as { xdp?: { prog: { id: number } } }[]
  return links.flatMap(({ xdp }) => (xdp === undefined ? [] : [xdp.prog.id]))
}

let port = 5001

/** Does it under a transfer and a stream; the longest silence, in milliseconds, is printed. */
async function under(t: Test, what: string, act: () => Promise<void>): Promise<number> {
  const to = { ns: server, address: server.address, port: port++ }
  const stream = await GapStream.start(lab, client, server, port++)
  const transfer = transferWithHash(lab, client, to, 40)
  await seconds(0.3)
  await stream.gap()
  await act()
  await seconds(SETTLE_SECONDS)
  const milliseconds = await stream.gap()
  const { receivedHash, sentHash } = await transfer
  t.equal(receivedHash, sentHash, 'the transfer went on')
  const { sent, received } = await stream.stop()
  t.comment(`${what}: ${milliseconds} ms without a packet, ${sent - received} of ${sent} lost`)
  return milliseconds
}

async function upgrade(t: Test): Promise<string> {
  const { code, stdout, stderr } = await live.cli('upgrade')
  t.equal(code, 0, stdout + stderr)
  return stdout
}

t.test('kill -9 of the agent', OPTIONS, async (t) => {
  await standby()
  const milliseconds = await under(t as Test, 'kill -9 of the agent', async () => {
    process.kill((await live.status()).agent.pid, 'SIGKILL')
  })
  t.ok(milliseconds < SILENCE_MILLISECONDS_MAX, `${milliseconds} ms`)
  await live.start()
})

t.test('kill -9 of the datapath', OPTIONS, async (t) => {
  await standby()
  const milliseconds = await under(t as Test, 'kill -9 of the datapath', async () => {
    process.kill(await pidOf(), 'SIGKILL')
  })
  t.ok(milliseconds < SILENCE_MILLISECONDS_MAX, `${milliseconds} ms`)
  const { datapath } = await live.status()
  t.equal(datapath.deaths, 1)
  t.type(datapath.lastRepairMilliseconds, 'number')
})

t.test('SIGSTOP of the datapath: it is replaced, and does not come back', OPTIONS, async (t) => {
  const next = await standby()
  await seconds(1)
  const before = await pidOf()
  const milliseconds = await under(t as Test, 'SIGSTOP of the datapath', async () => {
    process.kill(before, 'SIGSTOP')
    await seconds(0.5)
  })
  t.ok(milliseconds < SILENCE_MILLISECONDS_MAX, `${milliseconds} ms`)
  const reasons = [...(live.process?.output ?? '').matchAll(/"reason":"([^"]*)"/g)]
  t.same(
    reasons.map(([, reason]) => reason),
    ['it is stopped'],
  )
  t.equal(await pidOf(), next)
  // It has been killed; it is gone when the kernel has freed its memory, of which there are hundreds of megabytes.
  for (let turn = 0; turn < 50 && existsSync(`/proc/${before}`); turn++) await seconds(0.1)
  t.throws(() => process.kill(before, 'SIGCONT'), { code: 'ESRCH' })
})

t.test('an upgrade with another steering program falls back, and tells so', OPTIONS, async (t) => {
  await standby()
  const before = await programs()
  const directories = live.pins.devices.map((device) => join(live.pins.path, device))
  t.equal(directories.length, 3)
  const { stdout } = await lab.exec(live.node, 'python3', [MARK, ...directories])
  t.equal(stdout.match(/marked/g)?.length, 3)
  let said = ''
  const milliseconds = await under(t as Test, 'upgrade, another program', async () => {
    said = await upgrade(t as Test)
  })
  t.match(said, /has another version of the steering program; process \d+ ends instead/)
  t.match(said, /process \d+ is the datapath now/)
  t.ok(milliseconds < SILENCE_MILLISECONDS_MAX, `${milliseconds} ms`)
  const areOthers = async () => {
    const after = await programs()
    return after.length === 3 && !after.some((id) => before.includes(id))
  }
  await live.until('other programs on the devices', areOthers)
  const { stdout: log } = await lab.exec(live.node, 'cat', [live.path('state/datapath.log')])
  t.match(log, /not taken over from \d+: .* has another version of the steering program/)
})

t.test('an upgrade without anything in the way', OPTIONS, async (t) => {
  const next = await standby()
  const { deaths } = (await live.status()).datapath
  let said = ''
  const milliseconds = await under(t as Test, 'upgrade', async () => {
    said = await upgrade(t as Test)
  })
  t.comment(said.trim())
  t.match(said, /ports handed from \d+ to \d+: [\d.]+ ms without packets/)
  t.ok(milliseconds < SILENCE_MILLISECONDS_MAX, `${milliseconds} ms`)
  const { datapath } = await live.status()
  t.not(datapath.pid, next, 'one that was started for it')
  t.equal(datapath.deaths, deaths, 'nobody died')
  t.match(live.process?.output, /datapath handed over/)
})

t.test('an upgrade to two workers falls back as well', OPTIONS, async (t) => {
  await live.restart(`datapath: { pinDirectory: ${live.pins.path}, workers: 2 }`)
  t.match((await live.status()).problems, [/spec.datapath.workers: 2, expected 1/])
  let said = ''
  const milliseconds = await under(t as Test, 'upgrade from one worker to two', async () => {
    said = await upgrade(t as Test)
  })
  t.match(said, /several workers.*; process \d+ ends instead/)
  t.ok(milliseconds < SILENCE_MILLISECONDS_MAX, `${milliseconds} ms`)
  t.same((await live.status()).problems, [])
})

t.end()
