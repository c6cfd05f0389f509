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
  RECEIVER_PORT,
  SENDER_PORT,
  scenarioMaps,
  UPLINK_PORT,
  writeScenario,
} from '../../bench/lib/node-scenario.js'
import { BURST_CAPACITY } from '../../src/base/limits.js'
import { Burst } from '../../src/packet/burst.js'
import { PacketBuffer } from '../../src/packet/packet-buffer.js'
import { Pipeline } from '../../src/pipeline/pipeline.js'
import { eth } from '../support/packet-builder.js'
import type { Ipv4Options, UdpOptions } from '../support/packet-options.js'
import { parseFrame } from '../support/packet-parser.js'

const FLOWS = 20_000
const STRIDE_BYTES = 2048
const HEADROOM_BYTES = 256
const IP_BYTES = 20
const UDP_BYTES = 8
const DATA_BYTES = 20
/** What is left of the uplink's 1500 bytes by the envelope and the inner headers. */
const TUNNEL_DATA_BYTES = 1500 - 50 - IP_BYTES - UDP_BYTES
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

/** A frame of a flow that the policy lets through, unless told otherwise. */
const datagram = (ip: Ipv4Options, udp: UdpOptions = {}, bytes = DATA_BYTES): Uint8Array =>
  eth({ from: sender.mac, to: sender.nodeMac })
    .ipv4({ from: sender.address, ...ip })
    .udp({ from: 1024, to: 5120, ...udp })
    .payload(bytes)
    .bytes()

type Frames = Readonly<Record<string, Uint8Array>>

/** Neither lets these go where the flow's others go. */
function refusedByBoth(chain: ChainName, to: string): Frames {
  const segment = { from: 2000, to: 80, flags: 'SYN' }
  const toBackend = ipFrom(sender.address, '10.0.2.1')
  return {
    'another source': datagram({ to, from: '10.0.0.99' }),
    'a port that the policy denies': datagram({ to: '10.0.2.1' }, { to: 7 }),
    'a frame cut short': datagram({ to }).slice(0, 40),
    // UDP agrees with IP; only the frame ends before both.
    'a total length behind the frame': datagram(
      { to, totalLength: IP_BYTES + UDP_BYTES + DATA_BYTES + 1 },
      { length: UDP_BYTES + DATA_BYTES + 1 },
    ),
    'a UDP length below its header': datagram({ to }, { length: UDP_BYTES - 1 }),
    'a TCP header below its least': toBackend.tcp({ ...segment, dataOffsetWords: 4 }).bytes(),
    'a TCP header behind the packet': toBackend.tcp({ ...segment, dataOffsetWords: 6 }).bytes(),
    'a later fragment alone': datagram({ to, id: 7, fragmentOffset: 8 }),
    'the last fragment alone': datagram({ to, id: 7, fragmentOffset: 65_528 }),
    ...(chain === 'pod'
      ? { 'TTL 1': datagram({ to, ttl: 1 }), 'TTL 0': datagram({ to, ttl: 0 }) }
      : { 'a byte too much for the tunnel': datagram({ to }, {}, TUNNEL_DATA_BYTES + 1) }),
  }
}

/**
 * Ours carries these; C alone refuses them. It does whole packets without options (bench/yardstick/chain.h):
 * a fragment has no ports, or not all of its data, and options would move the ports. Of a UDP length it
 * asks that it is what IP leaves; ours reads ports only, and leaves that to the receiver.
 */
const refusedByC = (to: string): Frames => ({
  'a first fragment': datagram({ to, id: 8, flags: 'MF' }),
  'the fragment after it': datagram({ to, id: 8, fragmentOffset: 8 }),
  'IP options': datagram({ to, options: [1, 1, 1, 1] }),
  'a UDP length below what is there': datagram({ to }, { length: UDP_BYTES + DATA_BYTES - 1 }),
  'a UDP length above what is there': datagram({ to }, { length: UDP_BYTES + DATA_BYTES + 1 }),
})

/** On the border of what is refused, and so what shows that it was refused for its name's sake. */
const carried = (chain: ChainName, to: string): Frames => ({
  'a good frame': datagram({ to }),
  'a good frame again': datagram({ to }),
  ...(chain === 'pod'
    ? { 'TTL 2': datagram({ to, ttl: 2 }) }
    : {
        'all that the tunnel takes': datagram({ to }, {}, TUNNEL_DATA_BYTES),
        'TTL 1, for a tunnel is no hop': datagram({ to, ttl: 1 }),
      }),
})

for (const chain of ['full', 'pod'] as const) {
  t.test(`${chain}: what the chain drops the yardstick drops`, async (t) => {
    const c = await Yardstick.start(chain, FLOWS)
    t.teardown(() => c.close())
    const ours = new Ours()
    const to = destinationOf(chain, MEMORY_DEVICES)
    const egress = chain === 'pod' ? RECEIVER_PORT : UPLINK_PORT
    let dropped = 0
    const refuse = async (frames: Frames, isOursToo: boolean) => {
      for (const [name, frame] of Object.entries(frames)) {
        const { port } = ours.send(SENDER_PORT, frame)
        // What is too long, or too old, comes back as an ICMP error.
        if (isOursToo) t.ok([-1, SENDER_PORT].includes(port), `${name}, by the pipeline: ${port}`)
        else t.equal(port, egress, `${name}, which the pipeline carries`)
        t.equal((await c.send(SENDER_PORT, frame)).port, -1, `${name}, by the yardstick`)
        dropped++
      }
    }
    // Of a flow that is new, and of one that both know and the flow lane may carry.
    for (const age of ['new', 'known']) {
      await refuse(refusedByBoth(chain, to), true)
      for (const [name, frame] of Object.entries(carried(chain, to))) {
        const mine = ours.send(SENDER_PORT, frame)
        const theirs = await c.send(SENDER_PORT, frame)
        t.equal(theirs.port, egress, `${name}, ${age}`)
        t.same([mine.port, hex(mine.frame)], [theirs.port, hex(theirs.frame)], name)
      }
    }
    await refuse(refusedByC(to), false)
    t.match(await c.counters(), { created: 1, dropped })
  })
}

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
  t.ok(Number.isFinite(await c.time(64_000)))
  const rig = new ChainRig('full', 100)
  t.equal(rig.run(1000), 1024)
  t.ok(Number.isFinite(rig.time(10_000)))
})
