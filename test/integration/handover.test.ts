/**
 * A datapath hands its running sockets to the next one: nothing is attached anew, no frame is lost
 * or counted twice, and what goes wrong before the end leaves the first one as it was. The time
 * without packets is printed.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { DescriptorChannel } from 'xdp-socket-napi'
import { HANDOVER_VERSION, type Hello, handoverPath } from '../../src/engine/handover/messages.js'
import { ping, transferWithHash } from '../../src/lab/traffic.js'
import { PortMode } from '../../src/port/port-table.js'
import { GapStream } from '../support/gap-stream.js'
import { HandOvers } from '../support/hand-overs.js'
import { LiveNode } from '../support/live-node.js'

const HANDOVERS = 4

const live = await LiveNode.create('handover', { hasUplink: true })
t.after(() => live.close())
const client = await live.pod('client')
const server = await live.pod('server')
await live.start()
const { lab, directory } = live
const handOvers = new HandOvers(live)

type Test = typeof t
const seconds = (count: number) => new Promise((resolve) => setTimeout(resolve, count * 1000))

/** XDP links of the node, as the kernel numbers them: the same number is the same program. */
async function programs(): Promise<string> {
  const { stdout } = await lab.exec(live.node, 'ip', ['-json', '-details', 'link', 'show'])
  const links = JSON.parse(stdout) as { ifname: string; xdp?: { prog: { id: number } } }[]
  return links.map(({ ifname, xdp }) => `${ifname} ${xdp?.prog.id ?? '-'}`).join(', ')
}

const received = (port: number) => live.portStatistics(port).receivedFrames

t.test('a datapath hands its sockets to the next one under a paced stream', async (t) => {
  const before = await programs()
  const countedBefore = received(client.port)
  const stream = await GapStream.start(lab, client, server)
  for (let i = 0; i < HANDOVERS; i++) {
    const taker = await handOvers.standby()
    await seconds(0.3)
    await stream.gap()
    await seconds(0.3)
    const quiet = await stream.gap()
    const line = await handOvers.run(taker)
    await seconds(0.1)
    t.comment(`${line}; without a packet ${await stream.gap()} ms, and ${quiet} ms at other times`)
    t.equal(await programs(), before, 'the same programs are on the devices')
  }
  const report = await stream.stop()
  t.comment(`${HANDOVERS} hand-overs: ${report.received} of ${report.sent} packets came back`)
  t.ok(report.received > report.sent * 0.99, `${report.received} of ${report.sent}`)
  // They are told four times a second.
  await seconds(0.5)
  t.ok(received(client.port) - countedBefore >= report.sent, 'the counters go on')
})

t.test('a TCP transfer goes on through hand-overs', { timeout: 120_000 }, async (t) => {
  const to = { ns: server, address: server.address, port: 5005 }
  const transfer = transferWithHash(lab, client, to, 300)
  for (let i = 0; i < 2; i++) t.comment(await handOvers.run())
  const report = await transfer
  t.equal(report.receivedHash, report.sentHash)
})

t.test('devices come and go after a hand-over, and a stop accounts for every frame', async (t) => {
  const pod = await live.pod('late')
  await handOvers.until('the late pod', () => live.isAttached(pod.port, handOvers.holder ?? 0))
  t.equal((await ping(lab, pod, server.address)).received, 3)
  t.equal((await ping(lab, client, live.address)).received, 3)
  live.maps.ports.release(pod.port)
  await handOvers.until('its end', () => !live.isAttached(pod.port, handOvers.holder ?? 0))
  live.maps.ports.request(pod.port, pod.device, PortMode.POD)
  await handOvers.until('its return', () => live.isAttached(pod.port, handOvers.holder ?? 0))
  t.equal((await ping(lab, pod, server.address)).received, 3)
  const last = handOvers.last
  await last?.stop('SIGTERM')
  t.match(last?.output, /datapath stopped: \d+ frames handled, every frame accounted for/)
  t.same(await live.devicesWithXdp(), [])
  await live.start()
  t.equal((await ping(lab, client, server.address)).received, 3)
})

t.test('a successor of another kind is refused with the reason, and packets go on', async (t) => {
  const taker = await handOvers.standby('--frames', '16384')
  const pings = ping(lab, client, server.address, { count: 40 })
  const before = handOvers.holder
  process.kill(taker.pid ?? 0, 'SIGUSR2')
  const [line] = await taker.waitForOutput(/not taken over .*/)
  t.match(line, /16384 frames, and there are 32768/)
  const note = JSON.parse(readFileSync(join(directory, 'handover.json'), 'utf8')) as object
  t.match(note, { type: 'not taken over', isRefused: true, pid: taker.pid })
  t.equal((await pings).received, 40)
  t.equal(handOvers.holder, before)
  await taker.stop('SIGKILL')
})

/** Goes as far as a successor may, and dies. */
async function diesAfter(t: Test, words: number): Promise<void> {
  const channel = DescriptorChannel.connect(handoverPath(directory, 0))
  const hello: Hello = {
    type: 'hello',
    version: HANDOVER_VERSION,
    pid: process.pid,
    frameCount: 32_768,
  }
  channel.send(JSON.stringify(hello))
  for (let i = 0; i < words; i++) t.ok(channel.receive(2_000), `message ${i}`)
  channel.close()
}

t.test('a successor that dies on the way disturbs nothing', async (t) => {
  const pings = ping(lab, client, server.address, { count: 100 })
  const before = handOvers.holder
  for (const words of [0, 1, 3]) await diesAfter(t as Test, words)
  t.equal((await pings).received, 100)
  t.equal(handOvers.holder, before)
  const pod = await live.pod('after')
  await handOvers.until('a new pod', () => live.isAttached(pod.port, before ?? 0))
  t.comment(await handOvers.run())
  t.equal((await ping(lab, pod, server.address)).received, 3)
})

t.test('a successor that is killed as it gets ready leaves the first one at work', async (t) => {
  const taker = await handOvers.standby()
  const before = handOvers.holder
  const pings = ping(lab, client, server.address, { count: 60 })
  process.kill(taker.pid ?? 0, 'SIGSTOP')
  process.kill(taker.pid ?? 0, 'SIGUSR2')
  process.kill(taker.pid ?? 0, 'SIGKILL')
  t.equal((await pings).received, 60)
  t.equal(handOvers.holder, before)
})

t.end()
