/** What is measured is what happens: loss, delay, duplicates and disorder that are made on purpose. */
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { PacketBuffer } from '../../src/packet/packet-buffer.js'
import { FrameWriter } from '../../src/pktgen/frame-writer.js'
import { planOf } from '../../src/pktgen/plan.js'
import { parseRate } from '../../src/pktgen/rate.js'
import type { SearchResult } from '../../src/pktgen/rate-search.js'
import { Sink } from '../../src/pktgen/sink.js'
import { parseSizes } from '../../src/pktgen/size-mix.js'
import { PktgenLab, RECEIVER } from '../support/pktgen-lab.js'

const INJECT = fileURLToPath(new URL('../support/programs/inject-frames.js', import.meta.url))
/** A link of 8 Mbit/s: 1514 bytes take 1.5 ms. */
const SLOW = 'tbf rate 8mbit burst 2000 latency'

async function dropsOf(lab: PktgenLab): Promise<number> {
  const netns = lab.sender.netns.replace(/sender$/, 'middle')
  const { stdout } = await lab.lab.exec({ name: 'middle', netns }, 'tc', ['-s', '-j', 'qdisc'])
  const all = JSON.parse(stdout) as { kind: string; drops: number }[]
  return all.find(({ kind }) => kind === 'tbf')?.drops ?? Number.NaN
}

for (const hook of ['xdp', 'af-xdp']) {
  t.test(`what a queue on the way drops is lost, says ${hook}`, async (t) => {
    const lab = await PktgenLab.bridged(`${SLOW} 50ms`)
    t.teardown(() => lab.close())
    const words = `--to ${RECEIVER} SINK --sink-hook ${hook} --size 1514 --settle 1`
    const result = await lab.result(`${words} --count 1000 --rate 4000`)
    const drops = await dropsOf(lab)
    t.ok(drops > 100, `${drops} were dropped`)
    t.match(result, { sent: 1000, lost: drops, received: 1000 - drops })
    t.match(result, { duplicates: 0, reordered: 0 })
  })
}

t.test('the time spent in a queue is the latency', async (t) => {
  const lab = await PktgenLab.bridged(`${SLOW} 2000ms`)
  t.teardown(() => lab.close())
  // A burst of 200 fills the queue for 300 ms; the first does not wait, the last for all of it.
  const words = `--to ${RECEIVER} SINK --size 1514 --count 200 --rate max --settle 1.5`
  const { latency, lost } = await lab.result(words)
  t.equal(lost, 0)
  const milliseconds = (nanoseconds = 0) => nanoseconds / 1e6
  t.ok(milliseconds(latency?.max) > 250 && milliseconds(latency?.max) < 600)
  t.ok(milliseconds(latency?.p50) > 110 && milliseconds(latency?.p50) < 400)
  t.ok(milliseconds(latency?.min) < 50)
})

t.test('the search finds the speed of a slow link', async (t) => {
  // A sender that stands still for a moment makes up for it: the queue has room for 200 frames.
  const lab = await PktgenLab.bridged(`${SLOW} 200ms`)
  t.teardown(() => lab.close())
  const search = '--search --trial 1 --settle 0.4 --attempts 2 --resolution 20'
  const range = '--search-from 50 --search-to 4000'
  const { code, stdout, stderr } = await lab.pktgen(
    `--to ${RECEIVER} SINK --size 1000 ${search} ${range} -o json`,
  )
  t.equal(code, 0, stderr)
  const lines = stdout.trim().split('\n')
  const result = JSON.parse(lines.at(-1) ?? '') as SearchResult
  // 1000 frames of 1000 bytes a second, and what the queue takes of a second.
  t.ok(result.rate > 800 && result.rate < 1_300, `${result.rate} frames per second`)
  t.equal(lines.length, result.trials.length + 1, 'each trial is told as it ends')
})

for (const hook of ['xdp', 'tc', 'af-xdp'] as const) {
  t.test(`duplicates and disorder are told apart, says ${hook}`, async (t) => {
    const lab = await PktgenLab.direct()
    t.teardown(() => lab.close())
    const frames = framesOf(10)
    const namespace = lab.receiver.netns
    const sink = await Sink.start({ device: 'in0', hook, flows: 1, namespace })
    const order = [0, 1, 3, 2, 3, 4, 8, 9, 5, 9]
    const input = order.map((n) => frames[n]).join('\n')
    await lab.lab.exec(lab.sender, process.execPath, [INJECT, 'out0'], { input })
    await new Promise((resolve) => setTimeout(resolve, 300))
    t.match(await sink.read(), {
      frames: order.length,
      duplicates: 2,
      // 2 behind 3, and 5 behind 9.
      reordered: 2,
      reorderExtent: 4,
      highest: 10,
    })
    await sink.reset()
    t.match(await sink.read(), { frames: 0, duplicates: 0, reordered: 0, highest: 0 })
    await sink.close()
  })
}

/** Hex of the first frames of a plan. */
function framesOf(count: number): readonly string[] {
  const memory = new ArrayBuffer(2048)
  const packet = new PacketBuffer(memory, 2048)
  const one = { first: 1024, count: 1 }
  const writer = new FrameWriter(
    planOf({
      mode: 'udp',
      sourceMac: '02:00:00:00:00:01',
      destinationMac: '02:00:00:00:00:02',
      vlan: 0,
      sources: { first: 0x0a090001, count: 1 },
      destinations: { first: 0x0a090002, count: 1 },
      sourcePorts: one,
      destinationPorts: one,
      flows: 1,
      sizes: parseSizes('60'),
      rate: parseRate('max'),
      frames: 0,
      seconds: 0,
      hasTimestamps: false,
      hasUdpChecksum: true,
      framesPerConnection: 3,
    }),
  )
  return Array.from({ length: count }, () => {
    packet.attach(0, 0)
    writer.write(packet, 0, 0)
    return Buffer.from(memory.slice(0, packet.length)).toString('hex')
  })
}
