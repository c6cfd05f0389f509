/** The words that name a flow. */
import t from 'tap'
import { parseAddress } from '../../src/wire/address.js'
import { Protocol } from '../../src/wire/protocols.js'
import { readQuoted, readTuple, TUPLE_WORDS, TupleStatus } from '../../src/wire/tuple.js'
import { bare, eth, type PacketBuilder } from '../support/packet-builder.js'
import { everyTruncation, packetOf } from '../support/packet-memory.js'

const L3 = 14
const L4 = 34
const L4_IPV6 = 54
const A4 = [0, 0, 0xffff, 0x0a000001]
const B4 = [0, 0, 0xffff, 0xc0a80102 | 0]
const A6 = [...parseAddress('2001:db8::1')]
const B6 = [...parseAddress('fe80::ff00:2')]
const four = eth().ipv4({ from: '10.0.0.1', to: '192.168.1.2' })
const six = eth().ipv6({ from: '2001:db8::1', to: 'fe80::ff00:2' })

/** Status and words, read into the middle of a larger array whose other words must stay. */
function read(builder: PacketBuilder, at: number, protocol: number): [TupleStatus, number[]] {
  const words = new Int32Array(TUPLE_WORDS + 4).fill(-7)
  const status = readTuple(packetOf(builder.bytes()), L3, at, protocol, words, 2)
  const around = [words[0], words[1], words[12], words[13]]
  if (around.some((word) => word !== -7)) throw new Error('wrote beside the tuple')
  return [status, [...words.subarray(2, 2 + TUPLE_WORDS)]]
}

t.test('TCP and UDP over IPv4', (t) => {
  const ports = (40000 << 16) | 443
  const segment = read(four.tcp({ from: 40000, to: 443 }), L4, Protocol.TCP)
  t.strictSame(segment, [TupleStatus.OK, [...A4, ...B4, ports, 6]])
  const datagram = read(four.udp({ from: 40000, to: 443 }), L4, Protocol.UDP)
  t.strictSame(datagram, [TupleStatus.OK, [...A4, ...B4, ports, 17]])
  t.end()
})

t.test('TCP and UDP over IPv6', (t) => {
  const segment = read(six.tcp({ from: 1, to: 65535 }), L4_IPV6, Protocol.TCP)
  t.strictSame(segment, [TupleStatus.OK, [...A6, ...B6, 0x1ffff, 6]])
  const behind = read(six.extension(0).udp({ from: 1, to: 2 }), L4_IPV6 + 8, Protocol.UDP)
  t.strictSame(behind, [TupleStatus.OK, [...A6, ...B6, 0x10002, 17]])
  t.end()
})

t.test('SCTP has its ports where TCP has them', (t) => {
  const sctp = eth()
    .ipv4({ protocol: 132 })
    .payload(Uint8Array.of(0, 80, 0, 90, 0, 0, 0, 0))
  t.equal(read(sctp, L4, Protocol.SCTP)[1][8], (80 << 16) | 90)
  t.end()
})

t.test("an echo's identifier is a destination port, a reply's a source port", (t) => {
  const id = 0xabcd
  const request = read(four.icmpEcho({ id }), L4, Protocol.ICMPV4)
  t.strictSame(request, [TupleStatus.OK, [...A4, ...B4, id, 1]])
  const reply = read(four.icmpEcho({ id, reply: true }), L4, Protocol.ICMPV4)
  t.strictSame(reply, [TupleStatus.OK, [...A4, ...B4, id << 16, 1]])
  const request6 = read(six.icmpEcho({ id }), L4_IPV6, Protocol.ICMPV6)
  t.strictSame(request6, [TupleStatus.OK, [...A6, ...B6, id, 58]])
  const reply6 = read(six.icmpEcho({ id, reply: true }), L4_IPV6, Protocol.ICMPV6)
  t.strictSame(reply6, [TupleStatus.OK, [...A6, ...B6, id << 16, 58]])
  t.end()
})

t.test('other ICMP messages have no ports', (t) => {
  const timestamp = eth()
    .ipv4({ protocol: 1 })
    .payload(Uint8Array.of(13, 0, 0, 0, 1, 2, 3, 4))
  const [status, words] = read(timestamp, L4, Protocol.ICMPV4)
  t.equal(status, TupleStatus.OK)
  t.equal(words[8], 0)
  const solicitation = Uint8Array.of(135, 0, 0, 0, 1, 2, 3, 4)
  const neighbour = eth().ipv6({ nextHeader: 58 }).payload(solicitation)
  t.strictSame(read(neighbour, L4_IPV6, Protocol.ICMPV6)[1].slice(8), [0, 58])
  t.end()
})

t.test('an ICMP error says so, and its quote has the tuple it is about', (t) => {
  const quoted = bare().ipv4({ from: '192.168.1.2', to: '10.0.0.1' }).udp({ from: 5, to: 6 })
  const error = four.icmpError({ quoted, quotedBytes: 28 })
  t.equal(read(error, L4, Protocol.ICMPV4)[0], TupleStatus.ICMP_ERROR)
  const words = new Int32Array(TUPLE_WORDS)
  t.equal(readQuoted(packetOf(error.bytes()), L4, true, words, 0), TupleStatus.OK)
  t.strictSame([...words], [...B4, ...A4, 0x50006, 17])

  const quoted6 = bare().ipv6({ from: 'fe80::ff00:2', to: '2001:db8::1' }).extension(60)
  const error6 = six.icmpError({ quoted: quoted6.tcp({ from: 5, to: 6 }) })
  t.equal(read(error6, L4_IPV6, Protocol.ICMPV6)[0], TupleStatus.ICMP_ERROR)
  t.equal(readQuoted(packetOf(error6.bytes()), L4_IPV6, false, words, 0), TupleStatus.OK)
  t.strictSame([...words], [...B6, ...A6, 0x50006, 6])
  t.end()
})

t.test('a quote that does not reach the ports is truncated', (t) => {
  const words = new Int32Array(TUPLE_WORDS)
  const quoted = bare().ipv4().udp().payload(20)
  for (let quotedBytes = 0; quotedBytes < 28; quotedBytes++) {
    const packet = packetOf(four.icmpError({ quoted, quotedBytes }).bytes())
    const status = readQuoted(packet, L4, true, words, 0)
    const expected = quotedBytes < 24 ? TupleStatus.TRUNCATED : TupleStatus.OK
    t.equal(status, expected, `${quotedBytes} bytes of IPv4`)
  }
  const quoted6 = bare().ipv6().extension(60).udp()
  for (let quotedBytes = 0; quotedBytes < 56; quotedBytes++) {
    const packet = packetOf(six.icmpError({ quoted: quoted6, quotedBytes }).bytes())
    const status = readQuoted(packet, L4_IPV6, false, words, 0)
    const expected = quotedBytes < 52 ? TupleStatus.TRUNCATED : TupleStatus.OK
    t.equal(status, expected, `${quotedBytes} bytes of IPv6`)
  }
  t.end()
})

t.test('a later fragment has no ports, the first one has', (t) => {
  const first = eth().ipv4({ flags: 'MF' }).udp({ from: 1, to: 2 }).payload(8)
  t.equal(read(first, L4, Protocol.UDP)[0], TupleStatus.OK)
  const later = eth().ipv4({ fragmentOffset: 8, protocol: 17 }).payload(8)
  const [status, words] = read(later, L4, Protocol.UDP)
  t.equal(status, TupleStatus.LATER_FRAGMENT)
  t.strictSame(words.slice(8), [0, 17])
  const first6 = six.fragment6({ more: true }).udp({ from: 1, to: 2 }).payload(8)
  t.equal(read(first6, L4_IPV6 + 8, Protocol.UDP)[1][8], 0x10002)
  const later6 = six.fragment6({ offset: 8, nextHeader: 17 }).payload(8)
  const found = read(later6, L4_IPV6 + 8, Protocol.UDP)
  t.strictSame(found, [TupleStatus.LATER_FRAGMENT, [...A6, ...B6, 0, 17]])
  t.end()
})

t.test('an unknown protocol has no ports', (t) => {
  const gre = read(eth().ipv4({ protocol: 47 }).payload(8), L4, 47)
  t.equal(gre[0], TupleStatus.NO_PORTS)
  t.strictSame(gre[1].slice(8), [0, 47])
  t.end()
})

t.test('ports in the padding of Ethernet are not ports', (t) => {
  const short = eth().ipv4({ totalLength: 23 }).udp().payload(20)
  const [status, words] = read(short, L4, Protocol.UDP)
  t.equal(status, TupleStatus.TRUNCATED)
  t.strictSame(words.slice(8), [0, 17])
  const echo = eth().ipv4({ totalLength: 27 }).icmpEcho().payload(20)
  t.equal(read(echo, L4, Protocol.ICMPV4)[0], TupleStatus.TRUNCATED)
  t.end()
})

t.test('every truncation behind the IP header is told, and read no further', (t) => {
  const words = new Int32Array(TUPLE_WORDS)
  for (const [builder, protocol, needed] of [
    [eth().ipv4().tcp(), Protocol.TCP, 4],
    [eth().ipv4().udp(), Protocol.UDP, 4],
    [eth().ipv4().icmpEcho(), Protocol.ICMPV4, 8],
  ] as const) {
    everyTruncation(builder.bytes(), (packet, length) => {
      if (length < L4) return
      const status = readTuple(packet, L3, L4, protocol, words, 0)
      const expected = length < L4 + needed ? TupleStatus.TRUNCATED : TupleStatus.OK
      t.equal(status, expected, `protocol ${protocol}, ${length} bytes`)
    })
  }
  t.end()
})
