/** TCP and UDP headers. */
import t from 'tap'
import * as checksums from '../../src/wire/checksum.js'
import { Protocol } from '../../src/wire/protocols.js'
import * as tcp from '../../src/wire/tcp.js'
import * as udp from '../../src/wire/udp.js'
import { bare, eth } from '../support/packet-builder.js'
import { checkPacket } from '../support/packet-checker.js'
import { bytesOf, dirtyPacket, everyTruncation, packetOf } from '../support/packet-memory.js'

const L3 = 14
const L4 = 34
const L4_IPV6 = 54
// Typed by hand: 40000 to 443, seq 0x80000001, ack 0xfffffffe, 24 bytes of header, SYN ACK, window
// 64240.
const KNOWN_TCP = [
  ...[0x9c, 0x40, 0x01, 0xbb, 0x80, 0, 0, 1, 0xff, 0xff, 0xff, 0xfe],
  ...[0x60, 0x12, 0xfa, 0xf0, 0x12, 0x34, 0, 5, 2, 4, 0x05, 0xb4],
]
const KNOWN_UDP = [0x9c, 0x40, 0x00, 0x35, 0x00, 0x09, 0xab, 0xcd, 0x61]

t.test('a TCP header is read', (t) => {
  const packet = packetOf(KNOWN_TCP)
  t.ok(tcp.isValid(packet, 0))
  t.equal(tcp.sourcePort(packet, 0), 40000)
  t.equal(tcp.destinationPort(packet, 0), 443)
  t.equal(tcp.ports(packet, 0), (40000 << 16) | 443)
  t.equal(tcp.sequence(packet, 0), 0x80000001 | 0)
  t.equal(tcp.acknowledgment(packet, 0), -2)
  t.equal(tcp.headerBytes(packet, 0), 24)
  t.equal(tcp.flags(packet, 0), tcp.Flag.SYN | tcp.Flag.ACK)
  t.notOk(tcp.isOpening(packet, 0))
  t.equal(tcp.window(packet, 0), 64240)
  t.equal(tcp.checksum(packet, 0), 0x1234)
  t.equal(tcp.urgentPointer(packet, 0), 5)
  t.equal(tcp.maximumSegmentSize(packet, 0), 1460)
  t.end()
})

t.test('a TCP header is written over dirt', (t) => {
  const packet = dirtyPacket(22)
  tcp.writeHeader(packet, 0, 40000, 443, 0x80000001 | 0, -2, tcp.Flag.SYN | tcp.Flag.ACK, 64240)
  const expected = [...KNOWN_TCP.slice(0, 12), 0x50, ...KNOWN_TCP.slice(13, 16), 0, 0, 0, 0]
  t.strictSame([...bytesOf(packet)], [...expected, 0xa5, 0xa5])
  t.end()
})

t.test('every truncation of a TCP header is not valid, and read no further', (t) => {
  everyTruncation(KNOWN_TCP, (packet) => t.notOk(tcp.isValid(packet, 0)))
  t.end()
})

t.test('a data offset below 5 words or behind the packet is not valid', (t) => {
  for (let words = 0; words < 16; words++) {
    const packet = packetOf(eth().ipv4().tcp({ dataOffsetWords: words }).payload(12).bytes())
    t.equal(tcp.isValid(packet, L4), words >= 5 && words <= 8, `${words} words`)
  }
  t.end()
})

t.test('only SYN without ACK opens a connection', (t) => {
  for (const [flags, opens] of [
    ['SYN', true],
    ['SYN ECE CWR', true],
    ['SYN ACK', false],
    ['ACK', false],
    ['', false],
    ['RST', false],
  ] as const) {
    t.equal(tcp.isOpening(packetOf(eth().ipv4().tcp({ flags }).bytes()), L4), opens, flags)
  }
  t.end()
})

t.test('TCP writers change their field and keep the checksum right', (t) => {
  for (const [builder, at] of [
    [eth().ipv4(), L4],
    [eth().ipv6(), L4_IPV6],
  ] as const) {
    const packet = packetOf(
      builder
        .tcp({ options: [1, 1, 1, 0] })
        .payload('odd')
        .bytes(),
    )
    tcp.setSourcePort(packet, at, 65535)
    tcp.setDestinationPort(packet, at, 1)
    tcp.setSequence(packet, at, -1)
    tcp.setAcknowledgment(packet, at, 0x80000000 | 0)
    tcp.setFlags(packet, at, tcp.Flag.RST | tcp.Flag.ACK)
    tcp.setWindow(packet, at, 0)
    const expected = { from: 65535, to: 1, seq: 0xffffffff, ack: 0x80000000, flags: 'RST ACK' }
    checkPacket(t, bytesOf(packet), {
      tcp: { ...expected, window: 0, options: [1, 1, 1, 0] },
      payload: 'odd',
    })
  }
  t.end()
})

t.test('a TCP checksum is verified and filled, for both families and odd lengths', (t) => {
  for (const length of [0, 1, 2, 3, 1459, 1460]) {
    const four = packetOf(eth().ipv4().tcp().payload(length).bytes())
    const six = packetOf(eth().ipv6().tcp().payload(length).bytes())
    const bytes = 20 + length
    const pseudo4 = checksums.pseudoHeader4(four, L3, Protocol.TCP, bytes)
    const pseudo6 = checksums.pseudoHeader6(six, L3, Protocol.TCP, bytes)
    for (const [packet, at, pseudo] of [
      [four, L4, pseudo4],
      [six, L4_IPV6, pseudo6],
    ] as const) {
      t.ok(tcp.isChecksumRight(packet, at, bytes, pseudo))
      const before = tcp.checksum(packet, at)
      packet.setU16(at + 16, before ^ 0x0100)
      t.notOk(tcp.isChecksumRight(packet, at, bytes, pseudo))
      tcp.fillChecksum(packet, at, bytes, pseudo)
      t.equal(tcp.checksum(packet, at), before, `${length} bytes`)
    }
  }
  t.end()
})

t.test('the MSS is found behind other options, and garbage ends the search', (t) => {
  const mss = (options: number[]) => {
    return tcp.maximumSegmentSize(packetOf(bare().tcp({ options }).bytes()), 0)
  }
  t.equal(mss([2, 4, 0x23, 0x28]), 9000)
  t.equal(mss([1, 3, 3, 7, 4, 2, 2, 4, 2, 24]), 536)
  t.equal(mss([]), tcp.NO_MSS)
  t.equal(mss([0, 2, 4, 5, 180]), tcp.NO_MSS, 'behind the end of options')
  t.equal(mss([3, 0, 2, 4, 5, 180]), tcp.NO_MSS, 'a length of zero')
  t.equal(mss([3, 1, 2, 4, 5, 180]), tcp.NO_MSS, 'a length of one')
  t.equal(mss([1, 1, 2, 4]), tcp.NO_MSS, 'cut by the end of the header')
  t.equal(mss([1, 1, 1, 2]), tcp.NO_MSS, 'no room for its length')
  t.equal(mss([2, 3, 5, 1]), tcp.NO_MSS, 'of a wrong length')
  t.end()
})

t.test('a UDP header is read', (t) => {
  const packet = packetOf(KNOWN_UDP)
  t.ok(udp.isValid(packet, 0))
  t.equal(udp.sourcePort(packet, 0), 40000)
  t.equal(udp.destinationPort(packet, 0), 53)
  t.equal(udp.ports(packet, 0), (40000 << 16) | 53)
  t.equal(udp.length(packet, 0), 9)
  t.equal(udp.checksum(packet, 0), 0xabcd)
  t.end()
})

t.test('a UDP header is written over dirt', (t) => {
  const packet = dirtyPacket(9)
  udp.writeHeader(packet, 0, 40000, 53, 9)
  t.strictSame([...bytesOf(packet)], [...KNOWN_UDP.slice(0, 6), 0, 0, 0xa5])
  t.end()
})

t.test('every truncation of a UDP header is not valid, and read no further', (t) => {
  everyTruncation(KNOWN_UDP.slice(0, 8), (packet) => t.notOk(udp.isValid(packet, 0)))
  t.end()
})

t.test('a UDP length must cover its header, and be there to be whole', (t) => {
  const of = (length: number) => packetOf(eth().ipv4().udp({ length }).payload(4).bytes())
  t.notOk(udp.isValid(of(0), L4))
  t.notOk(udp.isValid(of(7), L4))
  t.ok(udp.isWhole(of(8), L4, 12), 'shorter than IP says')
  t.ok(udp.isWhole(of(12), L4, 12))
  t.ok(udp.isValid(of(13), L4), 'a first fragment')
  t.notOk(udp.isWhole(of(13), L4, 12))
  t.notOk(udp.isWhole(of(7), L4, 12))
  t.end()
})

t.test('UDP writers keep the checksum right, or absent', (t) => {
  for (const checksum of [undefined, 0]) {
    const options = checksum === undefined ? {} : { checksum }
    const packet = packetOf(eth().ipv4().udp(options).payload('odd').bytes())
    udp.setSourcePort(packet, L4, 1)
    udp.setDestinationPort(packet, L4, 65535)
    const found = checkPacket(t, bytesOf(packet), { udp: { from: 1, to: 65535, length: 11 } })
    t.equal(found.udp?.checksum === 0, checksum === 0, 'zero stays zero, and nothing becomes zero')
  }
  t.end()
})

t.test('a UDP checksum that computes to zero is sent as all ones', (t) => {
  const packet = packetOf(eth().ipv4().udp().payload(Uint8Array.of(0, 0)).bytes())
  const pseudo = checksums.pseudoHeader4(packet, L3, Protocol.UDP, 10)
  // Put the checksum itself into the data: then all words add up to all ones.
  packet.setU16(L4 + 8, udp.checksum(packet, L4))
  udp.fillChecksum(packet, L4, pseudo)
  t.equal(udp.checksum(packet, L4), 0xffff, 'recomputed')
  t.ok(udp.isChecksumRight(packet, L4, pseudo))
  checkPacket(t, bytesOf(packet), { udp: { checksum: 0xffff } })

  udp.setSourcePort(packet, L4, 1)
  checkPacket(t, bytesOf(packet), { udp: { from: 1 } }, 'changed from all ones')
  udp.setSourcePort(packet, L4, 40000)
  t.equal(udp.checksum(packet, L4), 0xffff, 'incrementally')
  checkPacket(t, bytesOf(packet), { udp: { from: 40000 } })
  t.end()
})

t.test('a UDP checksum is verified, and zero is none', (t) => {
  const packet = packetOf(eth().ipv6().udp().payload('hello').bytes())
  const pseudo = checksums.pseudoHeader6(packet, L3, Protocol.UDP, 13)
  t.ok(udp.isChecksumRight(packet, L4_IPV6, pseudo))
  packet.setU8(L4_IPV6 + 12, 0)
  t.notOk(udp.isChecksumRight(packet, L4_IPV6, pseudo))
  packet.setU16(L4_IPV6 + 6, udp.NO_CHECKSUM)
  t.ok(udp.isChecksumRight(packet, L4_IPV6, pseudo))
  t.end()
})

t.test('a delta of the addresses is taken over by TCP and UDP', (t) => {
  const to = 0xc0a80105 | 0
  const delta = checksums.delta32(0x0a000002, to)
  const expected = { ipv4: { to: '192.168.1.5' } }
  const segment = packetOf(eth().ipv4().tcp().bytes())
  segment.setI32(L3 + 16, to)
  segment.setU16(L3 + 10, checksums.apply(segment.u16(L3 + 10), delta))
  tcp.applyChecksumDelta(segment, L4, delta)
  checkPacket(t, bytesOf(segment), expected)
  const datagram = packetOf(eth().ipv4().udp().bytes())
  datagram.setI32(L3 + 16, to)
  datagram.setU16(L3 + 10, checksums.apply(datagram.u16(L3 + 10), delta))
  udp.applyChecksumDelta(datagram, L4, delta)
  checkPacket(t, bytesOf(datagram), expected)
  t.end()
})
