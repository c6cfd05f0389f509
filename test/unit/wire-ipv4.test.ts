/** The IPv4 header. */
import t from 'tap'
import * as ipv4 from '../../src/wire/ipv4.js'
import { Protocol } from '../../src/wire/protocols.js'
import { eth } from '../support/packet-builder.js'
import { checkPacket } from '../support/packet-checker.js'
import { bytesOf, dirtyPacket, everyTruncation, packetOf } from '../support/packet-memory.js'

// The header that textbooks compute: 192.168.0.1 to 192.168.0.199, UDP, checksum b861; and its 95
// bytes of payload.
const KNOWN = [
  ...[0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61],
  ...[0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7],
  ...new Array<number>(95).fill(0),
]
const L3 = 14

t.test('a header is read', (t) => {
  const packet = packetOf(KNOWN)
  t.ok(ipv4.isValid(packet, 0))
  t.equal(ipv4.version(packet, 0), 4)
  t.equal(ipv4.headerBytes(packet, 0), 20)
  t.notOk(ipv4.hasOptions(packet, 0))
  t.equal(ipv4.typeOfService(packet, 0), 0)
  t.equal(ipv4.totalLength(packet, 0), 115)
  t.equal(ipv4.identification(packet, 0), 0)
  t.ok(ipv4.dontFragment(packet, 0))
  t.notOk(ipv4.moreFragments(packet, 0))
  t.notOk(ipv4.isFragment(packet, 0))
  t.equal(ipv4.ttl(packet, 0), 64)
  t.equal(ipv4.protocol(packet, 0), Protocol.UDP)
  t.equal(ipv4.checksum(packet, 0), 0xb861)
  t.ok(ipv4.isChecksumRight(packet, 0))
  t.equal(ipv4.source(packet, 0), 0xc0a80001 | 0, 'signed')
  t.equal(ipv4.destination(packet, 0), 0xc0a800c7 | 0)
  t.equal(ipv4.payloadOffset(packet, 0), 20)
  t.equal(ipv4.payloadBytes(packet, 0), 95)
  t.end()
})

t.test('a header is written over dirt', (t) => {
  const packet = dirtyPacket(22)
  ipv4.writeHeader(packet, 0, 115, 64, Protocol.UDP, 0xc0a80001 | 0, 0xc0a800c7 | 0)
  t.strictSame([...bytesOf(packet)], [...KNOWN.slice(0, 20), 0xa5, 0xa5])
  t.end()
})

t.test('every truncation is not valid, and read no further', (t) => {
  everyTruncation(KNOWN, (packet) => t.notOk(ipv4.isValid(packet, 0)))
  const options = eth()
    .ipv4({ options: [7, 7, 4, 0, 0, 0, 0, 0] })
    .udp()
    .bytes()
    .subarray(L3)
  everyTruncation(options, (packet, length) => {
    t.notOk(ipv4.isValid(packet, 0))
    t.equal(ipv4.isHeaderValid(packet, 0), length >= 28, `header within ${length}`)
  })
  t.end()
})

t.test('a packet shorter than its frame is valid, a longer one is not', (t) => {
  t.ok(ipv4.isValid(packetOf(eth().ipv4().udp().pad(60).bytes()), L3))
  const long = packetOf(eth().ipv4({ totalLength: 29 }).udp().bytes())
  t.notOk(ipv4.isValid(long, L3))
  t.ok(ipv4.isHeaderValid(long, L3), 'its header is, as of a quoted packet')
  t.end()
})

t.test('wrong versions and lengths are not valid', (t) => {
  for (const wrong of [
    { version: 0 },
    { version: 5 },
    { version: 6 },
    { headerWords: 0 },
    { headerWords: 4 },
    { headerWords: 15 },
    { totalLength: 0 },
    { totalLength: 19 },
    { totalLength: 0xffff },
    { headerWords: 6, totalLength: 23 },
  ]) {
    const packet = packetOf(eth().ipv4(wrong).udp().payload('hello').bytes())
    t.notOk(ipv4.isValid(packet, L3), JSON.stringify(wrong))
  }
  t.end()
})

t.test('a wrong checksum is seen in every bit, with and without options', (t) => {
  for (const options of [[], [1, 1, 1, 0]]) {
    const packet = packetOf(eth().ipv4({ options }).udp().bytes())
    t.ok(ipv4.isChecksumRight(packet, L3))
    for (let bit = 0; bit < 16; bit++) {
      packet.setU16(L3 + 10, ipv4.checksum(packet, L3) ^ (1 << bit))
      t.notOk(ipv4.isChecksumRight(packet, L3))
      packet.setU16(L3 + 10, ipv4.checksum(packet, L3) ^ (1 << bit))
    }
  }
  t.end()
})

t.test('writers change their field and keep the checksum right', (t) => {
  const packet = packetOf(
    eth()
      .ipv4({ options: [1, 1, 1, 0] })
      .udp({ checksum: 0 })
      .bytes(),
  )
  ipv4.decrementTtl(packet, L3)
  ipv4.setSource(packet, L3, 0xc0a80105 | 0)
  ipv4.setDestination(packet, L3, -1)
  ipv4.setIdentification(packet, L3, 0xbeef)
  ipv4.setTypeOfService(packet, L3, 0xb8)
  const expected = { from: '192.168.1.5', to: '255.255.255.255', ttl: 63, id: 0xbeef, tos: 0xb8 }
  checkPacket(t, bytesOf(packet), { ipv4: { ...expected, protocol: 17, options: [1, 1, 1, 0] } })
  ipv4.setTtl(packet, L3, 1)
  ipv4.setTotalLength(packet, L3, 32)
  checkPacket(t, bytesOf(packet), { ipv4: { ttl: 1, protocol: 17, totalLength: 32 } })
  t.end()
})

t.test('a TTL lowers from each value to the next with a right checksum', (t) => {
  const packet = packetOf(eth().ipv4({ ttl: 255 }).udp().bytes())
  for (let ttl = 254; ttl > 0; ttl--) {
    ipv4.decrementTtl(packet, L3)
    t.ok(ipv4.ttl(packet, L3) === ttl && ipv4.isChecksumRight(packet, L3))
  }
  t.end()
})

t.test('fragments are told apart', (t) => {
  const at = (flags: string, fragmentOffset: number) =>
    packetOf(eth().ipv4({ flags, fragmentOffset, protocol: 17 }).payload(8).bytes())
  const first = at('MF', 0)
  t.ok(ipv4.isFragment(first, L3))
  t.notOk(ipv4.isLaterFragment(first, L3))
  t.ok(ipv4.moreFragments(first, L3))
  const middle = at('MF', 1480)
  t.ok(ipv4.isLaterFragment(middle, L3))
  t.equal(ipv4.fragmentOffset(middle, L3), 1480)
  const last = at('', 65528)
  t.ok(ipv4.isFragment(last, L3))
  t.ok(ipv4.isLaterFragment(last, L3))
  t.equal(ipv4.fragmentOffset(last, L3), 65528)
  t.notOk(ipv4.isFragment(at('DF', 0), L3))
  t.ok(ipv4.dontFragment(at('DF MF', 8), L3))
  t.end()
})

t.test('options are found behind others, and garbage ends the search', (t) => {
  const find = (options: number[], type: number) => {
    const packet = packetOf(eth().ipv4({ options }).udp().bytes())
    const found = ipv4.findOption(packet, L3, type)
    return found === ipv4.NO_OPTION ? found : found - L3 - 20
  }
  const dsr = [0x9a, 8, 0x50, 0, 2, 10, 0x10, 0xac]
  t.equal(find(dsr, 0x9a), 0)
  t.equal(find([1, 1, 7, 3, 4, ...dsr, 0], 0x9a), 5)
  t.equal(find([1, 1, 1, ...dsr], 1), 0, 'an option of a single byte')
  t.equal(find([], 0x9a), ipv4.NO_OPTION)
  t.equal(find([0, ...dsr], 0x9a), ipv4.NO_OPTION, 'behind the end of options')
  t.equal(find([7, 0, ...dsr], 0x9a), ipv4.NO_OPTION, 'a length of zero')
  t.equal(find([7, 1, ...dsr], 0x9a), ipv4.NO_OPTION, 'a length of one')
  t.equal(find([7, 60, ...dsr], 0x9a), ipv4.NO_OPTION, 'a length behind the header')
  t.equal(find([1, 1, 1, 0x9a], 0x9a), ipv4.NO_OPTION, 'no room for its length')
  t.equal(find([...new Array<number>(32).fill(1), ...dsr], 0x9a), 32, 'at the very end')
  t.end()
})
