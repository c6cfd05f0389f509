/** pcap and pcapng files, written and read, against what tcpdump makes of them. */
import { execFileSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { VirtualClock } from '../../src/base/clock.js'
import { ErrorCode } from '../../src/base/errors.js'
import { Burst } from '../../src/packet/burst.js'
import { CaptureExchange } from '../../src/port/capture-exchange.js'
import { assertConserved } from '../../src/port/conservation.js'
import { MemoryPort } from '../../src/port/memory-port.js'
import { type CapturedFrame, Direction } from '../../src/port/pcap/capture.js'
import { createCapture, readCapture } from '../../src/port/pcap/open-capture.js'
import { PcapReadPort, PcapWritePort } from '../../src/port/pcap/pcap-port.js'
import type { PcapngReader } from '../../src/port/pcap/pcapng-reader.js'
import { SoftwareExchange } from '../../src/port/software-exchange.js'
import {
  block,
  bytesOf,
  COMMENTS,
  fixture,
  fixturePath,
  MICROSECONDS,
  NANOSECONDS,
  readAll,
  section,
  words,
} from '../support/capture-files.js'

const directory = mkdtempSync(join(tmpdir(), 'rp-port-pcap-'))
t.teardown(() => rmSync(directory, { recursive: true }))

t.test('captures of tcpdump and editcap are read as those tools show them', async (t) => {
  const micro = readAll(fixture(MICROSECONDS))
  const nano = readAll(fixture(NANOSECONDS))
  const comments = readAll(fixture(COMMENTS))
  const shape = (frames: CapturedFrame[]) =>
    frames.map((f) => [f.timeNanoseconds, f.bytes.length, f.originalLength])
  t.same(shape(micro), [
    [1795237494035942000n, 98, 98],
    [1795237494035955000n, 98, 98],
    [1795237494238859000n, 98, 98],
    [1795237494238872000n, 98, 98],
  ])
  t.same(shape(nano), [
    [1795237494035942256n, 60, 98],
    [1795237494035955918n, 60, 98],
    [1795237494238859763n, 60, 98],
    [1795237494238872409n, 60, 98],
  ])
  t.same(shape(comments), shape(micro))
  t.same(
    comments.map((f) => f.comments),
    [['first request'], ['its reply, é'], [], []],
  )
  t.same(nano[1].bytes, micro[1].bytes.subarray(0, 60))
})

t.test('a file descriptor is read as the same bytes in memory are', async (t) => {
  for (const name of [MICROSECONDS, NANOSECONDS, COMMENTS]) {
    const descriptor = openSync(fixturePath(name), 'r')
    t.same(readAll(descriptor), readAll(fixture(name)), name)
    closeSync(descriptor)
  }
})

t.test('frames larger than the window, and many of them, are read from a descriptor', async (t) => {
  const path = join(directory, 'large.pcapng')
  const writer = createCapture(path)
  writer.addInterface({ name: 'x', linkType: 1, snapLength: 0 })
  const lengths = [14, 65_000, 262_144, 0, 1, 70_001, 14, 65_535, 65_536, 65_537]
  lengths.forEach((length, i) => {
    writer.write(0, BigInt(i), new Uint8Array(length).fill(i))
  })
  writer.close()
  writer.close()
  const descriptor = openSync(path, 'r')
  const frames = readAll(descriptor)
  closeSync(descriptor)
  t.same(
    frames.map((f) => f.bytes.length),
    lengths,
  )
  t.ok(frames.every((f, i) => f.bytes.every((byte) => byte === i)))
})

t.test('pcap is read in the other byte order', async (t) => {
  for (const [magic, time] of [
    [0xa1b2c3d4, 5_000_007_000n],
    [0xa1b23c4d, 5_000_000_007n],
  ] as const) {
    const file = bytesOf(
      words(false, magic, 0x0002_0004, 0, 0, 65535, 1),
      words(false, 5, 7, 3, 60),
      [1, 2, 3],
    )
    t.match(readAll(file), [{ timeNanoseconds: time, originalLength: 60, bytes: [1, 2, 3] }])
  }
})

t.test('pcapng interfaces have their own clock, in either byte order', async (t) => {
  for (const le of [true, false]) {
    const u16 = (value: number) => (le ? [value & 255, value >> 8] : [value >> 8, value & 255])
    const option = (code: number, ...value: number[]) => {
      const padding = new Array(-value.length & 3).fill(0)
      return bytesOf(u16(code), u16(value.length), value, padding)
    }
    const describe = (...options: Uint8Array[]) =>
      block(le, 1, u16(1), u16(0), words(le, 4), ...options)
    const offset = le ? [10, 0, 0, 0, 0, 0, 0, 0] : [0, 0, 0, 0, 0, 0, 0, 10]
    const packet = (index: number, ...rest: Uint8Array[]) =>
      block(le, 6, words(le, index, 1, 4, 3, 60), [1, 2, 3, 0], ...rest)
    const file = bytesOf(
      section(le),
      describe(option(2, ...Buffer.from('eth0')), option(9, 9), option(0)),
      describe(option(9, 0x80 | 10), option(14, ...offset), option(13, 4)),
      describe(),
      block(le, 0xbad, [1, 2, 3, 4]),
      packet(0, option(1, 65), option(2, ...words(le, 0x2))),
      packet(1, option(2, ...words(le, 0x1)), option(1, 65), option(1, 66, 67), option(0)),
      packet(2),
      block(le, 3, words(le, 60), [9, 8, 7, 6]),
      block(le, 2, u16(2), u16(0), words(le, 0, 1, 2, 2), [5, 6, 0, 0]),
      section(!le),
    )
    const reader = readCapture(file)
    const units = 2n ** 32n + 4n
    t.match(reader.next(), {
      timeNanoseconds: units,
      interfaceIndex: 0,
      direction: Direction.OUTBOUND,
      comments: ['A'],
      originalLength: 60,
      checkSequenceBytes: 0,
    })
    t.match(reader.next(), {
      timeNanoseconds: (units * 1_000_000_000n) / 1024n + 10_000_000_000n,
      direction: Direction.INBOUND,
      comments: ['A', 'BC'],
      checkSequenceBytes: 4,
    })
    t.match(reader.next(), { timeNanoseconds: units * 1000n, direction: Direction.UNKNOWN })
    t.match(reader.next(), { timeNanoseconds: null, bytes: [9, 8, 7, 6], originalLength: 60 })
    t.match(reader.next(), { timeNanoseconds: 1000n, bytes: [5, 6], interfaceIndex: 2 })
    t.equal(reader.interfaces[0].name, 'eth0')
    t.equal(reader.next(), null)
    t.same(reader.interfaces, [], 'a new section begins without interfaces')
    t.equal((reader as PcapngReader).skippedBlocks, 1)
  }
})

t.test('what is written is read back, and tcpdump agrees', async (t) => {
  const [request, reply] = readAll(fixture(MICROSECONDS))
  for (const ending of ['pcap', 'pcapng']) {
    const path = join(directory, `written.${ending}`)
    const writer = createCapture(path)
    writer.addInterface({ name: 'pod-a', linkType: 1, snapLength: 64 })
    writer.write(0, 1_700_000_000_123_456_789n, request.bytes, {
      direction: Direction.INBOUND,
      comments: ['forwarded by FROM_LXC', 'naïve 包'],
    })
    writer.write(0, 1_700_000_001_000_000_001n, reply.bytes.subarray(0, 61))
    writer.flush()
    writer.close()
    const isNg = ending === 'pcapng'
    t.match(readAll(readFileSync(path)), [
      {
        timeNanoseconds: 1_700_000_000_123_456_789n,
        bytes: request.bytes.subarray(0, 64),
        originalLength: 98,
        direction: isNg ? Direction.INBOUND : Direction.UNKNOWN,
        comments: isNg ? ['forwarded by FROM_LXC', 'naïve 包'] : [],
      },
      { timeNanoseconds: 1_700_000_001_000_000_001n, originalLength: 61 },
    ])
    const command = ['-n', '-tt', '--time-stamp-precision=nano', '-r', path]
    const shown = execFileSync('tcpdump', command, { encoding: 'utf8', stdio: 'pipe' })
    t.match(shown, /^1700000000\.123456789 IP 127\.0\.0\.1 > 127\.0\.0\.1: ICMP echo request/m)
    // Cut short, in the words of older tcpdumps and of newer ones.
    t.match(
      shown,
      /^1700000001\.000000001 IP (truncated-ip|\[total length).* > .*: ICMP echo reply/m,
    )
  }
})

t.test('a replayed capture comes in order and at once', async (t) => {
  const replay = new PcapReadPort('replay', fixturePath(MICROSECONDS))
  const out = join(directory, 'copied.pcap')
  const clock = new VirtualClock()
  const sink = new PcapWritePort('sink', createCapture(out), clock)
  const exchange = new SoftwareExchange([replay, sink], { clock })
  const burst = new Burst(3)
  while (!replay.isFinished || burst.count > 0) {
    exchange.exchange(burst)
    burst.ports.fill(1)
    assertConserved(exchange, burst)
  }
  t.equal(exchange.statistics(1).sentFrames, 4)
  exchange.close()
  const bytes = (frames: CapturedFrame[]) => frames.map((frame) => frame.bytes)
  t.same(bytes(readAll(readFileSync(out))), bytes(readAll(fixture(MICROSECONDS))))
  t.equal(replay.failure, null)
  t.equal(sink.failure, null)
})

t.test('a replay on a clock keeps the distances of the capture', async (t) => {
  const clock = new VirtualClock(100)
  const replay = new PcapReadPort('replay', fixture(NANOSECONDS), { clock })
  const exchange = new SoftwareExchange([replay], { clock })
  const burst = new Burst(8)
  const arrivals: number[] = []
  while (!replay.isFinished) {
    exchange.exchange(burst)
    for (let i = 0; i < burst.count; i++) arrivals.push(Math.round(burst.nowNanoseconds / 1e6))
    burst.ports.fill(-1)
    clock.advanceSeconds(0.001)
  }
  t.same(arrivals, [0, 1, 203, 203])
  exchange.close()
})

t.test('a replay ends at the damage and says so; other link types are refused', async (t) => {
  const damaged = fixture(MICROSECONDS).subarray(0, 300)
  const replay = new PcapReadPort('replay', damaged)
  const exchange = new SoftwareExchange([replay], { clock: new VirtualClock() })
  const burst = new Burst(8)
  t.equal(exchange.exchange(burst), 2)
  t.match(replay.failure, { code: ErrorCode.PCAP_FORMAT, message: /offset 268: the frame/ })
  exchange.close()
  const cooked = Buffer.from(fixture(MICROSECONDS))
  cooked[20] = 113
  const expected = /offset 20: the link type is 113, expected 1, Ethernet/
  t.match(new PcapReadPort('cooked', cooked).failure, { message: expected })
  t.throws(() => new PcapReadPort('none', Buffer.from('no capture')), { code: 'EPCAP_FORMAT' })
  t.throws(() => new PcapReadPort('none', join(directory, 'missing')), { code: 'ENOENT' })
})

t.test('a captured exchange stands in the file by port, direction and time', async (t) => {
  const path = join(directory, 'exchange.pcapng')
  const clock = new VirtualClock(7)
  const ports = ['a', 'b', 'c'].map((name) => new MemoryPort(name))
  const inner = new SoftwareExchange(ports, { clock })
  const exchange = new CaptureExchange(inner, createCapture(path), {
    ports: new Set(['a', 'b']),
    snapLength: 40,
    epochNanoseconds: 1_000_000_000_000n,
    describe: (burst, i, direction) =>
      direction === Direction.INBOUND ? [] : [`to ${burst.ports[i]}`],
  })
  const burst = new Burst(8)
  for (const [i, port] of ports.entries()) port.inject(new Uint8Array(60).fill(i))
  exchange.exchange(burst)
  for (let i = 0; i < burst.count; i++) burst.ports[i] = 1 - i
  clock.advanceSeconds(1)
  exchange.exchange(burst)
  assertConserved(exchange, burst)
  exchange.close()
  t.equal(exchange.failure, null)
  t.equal(exchange.frameCount, 4)
  const file = readFileSync(path)
  const reader = readCapture(file)
  t.match(readAll(file), [
    { interfaceIndex: 0, direction: Direction.INBOUND, bytes: Buffer.alloc(40), comments: [] },
    { interfaceIndex: 1, direction: Direction.INBOUND, timeNanoseconds: 1_007_000_000_000n },
    { interfaceIndex: 1, direction: Direction.OUTBOUND, comments: ['to 1'], originalLength: 60 },
    { interfaceIndex: 0, direction: Direction.OUTBOUND, comments: ['to 0'] },
  ])
  while (reader.next() !== null);
  t.match(reader.interfaces, [{ name: 'a' }, { name: 'b' }])
})

t.test('a capture that cannot be written ends, the frames go on', async (t) => {
  const port = new MemoryPort('a')
  const clock = new VirtualClock()
  const inner = new SoftwareExchange([port], { clock })
  const exchange = new CaptureExchange(inner, createCapture('/dev/full'))
  const burst = new Burst(64)
  for (let round = 0; round < 50; round++) {
    for (let i = 0; i < 64; i++) port.inject(new Uint8Array(1500))
    exchange.exchange(burst)
    burst.ports.fill(0)
  }
  exchange.exchange(burst, 0)
  t.match(exchange.failure, { code: 'ENOSPC' })
  t.equal(exchange.statistics(0).receivedFrames, 3200)
  exchange.close()
  const sink = new PcapWritePort('sink', createCapture('/dev/full'), clock)
  const full = new SoftwareExchange([sink], { clock })
  for (let i = 0; i < 100; i++) {
    burst.starts[0] = full.pool.take()
    burst.lengths[0] = 1500
    burst.ports[0] = 0
    burst.count = 1
    full.exchange(burst)
  }
  t.match(sink.failure, { code: 'ENOSPC' })
  t.ok(full.statistics(0).sendDropped > 0)
  full.close()
})
