/** VXLAN's header and the envelope around it. */
import t from 'tap'
import { parseIpv4, parseMac } from '../../src/wire/address.js'
import * as vxlan from '../../src/wire/vxlan.js'
import { eth } from '../support/packet-builder.js'
import { checkPacket } from '../support/packet-checker.js'
import { bytesOf, dirtyPacket, everyTruncation, packetOf } from '../support/packet-memory.js'

// Typed by hand: the I flag, and network identifier 0x012345.
const HEADER = [0x08, 0, 0, 0, 0x01, 0x23, 0x45, 0]

t.test('a VXLAN header is read', async (t) => {
  const packet = packetOf(HEADER)
  t.ok(vxlan.isValid(packet, 0))
  t.equal(vxlan.vni(packet, 0), 0x012345)
  t.equal(vxlan.vni(packetOf([0x08, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]), 0), 0xffffff)
})

t.test('a VXLAN header is written over dirt', async (t) => {
  const packet = dirtyPacket(9)
  vxlan.writeHeader(packet, 0, 0x012345)
  t.strictSame([...bytesOf(packet)], [...HEADER, 0xa5])
})

t.test('every truncation is not valid, and read no further', async (t) => {
  everyTruncation(HEADER, (packet, length) => {
    t.notOk(vxlan.isValid(packet, 0), `${length} bytes`)
  })
})

t.test('the I flag must be set, all others are ignored', async (t) => {
  for (let flags = 0; flags < 256; flags++) {
    const packet = packetOf([flags, 0xff, 0xff, 0xff, ...HEADER.slice(4, 7), 0xff])
    t.equal(vxlan.isValid(packet, 0), (flags & 8) !== 0, `flags ${flags}`)
    t.equal(vxlan.vni(packet, 0), 0x012345)
  }
})

t.test('an envelope is written over dirt', async (t) => {
  const inner = eth().ipv4().udp().payload('inside').bytes()
  const packet = packetOf([...new Uint8Array(50).fill(0xa5), ...inner])
  packet.pullHead(vxlan.ENVELOPE_BYTES)
  const from = parseMac('02:f1:f2:f3:f4:f5')
  const to = parseMac('f2:e1:e2:e3:e4:e5')
  const envelope = Object.assign(new vxlan.Envelope(), {
    destinationMacHigh: to.high,
    destinationMacLow: to.low,
    sourceMacHigh: from.high,
    sourceMacLow: from.low,
    source4: parseIpv4('203.0.113.254'),
    destination4: parseIpv4('192.0.2.129'),
    sourcePort: 0xc001,
    destinationPort: 8472,
    typeOfService: 2,
    vni: 0xfedcba,
  })
  t.ok(vxlan.pushEnvelope(packet, envelope))
  const found = checkPacket(t, bytesOf(packet), {
    eth: { from: '02:f1:f2:f3:f4:f5', to: 'f2:e1:e2:e3:e4:e5' },
    ipv4: {
      from: '203.0.113.254',
      to: '192.0.2.129',
      ttl: 64,
      tos: 2,
      id: 0,
      flags: 'DF',
      totalLength: 50 - 14 + inner.length,
    },
    udp: { from: 0xc001, to: 8472, length: 16 + inner.length, checksum: 0 },
  })
  t.strictSame([...found.payload.subarray(0, 8)], [0x08, 0, 0, 0, 0xfe, 0xdc, 0xba, 0])
  t.strictSame([...found.payload.subarray(8)], [...inner], 'the frame inside is as it was')
})

t.test('without headroom nothing is written', async (t) => {
  const inner = eth().ipv4().udp().bytes()
  const packet = packetOf(inner)
  for (let i = 0; i < 5; i++) t.ok(vxlan.pushEnvelope(packet, new vxlan.Envelope()))
  const before = bytesOf(packet)
  t.notOk(vxlan.pushEnvelope(packet, new vxlan.Envelope()), '256 bytes take five')
  t.strictSame(bytesOf(packet), before)
})
