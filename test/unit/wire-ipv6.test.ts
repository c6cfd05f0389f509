/** The IPv6 header and the walk over its extension headers. */
import t from 'tap'
import * as ipv6 from '../../src/wire/ipv6.js'
import { Protocol } from '../../src/wire/protocols.js'
import { eth, type PacketBuilder } from '../support/packet-builder.js'
import { checkPacket } from '../support/packet-checker.js'
import { bytesOf, everyTruncation, packetOf } from '../support/packet-memory.js'
import { seededPrng } from '../support/seed.js'

const L3 = 14
const L4 = L3 + 40
// Typed by hand: class b8, label 12345, 12 bytes of UDP, hop limit 64, 2001:db8::1 to fe80::ff00:2.
const KNOWN = [
  ...[0x6b, 0x81, 0x23, 0x45, 0x00, 0x0c, 0x11, 0x40],
  ...[0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
  ...[0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0, 0, 2],
  ...new Array<number>(12).fill(0),
]

function walk(builder: PacketBuilder): number {
  return ipv6.upperLayer(packetOf(builder.bytes()), L3)
}

t.test('a header is read', (t) => {
  const packet = packetOf(KNOWN)
  t.ok(ipv6.isValid(packet, 0))
  t.equal(ipv6.trafficClass(packet, 0), 0xb8)
  t.equal(ipv6.flowLabel(packet, 0), 0x12345)
  t.equal(ipv6.payloadLength(packet, 0), 12)
  t.equal(ipv6.end(packet, 0), 52)
  t.equal(ipv6.nextHeader(packet, 0), Protocol.UDP)
  t.equal(ipv6.hopLimit(packet, 0), 64)
  const words = [0, 1, 2, 3]
  const source = words.map((i) => ipv6.sourceWord(packet, 0, i))
  t.strictSame(source, [0x20010db8, 0, 0, 1])
  const destination = words.map((i) => ipv6.destinationWord(packet, 0, i))
  t.strictSame(destination, [0xfe800000 | 0, 0, 0, 0xff000002 | 0])
  t.end()
})

t.test('every truncation is not valid, and read no further', (t) => {
  everyTruncation(KNOWN, (packet, length) => {
    t.notOk(ipv6.isValid(packet, 0))
    t.equal(ipv6.isHeaderValid(packet, 0), length >= 40)
  })
  t.end()
})

t.test('a wrong version or length is not valid', (t) => {
  t.notOk(ipv6.isValid(packetOf(eth().ipv6({ version: 4 }).udp().bytes()), L3))
  t.notOk(ipv6.isValid(packetOf(eth().ipv6({ payloadLength: 9 }).udp().bytes()), L3))
  t.ok(ipv6.isValid(packetOf(eth().ipv6({ payloadLength: 7 }).udp().bytes()), L3))
  t.end()
})

t.test('the hop limit lowers and nothing else changes', (t) => {
  const packet = packetOf(eth().ipv6({ hopLimit: 64 }).udp().bytes())
  ipv6.decrementHopLimit(packet, L3)
  checkPacket(t, bytesOf(packet), eth().ipv6({ hopLimit: 63 }).udp())
  t.end()
})

t.test('without extension headers the upper layer follows at once', (t) => {
  const found = walk(eth().ipv6().tcp())
  t.equal(ipv6.upperProtocol(found), Protocol.TCP)
  t.equal(ipv6.upperOffset(found), L4)
  t.notOk(ipv6.isFragment(found))
  t.end()
})

t.test('each kind of extension header is skipped by its own unit', (t) => {
  for (const [kind, bytes] of [
    [Protocol.HOP_BY_HOP, 8],
    [Protocol.ROUTING, 8],
    [Protocol.DESTINATION_OPTIONS, 8],
    [Protocol.AUTHENTICATION, 12],
  ] as const) {
    const short = walk(
      eth()
        .ipv6()
        .extension(kind, { body: new Array(bytes - 2).fill(0) })
        .udp(),
    )
    t.equal(ipv6.upperProtocol(short), Protocol.UDP, `protocol behind ${kind}`)
    t.equal(ipv6.upperOffset(short), L4 + bytes)
    const long = walk(
      eth()
        .ipv6()
        .extension(kind, { body: new Array(46).fill(1) })
        .udp(),
    )
    t.equal(ipv6.upperOffset(long), L4 + 48, `48 bytes of ${kind}`)
  }
  t.end()
})

t.test('a chain of all of them leads to the upper layer', (t) => {
  const chain = eth().ipv6().extension(0).extension(60).extension(43).fragment6().extension(51)
  const found = walk(chain.extension(60).udp().payload('x'))
  t.equal(ipv6.upperProtocol(found), Protocol.UDP)
  t.equal(ipv6.upperOffset(found), L4 + 8 + 8 + 8 + 8 + 8 + 8)
  t.notOk(ipv6.isFragment(found), 'RFC 6946: an atomic fragment is whole')
  t.end()
})

t.test('fragments are told apart, and a later one is not walked into', (t) => {
  const first = walk(eth().ipv6().fragment6({ more: true }).udp().payload(8))
  t.ok(ipv6.isFragment(first))
  t.notOk(ipv6.isLaterFragment(first))
  t.equal(ipv6.upperOffset(first), L4 + 8)
  const later = eth().ipv6().extension(0).fragment6({ offset: 1448, id: 7, nextHeader: 60 })
  const found = walk(later.payload(8))
  t.ok(ipv6.isFragment(found))
  t.ok(ipv6.isLaterFragment(found))
  t.equal(ipv6.upperProtocol(found), Protocol.DESTINATION_OPTIONS, 'what its data continues')
  t.equal(ipv6.upperOffset(found), L4 + 16)
  t.end()
})

t.test('the fragment header is found, with its number and offset', (t) => {
  const packet = packetOf(
    eth().ipv6().extension(0).fragment6({ offset: 1448, id: 0xdeadbeef }).payload(8).bytes(),
  )
  const at = ipv6.fragmentHeader(packet, L3)
  t.equal(at, L4 + 8)
  t.equal(ipv6.fragmentIdentification(packet, at), 0xdeadbeef | 0)
  t.equal(ipv6.fragmentOffset(packet, at), 1448)
  const whole = packetOf(eth().ipv6().extension(0).udp().bytes())
  t.equal(ipv6.fragmentHeader(whole, L3), ipv6.NO_FRAGMENT_HEADER)
  const broken = packetOf(eth().ipv6().extension(0, { length: 200 }).udp().bytes())
  t.equal(ipv6.fragmentHeader(broken, L3), ipv6.NO_FRAGMENT_HEADER)
  t.end()
})

t.test('ESP and no next header end the walk', (t) => {
  const esp = walk(eth().ipv6({ nextHeader: Protocol.ESP }).payload(16))
  t.equal(ipv6.upperProtocol(esp), Protocol.ESP)
  const none = walk(eth().ipv6().extension(60, { nextHeader: Protocol.NO_NEXT_HEADER }))
  t.equal(ipv6.upperProtocol(none), Protocol.NO_NEXT_HEADER)
  t.equal(ipv6.upperOffset(none), L4 + 8)
  t.end()
})

t.test('hop-by-hop options stand first or nowhere', (t) => {
  t.equal(walk(eth().ipv6().extension(60).extension(0).udp()), ipv6.MALFORMED)
  t.equal(walk(eth().ipv6().extension(0).extension(0).udp()), ipv6.MALFORMED)
  t.end()
})

t.test('a chain longer than the bound is refused, the longest is not', (t) => {
  let builder = eth().ipv6()
  for (let i = 0; i < ipv6.IPV6_EXTENSION_HEADERS_MAX; i++) builder = builder.extension(60)
  t.equal(ipv6.upperProtocol(walk(builder.udp())), Protocol.UDP)
  t.equal(walk(builder.extension(60).udp()), ipv6.TOO_MANY_HEADERS)
  t.end()
})

t.test('a header that ends behind the packet is malformed', (t) => {
  t.equal(walk(eth().ipv6().extension(60, { length: 255 }).udp()), ipv6.MALFORMED)
  t.equal(walk(eth().ipv6().extension(51, { length: 255 }).udp()), ipv6.MALFORMED)
  const jumbo = eth()
    .ipv6({ payloadLength: 0 })
    .extension(0, { body: [0xc2, 4, 0, 1, 0, 0] })
  t.equal(walk(jumbo.udp()), ipv6.MALFORMED, 'a jumbogram')
  const inPadding = eth().ipv6({ payloadLength: 4 }).extension(60).udp()
  t.equal(walk(inPadding), ipv6.MALFORMED, 'bytes behind the payload length do not count')
  t.end()
})

t.test('every truncation of a chain is walked without reading further', (t) => {
  const chain = eth().ipv6().extension(0).extension(51).fragment6().udp().bytes().subarray(L3)
  everyTruncation(chain, (packet, length) => {
    if (length < 40) return
    const found = ipv6.upperLayer(packet, 0)
    if (length < 64) t.equal(found, ipv6.MALFORMED, `cut at ${length}`)
    else t.equal(ipv6.upperOffset(found), 64, `headers are whole at ${length}`)
    const fragment = ipv6.fragmentHeader(packet, 0)
    t.ok(fragment === ipv6.NO_FRAGMENT_HEADER || fragment + 8 <= length)
  })
  t.end()
})

t.test('garbage never leads out of the packet', (t) => {
  const prng = seededPrng(t)
  const kinds = [0, 43, 44, 51, 60, 60, 44, 6, 17, 50, 255]
  for (let i = 0; i < 20_000; i++) {
    const length = 40 + prng.below(120)
    const packet = packetOf(Array.from({ length }, () => prng.nextInt32() & 0xff))
    // Make extension headers likely: any byte may be a next header, most lengths are short.
    for (let at = 40; at + 2 <= length; at += 4) {
      packet.setU8(at, kinds[prng.below(kinds.length)] ?? 0)
      packet.setU8(at + 1, prng.below(3))
    }
    packet.setU8(0, 0x60)
    packet.setU16(4, prng.chance(0.9) ? length - 40 : prng.below(0x10000))
    packet.setU8(6, kinds[prng.below(kinds.length)] ?? 0)
    const found = ipv6.upperLayer(packet, 0)
    const isInside = found < 0 || (ipv6.upperOffset(found) >= 40 && packet.has(found & 0xffff))
    if (!isInside) t.fail('led out of the packet', { bytes: [...bytesOf(packet)], found })
  }
  t.end()
})
