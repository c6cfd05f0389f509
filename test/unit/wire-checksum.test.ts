/**
 * The Internet checksum: known answers, any length and alignment, and incremental against
 * recomputed.
 */
import t from 'tap'
import { PacketBuffer } from '../../src/packet/packet-buffer.js'
import * as checksums from '../../src/wire/checksum.js'
import * as ipv4 from '../../src/wire/ipv4.js'
import { Protocol } from '../../src/wire/protocols.js'
import * as tcp from '../../src/wire/tcp.js'
import { bytesOf, packetOf } from '../support/packet-memory.js'
import { seededPrng } from '../support/seed.js'

const RANDOM_HEADERS = 200_000

/** By RFC 1071's own words, one byte after the other, with the carry brought round each time. */
function plainSum(bytes: Uint8Array): number {
  let sum = 0
  bytes.forEach((byte, i) => {
    sum += i % 2 === 0 ? byte * 256 : byte
    if (sum > 0xffff) sum -= 0xffff
  })
  return sum
}

t.test('the example of RFC 1071 section 3 sums to ddf2', (t) => {
  const packet = packetOf([0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7])
  t.equal(checksums.fold(checksums.sumBytes(packet, 0, 8, 0)), 0xddf2)
  t.equal(checksums.complement(checksums.sumBytes(packet, 0, 8, 0)), 0x220d)
  t.end()
})

t.test('the example of RFC 1624 section 4 gives 0000, not ffff', (t) => {
  t.equal(checksums.update16(0xdd2f, 0x5555, 0x3285), 0x0000)
  t.end()
})

t.test('every length at every alignment, odd ones with the last byte as a high half', (t) => {
  const prng = seededPrng(t)
  const memory = Uint8Array.from({ length: 160 }, () => prng.nextInt32())
  const packet = new PacketBuffer(memory.buffer, memory.length)
  let wrong = 0
  for (let start = 0; start < 8; start++) {
    packet.attach(start, memory.length - start)
    for (let offset = 0; offset < 8; offset++) {
      for (let length = 0; length <= 140; length++) {
        const from = start + offset
        const expected = plainSum(memory.subarray(from, from + length))
        if (checksums.fold(checksums.sumBytes(packet, offset, length, 0)) !== expected) wrong++
      }
    }
  }
  t.equal(wrong, 0)
  t.end()
})

t.test('a sum over parts is the sum over the whole', (t) => {
  const packet = packetOf(Uint8Array.from({ length: 101 }, (_, i) => i * 37))
  const whole = checksums.fold(checksums.sumBytes(packet, 0, 101, 0))
  for (let cut = 0; cut <= 100; cut += 2) {
    const front = checksums.sumBytes(packet, 0, cut, 0)
    t.equal(checksums.fold(checksums.sumBytes(packet, cut, 101 - cut, front)), whole)
  }
  t.end()
})

t.test('64 KiB of ones do not overflow', (t) => {
  const packet = packetOf(new Uint8Array(65536).fill(0xff))
  t.equal(packet.sum16(0, 65536), 0xffff)
  const initial = 0x7fffffff
  t.equal(checksums.fold(checksums.sumBytes(packet, 0, 65536, initial)), checksums.fold(initial))
  t.end()
})

t.test('zeros sum to zero, and all ones to all ones', (t) => {
  t.equal(packetOf(new Uint8Array(40)).sum16(0, 40), 0)
  t.equal(packetOf(new Uint8Array(40).fill(0xff)).sum16(0, 40), 0xffff)
  t.equal(checksums.fold(0), 0)
  t.equal(checksums.fold(0xffffffff | 0), 0xffff)
  t.equal(checksums.complement(0), 0xffff)
  t.end()
})

t.test('incremental equals recomputed for random IPv4 headers', (t) => {
  const prng = seededPrng(t)
  const packet = packetOf(new Uint8Array(60))
  let wrong = 0
  for (let i = 0; i < RANDOM_HEADERS; i++) {
    for (let at = 0; at < 60; at += 4) packet.setI32(at, prng.nextInt32())
    packet.setU8(0, 0x40 | (5 + prng.below(11)))
    ipv4.fillChecksum(packet, 0)
    if (ipv4.ttl(packet, 0) > 0) ipv4.decrementTtl(packet, 0)
    ipv4.setSource(packet, 0, prng.chance(0.1) ? -1 : prng.nextInt32())
    ipv4.setDestination(packet, 0, prng.chance(0.1) ? 0 : prng.nextInt32())
    ipv4.setTotalLength(packet, 0, prng.below(0x10000))
    ipv4.setIdentification(packet, 0, prng.below(0x10000))
    ipv4.setTypeOfService(packet, 0, prng.below(256))
    ipv4.setTtl(packet, 0, prng.below(256))
    const incremental = ipv4.checksum(packet, 0)
    ipv4.fillChecksum(packet, 0)
    if (incremental !== ipv4.checksum(packet, 0)) wrong++
  }
  t.equal(wrong, 0, `${RANDOM_HEADERS} headers`)
  t.end()
})

t.test('incremental equals recomputed for random TCP headers, addresses included', (t) => {
  const prng = seededPrng(t)
  const packet = packetOf(new Uint8Array(40))
  let wrong = 0
  for (let i = 0; i < RANDOM_HEADERS; i++) {
    for (let at = 0; at < 40; at += 4) packet.setI32(at, prng.nextInt32())
    tcp.fillChecksum(packet, 20, 20, checksums.pseudoHeader4(packet, 0, Protocol.TCP, 20))
    const address = prng.nextInt32()
    tcp.applyChecksumDelta(packet, 20, checksums.delta32(ipv4.source(packet, 0), address))
    ipv4.setSource(packet, 0, address)
    tcp.setSourcePort(packet, 20, prng.below(0x10000))
    tcp.setDestinationPort(packet, 20, prng.below(0x10000))
    tcp.setSequence(packet, 20, prng.nextInt32())
    tcp.setAcknowledgment(packet, 20, prng.nextInt32())
    tcp.setFlags(packet, 20, prng.below(256))
    tcp.setWindow(packet, 20, prng.below(0x10000))
    const incremental = tcp.checksum(packet, 20)
    tcp.fillChecksum(packet, 20, 20, checksums.pseudoHeader4(packet, 0, Protocol.TCP, 20))
    if (incremental !== tcp.checksum(packet, 20)) wrong++
  }
  t.equal(wrong, 0, `${RANDOM_HEADERS} headers`)
  t.end()
})

t.test('deltas of several fields add up, and update as the single updates do', (t) => {
  const first = checksums.update32(0x1234, 0x0a000001, 0xc0a80101 | 0)
  const both = checksums.update16(first, 40000, 53)
  const delta = checksums.delta32(0x0a000001, 0xc0a80101 | 0) + checksums.delta16(40000, 53)
  t.equal(checksums.apply(0x1234, delta), both)
  t.equal(checksums.update32(0x1234, 7, 7), 0x1234, 'no change')
  t.end()
})

t.test('numbers of 16 bits are added and applied as sums of more are', (t) => {
  const prng = seededPrng(t)
  const edges = [0, 1, 2, 0x00ff, 0x7fff, 0x8000, 0xfffe, 0xffff]
  const random = Array.from({ length: 200 }, () => prng.nextInt32() & 0xffff)
  const numbers = [...edges, ...random]
  let wrong = 0
  for (const a of numbers) {
    for (const b of numbers) {
      if (checksums.add16(a, b) !== checksums.fold(a + b)) wrong++
      if (checksums.apply16(a, b) !== checksums.apply(a, b)) wrong++
    }
  }
  t.equal(wrong, 0)
  t.end()
})

t.test('pseudo headers are summed as they would lie in memory', (t) => {
  const prng = seededPrng(t)
  const header = Uint8Array.from({ length: 40 }, () => prng.nextInt32())
  const packet = packetOf(header)
  const four = Uint8Array.from([...header.subarray(12, 20), 0, 6, 0x12, 0x34])
  t.equal(checksums.fold(checksums.pseudoHeader4(packet, 0, 6, 0x1234)), plainSum(four))
  const six = Uint8Array.from([...header.subarray(8, 40), 0, 0, 0x12, 0x34, 0, 0, 0, 17])
  t.equal(checksums.fold(checksums.pseudoHeader6(packet, 0, 17, 0x1234)), plainSum(six))
  t.strictSame(bytesOf(packet), header, 'and nothing is written')
  t.end()
})
