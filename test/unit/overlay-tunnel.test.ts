/** Into the tunnel and out of it again. */
import t from 'tap'
import { VxlanTunnel } from '../../src/overlay/vxlan-tunnel.js'
import { DropReason } from '../../src/packet/drop-reason.js'
import { eth, type PacketBuilder } from '../support/packet-builder.js'
import { checkPacket } from '../support/packet-checker.js'
import { bytesOf, packetOf } from '../support/packet-memory.js'
import { vxlanHeader } from '../support/vxlan.js'

const L3 = 14
const L4 = 34
const INNER = eth().ipv4({ from: '10.0.1.1', to: '10.0.2.1' }).tcp({ flags: 'SYN' })

const outer = (inner: Uint8Array, o: { tos?: number; vni?: number; flags?: number } = {}) =>
  eth()
    .ipv4({ tos: o.tos ?? 0 })
    .udp({ from: 50000, to: 8472, checksum: 0 })
    .payload(Uint8Array.from([...vxlanHeader(o.vni ?? 0x1234, o.flags), ...inner]))

const open = (frame: PacketBuilder) => {
  const packet = packetOf(frame.bytes())
  const result = new VxlanTunnel().decapsulate(packet, L3, L4)
  return { packet, result }
}

t.test('what went in comes out, with its identity', async (t) => {
  for (const identity of [2, 301, 0xffffff]) {
    const packet = packetOf(INNER.bytes())
    const tunnel = new VxlanTunnel()
    t.ok(tunnel.encapsulate(packet, identity, 0x1234_5678))
    checkPacket(t, bytesOf(packet), { udp: { checksum: 0 } })
    t.equal(tunnel.decapsulate(packet, L3, L4), identity)
    t.strictSame(bytesOf(packet), INNER.bytes())
  }
})

t.test('identities that mean nothing elsewhere travel as what they are there', async (t) => {
  const cases = [
    [1, 6, 'the node itself'],
    [(1 << 24) | 7, 2, 'a prefix of this node’s policies'],
    [(2 << 24) | 7, 6, 'another node by a number of this one’s'],
  ] as const
  for (const [identity, vni, who] of cases) {
    const packet = packetOf(INNER.bytes())
    const tunnel = new VxlanTunnel()
    t.ok(tunnel.encapsulate(packet, identity, 0))
    t.equal(tunnel.decapsulate(packet, L3, L4), vni, who)
  }
})

t.test('the source port is of the flow, and from 32768 on', async (t) => {
  const ports = new Set<number>()
  for (let flow = 0; flow < 64; flow++) {
    const hash = Math.imul(flow, 0x9e3779b1)
    const port = () => {
      const packet = packetOf(INNER.bytes())
      new VxlanTunnel().encapsulate(packet, 301, hash)
      return packet.u16(L4)
    }
    t.equal(port(), port(), 'the same for the flow’s next packet')
    t.ok(port() >= 32768)
    ports.add(port())
  }
  t.ok(ports.size > 60)
})

t.test('congestion marks go in and come out as RFC 6040 has it', async (t) => {
  for (const tos of [0, 1, 2, 3, 0xb8]) {
    const inner = eth().ipv4({ tos }).udp().bytes()
    const packet = packetOf(inner)
    new VxlanTunnel().encapsulate(packet, 301, 0)
    checkPacket(t, bytesOf(packet), { ipv4: { tos: tos & 3 } })
    const marked = open(outer(inner, { tos: 3 }))
    if ((tos & 3) === 0) {
      t.equal(marked.result, DropReason.INVALID, 'it cannot be told, so it is lost')
      continue
    }
    t.equal(marked.result, 0x1234)
    checkPacket(t, bytesOf(marked.packet), { ipv4: { tos: tos | 3 } })
    const unmarked = open(outer(inner, { tos: 0 }))
    t.strictSame(bytesOf(unmarked.packet), inner)
  }
})

t.test('every cut of the inner frame is refused or parsed no further than it is', async (t) => {
  const inner = INNER.bytes()
  for (let length = 0; length <= inner.length; length++) {
    const { packet, result } = open(outer(inner.subarray(0, length)))
    t.equal(result, length < 14 ? DropReason.INVALID : 0x1234, `${length} bytes inside`)
    if (result > 0) t.equal(packet.length, length)
  }
})

t.test('a header without the I flag is 147, a datagram that is cut is 134', async (t) => {
  t.equal(open(outer(INNER.bytes(), { flags: 0 })).result, DropReason.NO_TUNNEL_KEY)
  const frame = outer(INNER.bytes()).bytes()
  for (const length of [0, 8, 15, 29, 0xffff]) {
    const packet = packetOf(frame)
    packet.setU16(L4 + 4, length)
    t.equal(new VxlanTunnel().decapsulate(packet, L3, L4), DropReason.INVALID, `length ${length}`)
    t.equal(packet.length, frame.length, 'nothing changed')
  }
})

t.test('Ethernet’s padding behind the datagram stays outside', async (t) => {
  const packet = packetOf([...outer(INNER.bytes()).bytes(), 0, 0, 0, 0])
  t.equal(new VxlanTunnel().decapsulate(packet, L3, L4), 0x1234)
  t.strictSame(bytesOf(packet), INNER.bytes())
})
