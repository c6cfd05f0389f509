/** What may enter by an uplink, and what is answered there: ARP, denied sources, VLANs. */
import t from 'tap'
import { ErrorCode } from '../../src/base/errors.js'
import { PacketBuilder } from '../support/packet-builder.js'
import { checkPacket } from '../support/packet-checker.js'
import {
  GATEWAY_ADDRESS,
  GATEWAY_MAC,
  OUTSIDE_ADDRESS,
  TestNode,
  UPLINK_ADDRESS,
  UPLINK_MAC,
} from '../support/test-node.js'

const INVALID = 134
const UNSUPPORTED_L3 = 139
const UNSUPPORTED_L2 = 166
const DENIED = 181
const VLAN_FILTERED = 182
const VIP = '203.0.113.80'
const BROADCAST = 'ff:ff:ff:ff:ff:ff'

const question = (target: string, from = GATEWAY_ADDRESS) =>
  new PacketBuilder()
    .eth({ from: GATEWAY_MAC, to: BROADCAST })
    .arpRequest({ senderMac: GATEWAY_MAC, sender: from, target })

const fromOutside = (to: string, from = OUTSIDE_ADDRESS) =>
  new PacketBuilder().eth({ from: GATEWAY_MAC, to: UPLINK_MAC }).ipv4({ from, to })

function setUp(t: { after(work: () => void): void }): TestNode {
  const node = new TestNode({ hasUplink: true })
  t.after(() => node.close())
  node.controller.netdev.signAlive(node.clock.seconds())
  return node
}

t.test('ARP for an announced address is answered with the uplink’s MAC', async (t) => {
  const node = setUp(t)
  node.controller.netdev.announce(VIP)
  node.send(node.uplink, question(VIP).bytes())
  const [answer] = node.uplink.take()
  checkPacket(t, answer as Uint8Array, {
    eth: { to: GATEWAY_MAC, from: UPLINK_MAC },
    arp: {
      operation: 2,
      senderMac: UPLINK_MAC,
      sender: VIP,
      targetMac: GATEWAY_MAC,
      target: GATEWAY_ADDRESS,
    },
  })
})

t.test('other addresses, replies, and announcements of others are not answered', async (t) => {
  const node = setUp(t)
  node.controller.netdev.announce(VIP)
  node.send(node.uplink, question('203.0.113.81').bytes())
  node.send(node.uplink, question(UPLINK_ADDRESS).bytes())
  node.send(node.uplink, question(VIP, VIP).bytes())
  const reply = new PacketBuilder().eth({ from: GATEWAY_MAC, to: UPLINK_MAC }).arpReply({
    senderMac: GATEWAY_MAC,
    sender: GATEWAY_ADDRESS,
    targetMac: UPLINK_MAC,
    target: VIP,
  })
  node.send(node.uplink, reply.bytes())
  t.same(node.uplink.take(), [])
  t.same(node.host.take(), [])
  t.same(node.drops(), [], 'nothing is lost by that')
})

t.test('a withdrawn address is not answered', async (t) => {
  const node = setUp(t)
  node.controller.netdev.announce(VIP)
  t.ok(node.controller.netdev.withdraw(VIP))
  t.notOk(node.controller.netdev.withdraw(VIP))
  node.send(node.uplink, question(VIP).bytes())
  t.same(node.uplink.take(), [])
})

t.test('nothing is answered when the control plane has not been heard of for 15 s', async (t) => {
  const node = setUp(t)
  node.controller.netdev.announce(VIP)
  node.clock.advanceSeconds(15)
  node.send(node.uplink, question(VIP).bytes())
  t.equal(node.uplink.take().length, 1)
  node.clock.advanceSeconds(1)
  node.send(node.uplink, question(VIP).bytes())
  t.equal(node.uplink.take().length, 0)
  node.controller.netdev.signAlive(node.clock.seconds())
  node.send(node.uplink, question(VIP).bytes())
  t.equal(node.uplink.take().length, 1)
})

t.test('ARP cut short at any length is a counted drop', async (t) => {
  const node = setUp(t)
  node.controller.netdev.announce(VIP)
  const whole = question(VIP).bytes()
  const codes = new Set<number>()
  for (let length = 14; length < 42; length++) {
    node.send(node.uplink, whole.slice(0, length))
    for (const code of node.drops()) codes.add(code)
  }
  t.same([...codes], [INVALID])
  t.same(node.uplink.take(), [])
})

t.test('what cannot be announced is refused with nothing changed', async (t) => {
  const node = setUp(t)
  const { netdev } = node.controller
  const refused = { code: ErrorCode.CONFIG_INVALID }
  t.throws(() => netdev.announce(UPLINK_ADDRESS), refused, 'the kernel answers for that')
  t.throws(() => netdev.announce('224.0.0.1'), refused)
  t.throws(() => netdev.announce(VIP, ['no-such']), refused)
  t.throws(() => netdev.announce(VIP, []), refused)
  t.throws(() => netdev.announce('fd00::1'), { code: ErrorCode.WIRE_ADDRESS })
  t.equal(node.maps.netdev.announced.size, 0)
})

t.test('a packet from a denied prefix is dropped before anything else', async (t) => {
  const node = setUp(t)
  const pod = node.pod()
  node.controller.netdev.setDeniedSources(['198.51.100.0/24', '198.51.101.7'])
  const packet = (from: string) => fromOutside(pod.address, from).udp({ from: 1, to: 2 }).bytes()
  node.send(node.uplink, packet('198.51.100.200'))
  node.send(node.uplink, packet('198.51.101.7'))
  t.same(node.drops(), [DENIED, DENIED])
  t.same(pod.port.take(), [])
  node.send(node.uplink, packet('198.51.101.8'))
  t.equal(pod.port.take().length, 1)
})

t.test('the list of denied prefixes is replaced whole', async (t) => {
  const node = setUp(t)
  const pod = node.pod()
  const { netdev } = node.controller
  netdev.setDeniedSources(['198.51.100.0/24', '203.0.113.0/24'])
  netdev.setDeniedSources(['203.0.113.0/24'])
  node.send(node.uplink, fromOutside(pod.address).udp({ from: 1, to: 2 }).bytes())
  t.equal(pod.port.take().length, 1)
  t.throws(() => netdev.setDeniedSources(['10.0.0.0/8', 'fd00::/64']), {
    code: ErrorCode.CONFIG_INVALID,
  })
  const tooMany = Array.from({ length: 300 }, (_, i) => `20.${i >> 8}.${i & 255}.0/24`)
  t.throws(() => netdev.setDeniedSources(tooMany), { code: ErrorCode.MAP_FULL })
  t.equal(node.maps.netdev.denied.size, 1)
})

t.test('pods are not asked where they come from by that list', async (t) => {
  const node = setUp(t)
  const pod = node.pod()
  node.controller.netdev.setDeniedSources(['10.0.0.0/8'])
  const frame = new PacketBuilder()
    .eth({ from: pod.mac, to: UPLINK_MAC })
    .ipv4({ from: pod.address, to: OUTSIDE_ADDRESS })
    .udp({ from: 1, to: 2 })
  node.send(pod.port, frame.bytes())
  t.equal(node.uplink.take().length, 1)
})

const tagged = (id: number, type = 0x8100) =>
  new PacketBuilder()
    .eth({ from: GATEWAY_MAC, to: UPLINK_MAC })
    .vlan(id, { type })
    .ipv4({ from: OUTSIDE_ADDRESS, to: UPLINK_ADDRESS })
    .udp({ from: 1, to: 2 })
    .bytes()

t.test('a VLAN that is not allowed is dropped, at first every one', async (t) => {
  const node = setUp(t)
  node.send(node.uplink, tagged(7))
  node.send(node.uplink, tagged(7, 0x88a8))
  t.same(node.drops(), [VLAN_FILTERED, VLAN_FILTERED])
})

t.test('an allowed VLAN goes to the node’s stack with its tag', async (t) => {
  const node = setUp(t)
  node.controller.netdev.setAllowedVlans([7, 4094])
  for (const id of [7, 4094]) {
    const frame = tagged(id)
    node.send(node.uplink, frame)
    t.same(
      node.host.take().map((bytes) => Buffer.from(bytes).toString('hex')),
      [Buffer.from(frame).toString('hex')],
    )
  }
  node.send(node.uplink, tagged(8))
  t.same(node.drops(), [VLAN_FILTERED])
  node.controller.netdev.setAllowedVlans([8])
  node.send(node.uplink, tagged(7))
  t.same(node.drops(), [VLAN_FILTERED])
  for (const id of [0, 4095, 1.5]) {
    t.throws(() => node.controller.netdev.setAllowedVlans([id]), {
      code: ErrorCode.CONFIG_INVALID,
    })
  }
})

t.test('a tag that names no VLAN is taken off', async (t) => {
  const node = setUp(t)
  const pod = node.pod()
  const frame = new PacketBuilder()
    .eth({ from: GATEWAY_MAC, to: UPLINK_MAC })
    .vlan(0)
    .ipv4({ from: OUTSIDE_ADDRESS, to: pod.address })
    .udp({ from: 1, to: 2 })
  node.send(node.uplink, frame.bytes())
  const [got] = pod.port.take()
  checkPacket(t, got as Uint8Array, { eth: { to: pod.mac }, ipv4: { to: pod.address, ttl: 63 } })
})

t.test('tags that name no VLAN do not hide one that does', async (t) => {
  const node = setUp(t)
  const tags = (...ids: number[]) =>
    ids
      .reduce(
        (frame, id) => frame.vlan(id),
        new PacketBuilder().eth({ from: GATEWAY_MAC, to: UPLINK_MAC }),
      )
      .ipv4({ from: OUTSIDE_ADDRESS, to: UPLINK_ADDRESS })
      .udp({ from: 1, to: 2 })
      .bytes()
  node.send(node.uplink, tags(0, 7))
  t.same(node.drops(), [VLAN_FILTERED])
  node.send(node.uplink, tags(0, 0, 0))
  t.same(node.drops(), [UNSUPPORTED_L3], 'more tags than anybody needs')
})

t.test('a tag cut short, and what is neither IPv4 nor ARP', async (t) => {
  const node = setUp(t)
  for (let length = 14; length < 18; length++) node.send(node.uplink, tagged(7).slice(0, length))
  t.same(new Set(node.drops()), new Set([UNSUPPORTED_L2]))
  node.send(node.uplink, new PacketBuilder().eth({ type: 0x86dd }).payload('x').bytes())
  t.same(node.drops(), [UNSUPPORTED_L3])
})
