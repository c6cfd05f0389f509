/** Completing the checksums that a sender with transmit offload leaves undone. */
import t, { type Test } from 'tap'
import * as checksums from '../../src/wire/checksum.js'
import {
  completePartialChecksum,
  completePartialChecksum4,
} from '../../src/wire/partial-checksum.js'
import { Protocol } from '../../src/wire/protocols.js'
import * as tcp from '../../src/wire/tcp.js'
import { readTuple, TUPLE_WORDS } from '../../src/wire/tuple.js'
import * as udp from '../../src/wire/udp.js'
import { eth, type PacketBuilder } from '../support/packet-builder.js'
import { checkPacket } from '../support/packet-checker.js'
import { bytesOf, everyTruncation, packetOf } from '../support/packet-memory.js'
import { seededPrng } from '../support/seed.js'

const L3 = 14
const L4 = 34
const L4_IPV6 = 54
const partialChecksum = true
const LENGTHS = [0, 1, 2, 3, 17, 1459, 1460]

/** Completes `partial`, and checks that `right` comes out. */
function completes(t: Test, partial: PacketBuilder, right: PacketBuilder, at: number): void {
  const packet = packetOf(partial.bytes())
  const protocol = right.bytes()[at === L4 ? 23 : 20] ?? 0
  t.ok(completePartialChecksum(packet, L3, at, protocol), 'it was partial')
  checkPacket(t, bytesOf(packet), right)
  t.notOk(completePartialChecksum(packet, L3, at, protocol), 'it is so no longer')
  checkPacket(t, bytesOf(packet), right)
  if (at !== L4) return

  const again = packetOf(partial.bytes())
  const tuple = new Int32Array(TUPLE_WORDS)
  readTuple(again, L3, at, protocol, tuple, 0)
  t.ok(completePartialChecksum4(again, L3, at, tuple, 0), 'and by its tuple')
  checkPacket(t, bytesOf(again), right)
  t.notOk(completePartialChecksum4(again, L3, at, tuple, 0))
}

t.test('a partial TCP checksum is completed, at every length and for both families', (t) => {
  for (const length of LENGTHS) {
    const segment = { flags: 'SYN', options: [2, 4, 5, 180] }
    for (const [ip, at] of [
      [eth().ipv4(), L4],
      [eth().ipv6(), L4_IPV6],
    ] as const) {
      const partial = ip.tcp({ ...segment, partialChecksum }).payload(length)
      completes(t, partial, ip.tcp(segment).payload(length), at)
    }
  }
  t.end()
})

t.test('a partial UDP checksum is completed, at every length and for both families', (t) => {
  for (const length of LENGTHS) {
    for (const [ip, at] of [
      [eth().ipv4(), L4],
      [eth().ipv6(), L4_IPV6],
    ] as const) {
      const partial = ip.udp({ partialChecksum }).payload(length)
      completes(t, partial, ip.udp().payload(length), at)
    }
  }
  t.end()
})

t.test("Ethernet's padding is not summed", (t) => {
  const packet = packetOf(eth().ipv4().tcp({ partialChecksum }).pad(60).bytes())
  packet.setU8(59, 0xff)
  t.ok(completePartialChecksum(packet, L3, L4, Protocol.TCP))
  packet.setU8(59, 0)
  checkPacket(t, bytesOf(packet), eth().ipv4().tcp().pad(60))
  t.end()
})

t.test('behind IPv4 options and IPv6 extension headers it is completed too', (t) => {
  const four = eth().ipv4({ options: [1, 1, 1, 0] })
  const packet = packetOf(four.tcp({ partialChecksum }).bytes())
  t.ok(completePartialChecksum(packet, L3, L4 + 4, Protocol.TCP))
  checkPacket(t, bytesOf(packet), four.tcp())
  const six = eth().ipv6().extension(0)
  const other = packetOf(six.udp({ partialChecksum }).payload('x').bytes())
  t.ok(completePartialChecksum(other, L3, L4_IPV6 + 8, Protocol.UDP))
  checkPacket(t, bytesOf(other), six.udp().payload('x'))
  t.end()
})

t.test('a UDP checksum that completes to zero becomes all ones', (t) => {
  const packet = packetOf(eth().ipv4().udp().payload(Uint8Array.of(0, 0)).bytes())
  const pseudo = checksums.pseudoHeader4(packet, L3, Protocol.UDP, 10)
  packet.setU16(L4 + 8, udp.checksum(packet, L4))
  packet.setU16(L4 + 6, checksums.fold(pseudo))
  t.ok(completePartialChecksum(packet, L3, L4, Protocol.UDP))
  t.equal(udp.checksum(packet, L4), 0xffff)
  checkPacket(t, bytesOf(packet), { udp: { checksum: 0xffff } })
  t.end()
})

t.test('a right checksum is left alone', (t) => {
  const prng = seededPrng(t)
  let completed = 0
  for (let i = 0; i < 2000; i++) {
    const payload = Uint8Array.from({ length: prng.below(40) }, () => prng.nextInt32())
    const seq = prng.nextInt32() >>> 0
    const before = eth().ipv4().tcp({ seq }).payload(payload).bytes()
    const packet = packetOf(before)
    if (completePartialChecksum(packet, L3, L4, Protocol.TCP)) completed++
    if (Buffer.compare(bytesOf(packet), before) !== 0) t.fail('a right frame was changed')
  }
  t.ok(completed < 10, 'one in 65,535 is taken for partial')
  t.end()
})

t.test('a right frame whose field equals the pseudo sum by chance stays as it is', (t) => {
  const prng = seededPrng(t)
  for (let i = 0; i < 500; i++) {
    const isTcp = prng.chance(0.5)
    const seq = prng.nextInt32() >>> 0
    const from = prng.below(0x10000)
    const layer = isTcp ? eth().ipv4().tcp({ seq, from }) : eth().ipv4().udp({ from })
    const packet = packetOf(layer.payload(Uint8Array.of(0, 0, prng.below(256))).bytes())
    const [field, header] = isTcp ? [L4 + 16, 20] : [L4 + 6, 8]
    const protocol = isTcp ? Protocol.TCP : Protocol.UDP
    const pseudo = checksums.pseudoHeader4(packet, L3, protocol, header + 3)
    // Two zero bytes of data take up the difference that makes the checksum equal the pseudo sum P.
    const wanted = checksums.fold(pseudo)
    packet.setU16(L4 + header, checksums.fold(packet.u16(field) + (~wanted & 0xffff)))
    packet.setU16(field, wanted)
    const before = bytesOf(packet)
    checkPacket(t, before, isTcp ? { tcp: { checksum: wanted } } : { udp: { checksum: wanted } })
    t.ok(completePartialChecksum(packet, L3, L4, protocol), 'taken for partial')
    t.strictSame(bytesOf(packet), before, 'and not changed')
  }
  t.end()
})

t.test('of the two zeros, TCP gets the one that a sender would compute', (t) => {
  // Addresses and length such that P is all ones: 0xffff is then both P and a right field.
  const ip = eth().ipv4({ from: '0.0.0.0', to: '255.255.255.226' })
  const packet = packetOf(
    ip
      .tcp()
      .payload(Uint8Array.of(0, 0, 0))
      .bytes(),
  )
  const pseudo = checksums.pseudoHeader4(packet, L3, Protocol.TCP, 23)
  t.equal(checksums.fold(pseudo), 0xffff)
  packet.setU16(L4 + 20, tcp.checksum(packet, L4))
  packet.setU16(L4 + 16, 0xffff)
  t.ok(tcp.isChecksumRight(packet, L4, 23, pseudo))
  t.ok(completePartialChecksum(packet, L3, L4, Protocol.TCP))
  t.equal(tcp.checksum(packet, L4), 0)
  t.ok(tcp.isChecksumRight(packet, L4, 23, pseudo))
  t.end()
})

t.test('UDP without checksum stays without', (t) => {
  const packet = packetOf(eth().ipv4().udp({ checksum: 0 }).payload('x').bytes())
  t.notOk(completePartialChecksum(packet, L3, L4, Protocol.UDP))
  t.equal(udp.checksum(packet, L4), 0)
  t.end()
})

t.test('fragments, other protocols and malformed headers are left alone', (t) => {
  const untouched = (builder: PacketBuilder, at: number, protocol: number, why: string) => {
    const before = builder.bytes()
    const packet = packetOf(before)
    t.notOk(completePartialChecksum(packet, L3, at, protocol), why)
    t.strictSame(bytesOf(packet), before)
  }
  const udpPartial = { partialChecksum }
  untouched(eth().ipv4({ flags: 'MF' }).udp(udpPartial).payload(16), L4, 17, 'first fragment')
  untouched(eth().ipv4({ fragmentOffset: 8 }).udp(udpPartial).payload(16), L4, 17, 'later one')
  const six = eth().ipv6().fragment6({ more: true }).udp(udpPartial).payload(16)
  untouched(six, L4_IPV6 + 8, 17, 'fragment of IPv6')
  untouched(eth().ipv4().icmpEcho(), L4, Protocol.ICMPV4, 'ICMP')
  untouched(eth().ipv4().udp(udpPartial), L4, Protocol.SCTP, 'SCTP')
  untouched(
    eth()
      .ipv4()
      .udp({ ...udpPartial, length: 9 }),
    L4,
    17,
    'UDP that differs from IP',
  )
  untouched(eth().ipv4().tcp({ partialChecksum, dataOffsetWords: 4 }), L4, 6, 'short offset')
  untouched(eth().ipv4().tcp({ partialChecksum, dataOffsetWords: 15 }), L4, 6, 'long offset')
  t.end()
})

t.test('every truncation is left alone, and read no further', (t) => {
  for (const [builder, at, protocol] of [
    [eth().ipv4().tcp({ partialChecksum }).payload(10), L4, 6],
    [eth().ipv4().udp({ partialChecksum }).payload(10), L4, 17],
    [eth().ipv6().tcp({ partialChecksum }).payload(10), L4_IPV6, 6],
    [eth().ipv6().udp({ partialChecksum }).payload(10), L4_IPV6, 17],
  ] as const) {
    everyTruncation(builder.bytes(), (packet, length) => {
      if (length < at) return
      t.notOk(completePartialChecksum(packet, L3, at, protocol), `${length} bytes`)
    })
  }
  t.end()
})
