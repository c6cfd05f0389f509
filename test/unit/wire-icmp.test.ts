/** ICMP: echo, errors and what they quote, and the errors that we make. */
import t from 'tap'
import * as ethernet from '../../src/wire/ethernet.js'
import * as icmpv4 from '../../src/wire/icmpv4.js'
import * as icmpv6 from '../../src/wire/icmpv6.js'
import { bare, eth, GATEWAY_MAC, type PacketBuilder, POD_MAC } from '../support/packet-builder.js'
import { checkPacket } from '../support/packet-checker.js'
import { bytesOf, dirtyPacket, everyTruncation, packetOf } from '../support/packet-memory.js'

const L3 = 14
const L4 = 34
// Typed by hand: echo request, id 0x1234, seq 2; the checksum is ~(0800 + 1234 + 0002) = e5c9.
const KNOWN_ECHO = [0x08, 0x00, 0xe5, 0xc9, 0x12, 0x34, 0x00, 0x02]
const NODE = 0x0a0000fe

t.test('an echo request is read', (t) => {
  const packet = packetOf(KNOWN_ECHO)
  t.ok(icmpv4.isValid(packet, 0))
  t.equal(icmpv4.type(packet, 0), icmpv4.Type.ECHO_REQUEST)
  t.equal(icmpv4.code(packet, 0), 0)
  t.equal(icmpv4.checksum(packet, 0), 0xe5c9)
  t.ok(icmpv4.isChecksumRight(packet, 0, 8))
  t.equal(icmpv4.identifier(packet, 0), 0x1234)
  t.equal(icmpv4.sequence(packet, 0), 2)
  t.end()
})

t.test('an echo request is written over dirt', (t) => {
  const packet = dirtyPacket(9)
  icmpv4.writeHeader(packet, 0, icmpv4.Type.ECHO_REQUEST, 0, 0x12340002)
  icmpv4.fillChecksum(packet, 0, 8)
  t.strictSame([...bytesOf(packet)], [...KNOWN_ECHO, 0xa5])
  t.end()
})

t.test('every truncation is not valid, and read no further', (t) => {
  everyTruncation(KNOWN_ECHO, (packet) => {
    t.notOk(icmpv4.isValid(packet, 0))
    t.notOk(icmpv6.isValid(packet, 0))
  })
  t.end()
})

t.test('writers keep the checksum right', (t) => {
  const packet = packetOf(eth().ipv4().icmpEcho({ id: 1, seq: 1 }).payload('odd').bytes())
  icmpv4.setIdentifier(packet, L4, 0xffff)
  icmpv4.setSequence(packet, L4, 0)
  checkPacket(t, bytesOf(packet), { icmp: { type: 8, id: 0xffff, seq: 0 }, payload: 'odd' })
  icmpv4.turnIntoReply(packet, L4)
  checkPacket(t, bytesOf(packet), { icmp: { type: 0, id: 0xffff, seq: 0 } })
  packet.setU8(L4 + 8, packet.u8(L4 + 8) ^ 0xff)
  t.notOk(icmpv4.isChecksumRight(packet, L4, 11))
  t.end()
})

t.test('errors and echoes are told from other messages', (t) => {
  const types = Array.from({ length: 256 }, (_, type) => type)
  t.strictSame(types.filter(icmpv4.isError), [3, 4, 5, 11, 12])
  t.strictSame(types.filter(icmpv4.isEcho), [0, 8])
  t.strictSame(types.filter(icmpv6.isError), types.slice(0, 128))
  t.end()
})

t.test('a quote counts when it reaches the ports', (t) => {
  const original = bare()
    .ipv4({ options: [1, 1, 1, 0] })
    .udp()
    .payload(50)
  for (let quotedBytes = 0; quotedBytes <= 40; quotedBytes++) {
    const error = eth().ipv4().icmpError({ quoted: original, quotedBytes })
    const packet = packetOf(error.bytes())
    const end = packet.length
    t.equal(icmpv4.isQuoteValid(packet, L4, end), quotedBytes >= 32, `${quotedBytes} bytes`)
    t.notOk(icmpv4.isQuoteValid(packet, L4, L4 + 8 + 31), 'the datagram ends before')
  }
  t.equal(icmpv4.quotedOffset(L4), L4 + 8)
  t.end()
})

t.test('the next hop MTU is read', (t) => {
  const quoted = bare().ipv4().udp()
  const error = eth().ipv4().icmpError({ type: 3, code: 4, rest: 1400, quoted })
  t.equal(icmpv4.nextHopMtu(packetOf(error.bytes()), L4), 1400)
  t.end()
})

t.test('an error encloses the packet that it is about, cut to 64 bytes', (t) => {
  for (const [length, quotedBytes] of [
    [0, 28],
    [10, 38],
    [36, 64],
    [1472, 64],
  ] as const) {
    const builder = eth().ipv4({ ttl: 1 }).udp().payload(length)
    const packet = packetOf(builder.pad(60).bytes())
    const { HOST } = icmpv4.Unreachable
    const type = icmpv4.Type.DESTINATION_UNREACHABLE
    t.ok(icmpv4.encloseInError(packet, type, HOST, 0, NODE))
    ethernet.turnBack(packet, 0, 0x02000000, 0x0002)
    const quoted = builder.bytes().subarray(L3)
    checkPacket(
      t,
      bytesOf(packet),
      eth({ from: GATEWAY_MAC, to: POD_MAC })
        .ipv4({ from: '10.0.0.254', to: '10.0.0.1', flags: 'DF' })
        .icmpError({ type: 3, code: 1, quoted, quotedBytes }),
      `${length} bytes of data`,
    )
  }
  t.end()
})

t.test('an error quotes a header with all its options and 8 bytes more', (t) => {
  const options = new Array<number>(40).fill(1)
  const packet = packetOf(eth().ipv4({ options }).udp().payload(100).bytes())
  t.ok(icmpv4.encloseInError(packet, icmpv4.Type.TIME_EXCEEDED, 0, 0, NODE))
  const found = checkPacket(t, bytesOf(packet), {
    icmp: { type: 11, code: 0, rest: 0 },
    quoted: { ipv4: { options }, udp: { to: 53, length: 108 } },
  })
  t.equal(found.ipv4?.totalLength, 28 + 68)
  t.end()
})

t.test('an error carries the next hop MTU in its second word', (t) => {
  const packet = packetOf(eth().ipv4({ flags: 'DF' }).tcp().payload(1400).bytes())
  const type = icmpv4.Type.DESTINATION_UNREACHABLE
  const code = icmpv4.Unreachable.FRAGMENTATION_NEEDED
  t.ok(icmpv4.encloseInError(packet, type, code, 1280, NODE))
  t.equal(icmpv4.nextHopMtu(packet, L4), 1280)
  checkPacket(t, bytesOf(packet), { icmp: { type: 3, code: 4, rest: 1280 } })
  t.end()
})

t.test('without headroom there is no error, and nothing changes', (t) => {
  const packet = packetOf(eth().ipv4().udp().bytes())
  while (packet.pushHead(8));
  const before = bytesOf(packet)
  t.notOk(icmpv4.encloseInError(packet, icmpv4.Type.TIME_EXCEEDED, 0, 0, NODE))
  t.strictSame(bytesOf(packet), before)
  t.end()
})

t.test('RFC 1122: what must not be answered with an error', (t) => {
  const may = (builder: PacketBuilder) => {
    return icmpv4.mayAnswerWithError(packetOf(builder.bytes()), L3)
  }
  const quoted = bare().ipv4().udp()
  t.ok(may(eth().ipv4().udp()))
  t.ok(may(eth().ipv4().tcp()))
  t.ok(may(eth().ipv4().icmpEcho()))
  t.ok(may(eth().ipv4({ flags: 'MF' }).udp().payload(16)), 'a first fragment')
  t.notOk(may(eth().ipv4({ fragmentOffset: 8, protocol: 17 }).payload(16)), 'a later one')
  for (const type of [3, 4, 5, 11, 12]) {
    t.notOk(may(eth().ipv4().icmpError({ type, quoted })), `an error, ${type}`)
  }
  t.notOk(may(eth().ipv4({ protocol: 1 }).payload(1)), 'ICMP that does not say what it is')
  for (const address of ['0.0.0.0', '127.0.0.1', '224.0.0.1', '239.1.2.3', '255.255.255.255']) {
    t.notOk(may(eth().ipv4({ to: address }).udp()), `to ${address}`)
    t.notOk(may(eth().ipv4({ from: address }).udp()), `from ${address}`)
  }
  t.end()
})

t.test('an ICMPv6 echo and error are read', (t) => {
  const echo = packetOf(eth().ipv6().icmpEcho({ id: 0xabcd, seq: 3, reply: true }).bytes())
  t.equal(icmpv6.type(echo, 54), icmpv6.Type.ECHO_REPLY)
  t.equal(icmpv6.code(echo, 54), 0)
  t.equal(icmpv6.identifier(echo, 54), 0xabcd)
  t.equal(icmpv6.sequence(echo, 54), 3)
  t.equal(icmpv6.quotedOffset(54), 62)
  t.end()
})
