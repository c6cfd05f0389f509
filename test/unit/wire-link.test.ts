/** Ethernet, VLAN tags and ARP. */
import t from 'tap'
import { parseMac } from '../../src/wire/address.js'
import * as arp from '../../src/wire/arp.js'
import * as ethernet from '../../src/wire/ethernet.js'
import { EtherType } from '../../src/wire/protocols.js'
import * as vlan from '../../src/wire/vlan.js'
import { eth, GATEWAY_MAC, POD_MAC } from '../support/packet-builder.js'
import { checkPacket } from '../support/packet-checker.js'
import { bytesOf, dirtyPacket, everyTruncation, packetOf } from '../support/packet-memory.js'

// Typed by hand: an ARP request of 02:00:00:00:00:01, 10.0.0.1 for 10.0.0.2.
const ARP_REQUEST = [
  ...[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x00, 0x00, 0x00, 0x00, 0x01, 0x08, 0x06],
  ...[0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01],
  ...[0x02, 0x00, 0x00, 0x00, 0x00, 0x01, 0x0a, 0x00, 0x00, 0x01],
  ...[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x00, 0x00, 0x02],
]
const L3 = ethernet.ETHERNET_HEADER_BYTES
const OURS = parseMac('02:aa:bb:cc:dd:ee')
// Typed by hand: service tag 100, priority 5; inside it customer tag 7, drop eligible.
const DOUBLE_TAGGED = [
  ...[0x02, 0, 0, 0, 0, 0x02, 0x02, 0, 0, 0, 0, 0x01],
  ...[0x88, 0xa8, 0xa0, 0x64, 0x81, 0x00, 0x10, 0x07, 0x08, 0x00, 0x45],
]

t.test('an Ethernet header is read', (t) => {
  const packet = packetOf(ARP_REQUEST)
  t.ok(ethernet.isValid(packet, 0))
  t.equal(ethernet.destinationHigh(packet, 0), -1)
  t.equal(ethernet.destinationLow(packet, 0), 0xffff)
  t.equal(ethernet.sourceHigh(packet, 0), 0x02000000)
  t.equal(ethernet.sourceLow(packet, 0), 0x0001)
  t.equal(ethernet.type(packet, 0), EtherType.ARP)
  t.ok(ethernet.isToBroadcast(packet, 0))
  t.ok(ethernet.isToGroup(packet, 0))
  t.end()
})

t.test('an Ethernet header is written over dirt', (t) => {
  const packet = dirtyPacket(15)
  ethernet.setDestination(packet, 0, 0x01020304, 0x0506)
  ethernet.setSource(packet, 0, OURS.high, OURS.low)
  ethernet.setType(packet, 0, EtherType.IPV6)
  const expected = [1, 2, 3, 4, 5, 6, 0x02, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0x86, 0xdd, 0xa5]
  t.strictSame([...bytesOf(packet)], expected)
  t.ok(ethernet.isToGroup(packet, 0), 'the group bit is the lowest of the first byte')
  t.notOk(ethernet.isToBroadcast(packet, 0))
  t.end()
})

t.test('a frame turned back goes to its sender', (t) => {
  const packet = packetOf(eth().arpRequest().bytes())
  ethernet.turnBack(packet, 0, OURS.high, OURS.low)
  checkPacket(t, bytesOf(packet), { eth: { from: '02:aa:bb:cc:dd:ee', to: POD_MAC } })
  t.notOk(ethernet.isToGroup(packet, 0))
  t.end()
})

t.test('a length of 802.3 in the place of the type is not valid', (t) => {
  t.notOk(ethernet.isValid(packetOf(eth({ type: 0x05ff }).payload(60).bytes()), 0))
  t.ok(ethernet.isValid(packetOf(eth({ type: 0x0600 }).payload(60).bytes()), 0))
  t.end()
})

t.test('every truncation of Ethernet and ARP is not valid, and read no further', (t) => {
  everyTruncation(ARP_REQUEST, (packet, length) => {
    if (length < 14) t.notOk(ethernet.isValid(packet, 0), `ethernet of ${length}`)
    t.equal(vlan.l3Offset(packet, 0), length < 14 ? vlan.TRUNCATED : 14)
    t.notOk(arp.isValid(packet, L3), `arp of ${length}`)
  })
  t.end()
})

t.test('an ARP request is read', (t) => {
  const packet = packetOf(ARP_REQUEST)
  t.ok(arp.isValid(packet, L3))
  t.ok(arp.isRequest(packet, L3))
  t.equal(arp.operation(packet, L3), arp.Operation.REQUEST)
  t.equal(arp.senderMacHigh(packet, L3), 0x02000000)
  t.equal(arp.senderMacLow(packet, L3), 1)
  t.equal(arp.senderAddress(packet, L3), 0x0a000001)
  t.equal(arp.targetMacHigh(packet, L3), 0)
  t.equal(arp.targetMacLow(packet, L3), 0)
  t.equal(arp.targetAddress(packet, L3), 0x0a000002)
  t.end()
})

t.test('an ARP packet is written over dirt', (t) => {
  const packet = dirtyPacket(ARP_REQUEST.length)
  ethernet.setDestination(packet, 0, -1, 0xffff)
  ethernet.setSource(packet, 0, 0x02000000, 1)
  ethernet.setType(packet, 0, EtherType.ARP)
  arp.writeHeader(packet, L3, arp.Operation.REQUEST)
  arp.setSender(packet, L3, 0x02000000, 1, 0x0a000001)
  arp.setTarget(packet, L3, 0, 0, 0x0a000002)
  t.strictSame([...bytesOf(packet)], ARP_REQUEST)
  t.end()
})

t.test('an ARP request becomes its reply in place', (t) => {
  const packet = packetOf(ARP_REQUEST)
  arp.turnIntoReply(packet, L3, OURS.high, OURS.low)
  ethernet.turnBack(packet, 0, OURS.high, OURS.low)
  checkPacket(t, bytesOf(packet), {
    eth: { from: '02:aa:bb:cc:dd:ee', to: POD_MAC },
    arp: {
      operation: 2,
      senderMac: '02:aa:bb:cc:dd:ee',
      sender: '10.0.0.2',
      targetMac: POD_MAC,
      target: '10.0.0.1',
    },
  })
  t.end()
})

t.test('ARP of other hardware, protocol or lengths is not valid', (t) => {
  for (const [offset, value] of [
    [0, 6],
    [2, 0x86dd],
    [4, 0x0610],
    [4, 0x0804],
  ] as const) {
    const packet = packetOf(ARP_REQUEST)
    packet.setU16(L3 + offset, value)
    t.notOk(arp.isValid(packet, L3), `word at ${offset} is ${value}`)
  }
  t.end()
})

t.test('stacked tags are looked through, each is read', (t) => {
  const packet = packetOf(DOUBLE_TAGGED)
  t.equal(vlan.l3Offset(packet, 0), 22)
  t.equal(vlan.typeBefore(packet, 22), EtherType.IPV4)
  t.ok(vlan.isValid(packet, 12))
  t.equal(vlan.type(packet, 12), EtherType.SERVICE_VLAN)
  t.equal(vlan.id(packet, 12), 100)
  t.equal(vlan.priority(packet, 12), 5)
  t.notOk(vlan.isDropEligible(packet, 12))
  t.equal(vlan.innerType(packet, 12), EtherType.VLAN)
  t.equal(vlan.id(packet, 16), 7)
  t.equal(vlan.priority(packet, 16), 0)
  t.ok(vlan.isDropEligible(packet, 16))
  t.equal(vlan.innerType(packet, 16), EtherType.IPV4)
  t.notOk(vlan.isValid(packet, 20), 'what follows is no tag')
  t.end()
})

t.test('every truncation within the tags is told', (t) => {
  everyTruncation(DOUBLE_TAGGED, (packet, length) => {
    t.equal(vlan.l3Offset(packet, 0), length < 22 ? vlan.TRUNCATED : 22, `${length} bytes`)
    if (length < 18) t.notOk(vlan.isValid(packet, 12))
  })
  t.end()
})

t.test('a third tag is an EtherType like any unknown one', (t) => {
  const packet = packetOf(eth().vlan(1).vlan(2).vlan(3).ipv4().bytes())
  t.equal(vlan.l3Offset(packet, 0), 22)
  t.equal(vlan.typeBefore(packet, 22), EtherType.VLAN)
  t.end()
})

t.test('the identifier and the priority are set without touching each other', (t) => {
  const packet = packetOf(eth().vlan(100, { priority: 5, dropEligible: true }).ipv4().bytes())
  vlan.setId(packet, 12, 4094)
  t.equal(vlan.id(packet, 12), 4094)
  t.equal(vlan.priority(packet, 12), 5)
  vlan.setPriority(packet, 12, 2)
  t.equal(vlan.id(packet, 12), 4094)
  t.equal(vlan.priority(packet, 12), 2)
  t.ok(vlan.isDropEligible(packet, 12))
  t.end()
})

t.test('a tag is pushed in front of others, and popped again', (t) => {
  const inner = eth().vlan(7).ipv4().udp().payload('x')
  const packet = packetOf(inner.bytes())
  t.ok(vlan.push(packet, EtherType.SERVICE_VLAN, 100, 3))
  const both = eth().vlan(100, { type: 0x88a8, priority: 3 }).vlan(7).ipv4().udp().payload('x')
  checkPacket(t, bytesOf(packet), both)
  t.ok(vlan.pop(packet))
  checkPacket(t, bytesOf(packet), inner)
  t.ok(vlan.pop(packet))
  checkPacket(t, bytesOf(packet), eth().ipv4().udp().payload('x'))
  t.notOk(vlan.pop(packet), 'there is no tag left')
  checkPacket(t, bytesOf(packet), { eth: { from: POD_MAC, to: GATEWAY_MAC } })
  t.end()
})

t.test('without headroom no tag is pushed, and nothing changes', (t) => {
  const packet = packetOf(eth().ipv4().udp().bytes())
  while (packet.pushHead(4));
  const before = bytesOf(packet)
  t.notOk(vlan.push(packet, EtherType.VLAN, 1))
  t.strictSame(bytesOf(packet), before)
  t.end()
})
