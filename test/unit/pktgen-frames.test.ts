/** The frames of a plan, judged by a parser that shares no code with what writes them. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { PacketBuffer } from '../../src/packet/packet-buffer.js'
import { decodeFrame } from '../../src/pktgen/decode.js'
import { FrameWriter } from '../../src/pktgen/frame-writer.js'
import { planOf } from '../../src/pktgen/plan.js'
import { printedFrames, writeCapture } from '../../src/pktgen/preview.js'
import { parseRate } from '../../src/pktgen/rate.js'
import { parseSizes } from '../../src/pktgen/size-mix.js'
import { TagReader } from '../../src/pktgen/tag.js'
import type { TrafficSpec } from '../../src/pktgen/traffic-spec.js'
import { readAll } from '../support/capture-files.js'
import { type ParsedPacket, parseFrame } from '../support/packet-parser.js'
import { seededPrng } from '../support/seed.js'

const SPEC: TrafficSpec = {
  mode: 'udp',
  sourceMac: '02:00:00:00:00:01',
  destinationMac: '02:00:00:00:00:02',
  vlan: 0,
  sources: { first: 0x0a000001, count: 1 },
  destinations: { first: 0xc8000001, count: 1 },
  sourcePorts: { first: 1024, count: 4 },
  destinationPorts: { first: 9, count: 1 },
  flows: 1,
  sizes: parseSizes('60'),
  rate: parseRate('1k'),
  frames: 0,
  seconds: 0,
  hasTimestamps: true,
  hasUdpChecksum: true,
  framesPerConnection: 4,
}
const FRAME_ROOM = 2048

interface Written {
  readonly parsed: ParsedPacket
  readonly bytes: number
  readonly sequence: number
  readonly sent: number
}

/** Into memory that has held other frames of the plan, as a ring's has. */
function framesOf(spec: TrafficSpec, count: number, time = 0x1234_5678_9abc): readonly Written[] {
  const memory = new ArrayBuffer(FRAME_ROOM)
  const packet = new PacketBuffer(memory, FRAME_ROOM)
  const writer = new FrameWriter(planOf(spec))
  const reader = new TagReader(0)
  return Array.from({ length: count }, () => {
    packet.attach(0, 0)
    writer.write(packet, Math.floor(time / 2 ** 32), time | 0)
    const bytes = new Uint8Array(memory.slice(0, packet.length))
    if (!reader.read(packet)) throw new Error('a frame of ours is not known as one')
    const { sequence, sentNanoseconds: sent } = reader
    return { parsed: parseFrame(bytes), bytes: packet.length, sequence: sequence >>> 0, sent }
  })
}

t.test('every frame is right in lengths and checksums, whatever the spec', async (t) => {
  const prng = seededPrng(t)
  for (let round = 0; round < 300; round++) {
    const mode = (['udp', 'syn', 'connection'] as const)[prng.below(3)] ?? 'udp'
    const size = 80 + prng.below(1440)
    const range = (first: number) => ({ first, count: 1 + prng.below(5) })
    const spec: TrafficSpec = {
      ...SPEC,
      mode,
      vlan: prng.chance(0.5) ? 1 + prng.below(4094) : 0,
      sources: range(prng.nextInt32() >>> 1),
      destinations: range(prng.nextInt32() >>> 1),
      sourcePorts: range(1 + prng.below(65_000)),
      destinationPorts: range(1 + prng.below(65_000)),
      sizes:
        mode === 'udp'
          ? parseSizes(`${size}:2,1514:3,64`)
          : parseSizes(mode === 'syn' ? '60' : `${size}`),
      hasUdpChecksum: prng.chance(0.8),
      framesPerConnection: 3 + prng.below(4),
    }
    for (const { parsed, sequence } of framesOf(spec, 20, prng.nextInt32() >>> 0)) {
      if (parsed.problems.length > 0) {
        t.fail(`frame ${sequence}: ${parsed.problems}`, { spec, parsed })
        return
      }
      if (spec.vlan !== 0) t.equal(parsed.vlans[0]?.id, spec.vlan)
    }
  }
})

t.test('a computed checksum of zero is sent as all ones', async (t) => {
  // One of 65,536 numbers makes it so: all of them in a row must have a checksum, and be right.
  const memory = new ArrayBuffer(FRAME_ROOM)
  const packet = new PacketBuffer(memory, FRAME_ROOM)
  const writer = new FrameWriter(planOf(SPEC))
  let ones = 0
  for (let i = 0; i < 65_536; i++) {
    packet.attach(0, 0)
    writer.write(packet, 0, 0)
    const checksum = packet.u16(40)
    if (checksum === 0) t.fail(`frame ${i} has none`)
    if (checksum !== 0xffff) continue
    ones++
    t.same(parseFrame(new Uint8Array(memory.slice(0, packet.length))).problems, [])
  }
  t.ok(ones >= 1)
})

t.test('flow after flow takes the next source port, then the others in turn', async (t) => {
  const two = (first: number) => ({ first, count: 2 })
  const spec: TrafficSpec = {
    ...SPEC,
    sourcePorts: two(10),
    destinationPorts: two(20),
    sources: two(0x0a000001),
    destinations: two(0x0b000001),
    flows: 11,
  }
  const ends = framesOf(spec, 13).map(({ parsed: { udp, ipv4 } }) =>
    [udp?.from, udp?.to, ipv4?.from, ipv4?.to].join(' '),
  )
  t.same(ends.slice(0, 5), [
    '10 20 10.0.0.1 11.0.0.1',
    '11 20 10.0.0.1 11.0.0.1',
    '10 21 10.0.0.1 11.0.0.1',
    '11 21 10.0.0.1 11.0.0.1',
    '10 20 10.0.0.2 11.0.0.1',
  ])
  t.equal(new Set(ends.slice(0, 11)).size, 11)
  t.same(ends.slice(11), ends.slice(0, 2), 'the twelfth is the first flow’s again')
})

t.test('a connection is a SYN, data and a FIN with the numbers of one stream', async (t) => {
  const spec: TrafficSpec = {
    ...SPEC,
    mode: 'connection',
    sizes: parseSizes('100'),
    flows: 2,
  }
  const frames = framesOf(spec, 10)
  const second = frames.filter((_, index) => index % 2 === 1).map(({ parsed }) => parsed)
  t.same(
    second.map(({ tcp }) => [tcp?.flags, tcp?.seq]),
    [
      ['SYN', 1],
      ['PSH ACK', 2],
      ['PSH ACK', 2 + 46],
      ['FIN PSH ACK', 2 + 2 * 46],
      ['SYN', 9],
    ],
  )
  t.same(
    frames.map(({ sequence }) => sequence),
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    'and each tells its number',
  )
})

t.test('a frame tells its number and the time of sending', async (t) => {
  const frames = framesOf(SPEC, 3, 987_654_321_012)
  t.same(
    frames.map(({ sequence, sent }) => [sequence, sent]),
    [0, 1, 2].map((sequence) => [sequence, 987_654_321_012]),
  )
  const stranger = new PacketBuffer(new ArrayBuffer(128), 128)
  stranger.attach(0, 60)
  t.notOk(new TagReader(0).read(stranger))
  for (let length = 0; length < 60; length++) {
    stranger.attach(0, length)
    t.notOk(new TagReader(0).read(stranger), `${length} bytes`)
  }
})

t.test('a dry run shows the first frames, and writes them with the rate’s times', async (t) => {
  const plan = planOf({ ...SPEC, rate: parseRate('10k'), sizes: parseSizes('60,1514'), flows: 2 })
  const lines = printedFrames(plan, 2)
  t.match(lines[1], /100\.0 us {2}1514 bytes .* 10\.0\.0\.1:1025 > 200\.0\.0\.1:9 UDP 1472 .*#1$/)
  const folder = mkdtempSync(join(tmpdir(), 'rp-pktgen-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  for (const name of ['frames.pcap', 'frames.pcapng']) {
    const path = join(folder, name)
    writeCapture(path, plan, 100, 1_000_000_000n)
    const frames = readAll(readFileSync(path))
    t.equal(frames.length, 100)
    t.equal(frames[99]?.timeNanoseconds, 1_000_000_000n + 9_900_000n)
    t.same(
      frames.map(({ bytes }) => parseFrame(bytes).problems),
      frames.map(() => []),
    )
  }
})

t.test('what is no IPv4 is said to be none', async (t) => {
  const packet = new PacketBuffer(new ArrayBuffer(64), 64)
  packet.attach(0, 60)
  t.match(decodeFrame(packet), /not IPv4/)
})
