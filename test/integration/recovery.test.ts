/** Breaking it on purpose: a killed datapath, restarts, frames that nobody should send. */
import { fileURLToPath } from 'node:url'
import t from 'tap'
import type { DatapathProcess } from '../../src/daemon/datapath-process.js'
import { httpGet, httpServer, ping } from '../../src/lab/traffic.js'
import { LiveNode, type LivePod } from '../support/live-node.js'
import { eth } from '../support/packet-builder.js'
import { TransferUnderWay } from '../support/transfer-under-way.js'

const live = await LiveNode.create('recovery')
t.after(() => live.close())
const client = await live.pod('client')
const server = await live.pod('server')
await live.start()

const program = (name: string) =>
  fileURLToPath(new URL(`../support/programs/${name}.js`, import.meta.url))

t.test('a datapath killed with -9 leaves no XDP program, and a new one goes on', async (t) => {
  t.equal((await live.devicesWithXdp()).length, 3)
  const to = { ns: server, address: server.address, port: 8080 }
  const web = await httpServer(live.lab, to, 'docs')
  // The pod knows its gateway's MAC: a kernel that asked in vain a moment ago does not ask at once.
  t.equal((await ping(live.lab, client, server.address)).received, 3)
  const entries = live.maps.conntrackTable.size
  await live.datapath?.kill()
  t.same(await live.devicesWithXdp(), [])
  t.equal((await ping(live.lab, client, server.address, { waitSeconds: 1 })).received, 0)

  await live.start()
  t.ok(live.maps.conntrackTable.size >= entries, 'the connection table survived')
  t.equal((await ping(live.lab, client, server.address)).received, 3)
  t.equal((await httpGet(live.lab, client, `http://${server.address}:8080/`)).status, 200)
  await web.stop()
})

t.test(
  'a TCP transfer survives a datapath that is killed and started again',
  { timeout: 60_000 },
  async (t) => {
    const to = { ns: server, address: server.address, port: 5005 }
    const transfer = await TransferUnderWay.of(live, client, to, 400)
    await live.datapath?.kill()
    t.notOk(transfer.isOver, 'in the midst of it')
    await live.start()
    const report = await transfer.report
    t.equal(report.receivedHash, report.sentHash)
  },
)

t.test('SIGTERM stops it in good order, with every frame accounted for', async (t) => {
  const datapath = live.datapath as DatapathProcess
  t.equal(await datapath.stop(), 0)
  t.match(datapath.output.at(-1), /every frame accounted for/)
  t.same(await live.devicesWithXdp(), [])
  await live.start()
})

t.test('malformed transport headers between good traffic are counted drops', async (t) => {
  const before = live.dropped(135) + live.dropped(137)
  const pings = ping(live.lab, client, server.address, { count: 20 })
  const args = [program('inject-raw'), server.address, '20']
  const { stdout } = await live.lab.exec(client, process.execPath, args)
  const { sent } = JSON.parse(stdout) as { sent: number }
  t.equal((await pings).received, 20, 'good traffic passes meanwhile')
  t.equal(live.dropped(135) + live.dropped(137) - before, sent)
})

t.test('malformed frames of every length between good traffic are counted drops', async (t) => {
  const before = [134, 166].map((code) => live.dropped(code))
  const frames = malformed(client, server)
  const input = frames.map((frame) => Buffer.from(frame).toString('hex')).join('\n')
  const pings = ping(live.lab, client, server.address, { count: 20 })
  const args = [program('inject-frames'), 'eth0']
  const { stdout, stderr } = await live.lab.exec(client, process.execPath, args, { input })
  t.equal(
    (JSON.parse(stdout || `{"error":${JSON.stringify(stderr)}}`) as { sent: number }).sent,
    frames.length,
  )
  t.equal((await pings).received, 20, 'good traffic passes meanwhile')
  await new Promise((resolve) => setTimeout(resolve, 300))
  const dropped = [134, 166].map((code, i) => live.dropped(code) - (before[i] as number))
  t.equal((dropped[0] as number) + (dropped[1] as number), frames.length)
})

/**
 * A whole frame cut at each length that an Ethernet device still sends, and lengths in it that lie.
 */
function malformed(from: LivePod, to: LivePod): Uint8Array[] {
  const link = eth({ from: from.podMac, to: from.hostMac })
  const address = { from: from.address, to: to.address }
  const whole = link.ipv4(address).tcp({ from: 1, to: 2 }).payload('x'.repeat(20)).bytes()
  const frames = []
  for (let length = 14; length < whole.length; length++) frames.push(whole.subarray(0, length))
  frames.push(
    link
      .ipv4({ ...address, version: 5 })
      .udp({})
      .bytes(),
  )
  frames.push(
    link
      .ipv4({ ...address, headerWords: 4 })
      .udp({})
      .bytes(),
  )
  frames.push(
    link
      .ipv4({ ...address, totalLength: 65_535 })
      .udp({})
      .bytes(),
  )
  return frames
}

t.end()
