/**
 * The yardstick in C does the pipeline's work: for the same frames it makes the same frames, byte for
 * byte, whether the pipeline's chain or its flow lane carried them.
 */
import t from 'tap'
import { ChainRig } from '../../bench/chain/chain-rig.js'
import { Yardstick, yardstickProblem } from '../../bench/chain/yardstick.js'
import {
  type ChainName,
  destinationOf,
  MEMORY_DEVICES,
  SENDER_PORT,
  scenarioMaps,
  writeScenario,
} from '../../bench/lib/node-scenario.js'
import { BURST_CAPACITY } from '../../src/base/limits.js'
import { Burst } from '../../src/packet/burst.js'
import { PacketBuffer } from '../../src/packet/packet-buffer.js'
import { Pipeline } from '../../src/pipeline/pipeline.js'
import { eth } from '../support/packet-builder.js'
import { parseFrame } from '../support/packet-parser.js'

const FLOWS = 20_000
const STRIDE_BYTES = 2048
const HEADROOM_BYTES = 256
const CHAINS: readonly ChainName[] = ['full', 'overlay', 'service', 'pod']

/** The pipeline on the same node, one frame at a time. */
class Ours {
  readonly #memory = new SharedArrayBuffer(STRIDE_BYTES)
  readonly #burst = new Burst(BURST_CAPACITY)
  readonly pipeline: Pipeline

  constructor() {
    const maps = scenarioMaps(FLOWS)
    writeScenario(maps, MEMORY_DEVICES, FLOWS)
    const packet = new PacketBuffer(this.#memory, STRIDE_BYTES)
    this.pipeline = new Pipeline(maps.stateFor(0, 1), packet, BURST_CAPACITY)
  }

  send(port: number, frame: Uint8Array): { port: number; frame: Uint8Array } {
    const burst = this.#burst
    const bytes = new Uint8Array(this.#memory)
    bytes.set(frame, HEADROOM_BYTES)
    burst.starts[0] = HEADROOM_BYTES
    burst.lengths[0] = frame.length
    burst.ports[0] = port
    burst.count = 1
    burst.setTime(1000, 0)
    this.pipeline.run(burst)
    const start = burst.starts[0] as number
    const out = burst.ports[0] as number
    return { port: out, frame: bytes.slice(start, start + (burst.lengths[0] as number)) }
  }
}

const { sender } = MEMORY_DEVICES
const ipFrom = (source: string, to: string, tos = 0, ttl = 64) =>
  eth({ from: sender.mac, to: sender.nodeMac }).ipv4({ from: source, to, tos, ttl })

/**
 * Frames of some flows to one destination: with and without checksum, of several sizes, TCP where
 * the policy lets it through to pods.
 */
function framesTo(to: string): Uint8Array[] {
  const frames: Uint8Array[] = []
  for (const flags of to.startsWith('10.96.') ? [] : ['SYN', 'ACK', 'PSH ACK', 'FIN ACK', 'SYN']) {
    for (let i = 0; i < 20; i++) {
      const segment = ipFrom(sender.address, to, i % 4).tcp({ from: 2000 + i, to: 80, flags })
      frames.push(segment.payload('y'.repeat(7 * i)).bytes())
    }
  }
  for (let i = 0; i < 150; i++) {
    const ports = { from: 1024 + ((i * 131) & 16_383), to: 5120 + (i & 1) }
    const ip = ipFrom(sender.address, to, i % 4)
    const data = 'x'.repeat(i * 8 + (i % 7))
    const options = i % 5 === 0 ? { ...ports, checksum: 0 } : ports
    frames.push(ip.udp(options).payload(data).bytes())
  }
  return frames
}

const hex = (frame: Uint8Array): string => Buffer.from(frame).toString('hex')

t.test('the yardstick can be built', async (t) => t.equal(yardstickProblem(), undefined))

for (const chain of CHAINS) {
  t.test(`${chain}: C and TypeScript make the same frames`, async (t) => {
    const c = await Yardstick.start(chain, FLOWS)
    t.teardown(() => c.close())
    const ours = new Ours()
    const differing: string[] = []
    const frames = framesTo(destinationOf(chain, MEMORY_DEVICES))
    // The second time the flow lane may carry them.
    for (const frame of [...frames, ...frames]) {
      const theirs = await c.send(SENDER_PORT, frame)
      const mine = ours.send(SENDER_PORT, frame)
      if (mine.port === theirs.port && hex(mine.frame) === hex(theirs.frame)) continue
      differing.push(
        `${hex(frame)}\n${mine.port} ${hex(mine.frame)}\n${theirs.port} ${hex(theirs.frame)}`,
      )
    }
    t.same(differing.slice(0, 2), [])
    const flows = new Set(
      frames.map((frame) => hex(frame.slice(23, 24)) + hex(frame.slice(26, 38))),
    )
    t.match(await c.counters(), { created: flows.size, dropped: 0, evicted: 0 })
  })
}

t.test('flows stay apart behind the translation, in C and in TypeScript', async (t) => {
  const flows = 40_000
  const c = await Yardstick.start('full', flows)
  t.teardown(() => c.close())
  await c.time(flows)
  t.equal((await c.counters()).connections, flows)
  const rig = new ChainRig('full', flows)
  rig.prime()
  t.equal(rig.maps.conntrackTable.size, 2 * flows, 'one of the service, one of the flow')
})

t.test('what the chain drops the yardstick drops', async (t) => {
  const c = await Yardstick.start('full', FLOWS)
  t.teardown(() => c.close())
  const ours = new Ours()
  const to = destinationOf('full', MEMORY_DEVICES)
  const good = ipFrom(sender.address, to).udp({ from: 1024, to: 5120 }).payload('x'.repeat(20))
  const bad = [
    ipFrom('10.0.0.99', to).udp({ from: 1024, to: 5120 }).bytes(),
    ipFrom(sender.address, '10.0.2.1').udp({ from: 1024, to: 7 }).bytes(),
    good.bytes().slice(0, 40),
  ]
  for (const [i, frame] of bad.entries()) {
    t.equal(ours.send(SENDER_PORT, frame).port, -1, `frame ${i} by the pipeline`)
    t.equal((await c.send(SENDER_PORT, frame)).port, -1, `frame ${i} by the yardstick`)
  }
  t.equal((await c.send(SENDER_PORT, good.bytes())).port, 2)
})

t.test('a checksum that the sender left half done is completed by both', async (t) => {
  const c = await Yardstick.start('full', FLOWS)
  t.teardown(() => c.close())
  const ours = new Ours()
  const to = destinationOf('full', MEMORY_DEVICES)
  const frame = ipFrom(sender.address, to).udp({ from: 1024, to: 5120 }).payload('12345').bytes()
  const view = new DataView(frame.buffer, frame.byteOffset)
  let sum = 17 + view.getUint16(38)
  for (let at = 26; at < 34; at += 2) sum += view.getUint16(at)
  view.setUint16(40, (sum & 0xffff) + (sum >>> 16))
  const theirs = await c.send(SENDER_PORT, frame)
  t.equal(hex(theirs.frame), hex(ours.send(SENDER_PORT, frame).frame))
  t.equal(parseFrame(theirs.frame.slice(50)).udp?.to, 7168)
})

t.test('the rig times both', async (t) => {
  const c = await Yardstick.start('full', 100)
  t.teardown(() => c.close())
  t.ok((await c.time(64_000)) > 0)
  const rig = new ChainRig('full', 100)
  t.equal(rig.run(1000), 1024)
  t.ok(Number.isFinite(rig.time(10_000)))
})
