/**
 * bpf/xdp_redirect.c on a real device: what goes to the ring and what to the kernel, on an uplink
 * and on a pod's veth.
 */
import './native-namespace.js'
import t from 'tap'
import { NatRow, XdpProgram } from 'xdp-socket-napi'
import { bare, eth, fragmentIpv4, type PacketBuilder } from '../support/packet-builder.js'
import { ipv4Bytes, ipv6Bytes } from '../support/packet-text.js'
import { Lab } from './native-lab.js'

const NODE = '192.0.2.1'
const SERVICE = '198.51.100.7'
const MASQUERADE = '192.0.2.9'
const POD = '10.1.2.3'
const OTHER = '203.0.113.5'
const POD6 = 'fd00:1:0:0:0:0:0:7'
const OTHER6 = 'fd00:2:0:0:0:0:0:7'
const TCP = 6
const UDP = 17
const SCTP = 132
const SCTP_PORT = 3868
const VXLAN_PORT = 8472
const NODE_PORT = 30080
const NAT_PORT = 41000
const NAT_ID = 77

const v4 = (text: string) => Uint8Array.from([...Array(10).fill(0), 0xff, 0xff, ...ipv4Bytes(text)])
const v6 = (text: string) => Uint8Array.from(ipv6Bytes(text))

const lab = new Lab()
lab.programs[1]?.detach()
const program = XdpProgram.attach({ device: 'rpx1', mode: 'uplink' })
const socket = lab.sockets[1]
if (socket === undefined) throw new Error('no socket')
program.setSocket(0, socket)
program.addFrontend(v4(NODE), VXLAN_PORT, UDP)
program.addFrontend(v4(SERVICE), 80, TCP)
program.addFrontend(null, NODE_PORT, TCP)
program.addPodCidr(v4('10.1.0.0'), 96 + 16)
program.addPodCidr(v6('fd00:1:0:0:0:0:0:0'), 32)
program.addNatAddress(v4(MASQUERADE))
program.addAnnounced(v4(SERVICE))
program.natPorts[NatRow.UDP + NAT_PORT] = 1
program.natPorts[NatRow.ICMP + NAT_ID] = 1
program.addFrontend(v4(SERVICE), SCTP_PORT, SCTP)
program.natPorts[NatRow.SCTP + NAT_PORT] = 1

function totals() {
  const sum = { redirected: 0, passed: 0, dropped: 0 }
  for (const queue of program.counters()) {
    sum.redirected += queue.redirected
    sum.passed += queue.passed
    sum.dropped += queue.dropped
  }
  return sum
}

/** Sends one frame to the device and says what the program did with it. */
function verdict(frame: PacketBuilder | Uint8Array): 'ring' | 'kernel' | 'drop' | 'nothing' {
  const before = totals()
  lab.appendFrame(0, frame instanceof Uint8Array ? frame : frame.bytes())
  for (let i = 0; i < 50; i++) {
    lab.take()
    const after = totals()
    if (after.redirected > before.redirected) return 'ring'
    if (after.passed > before.passed) return 'kernel'
    if (after.dropped > before.dropped) return 'drop'
    lab.poller.wait(1)
  }
  return 'nothing'
}

const to = (address: string) => eth().ipv4({ from: OTHER, to: address })
const sctp = (address: string, port: number) =>
  eth().ipv4({ from: OTHER, to: address, protocol: SCTP }).payload(sctpPorts(port))
const sctpPorts = (to: number) => Uint8Array.of(0x30, 0x39, to >> 8, to & 0xff, ...Array(8).fill(0))
const quoting = (from: string, inner: (packet: PacketBuilder) => PacketBuilder) =>
  to(from).icmpError({ type: 3, code: 4, quoted: inner(bare().ipv4({ from, to: OTHER })) })

const UPLINK: readonly (readonly [rule: string, frame: PacketBuilder, expected: string])[] = [
  ['the overlay port at our address is ours', to(NODE).udp({ to: VXLAN_PORT }), 'ring'],
  ['the overlay port elsewhere is not', to(OTHER).udp({ to: VXLAN_PORT }), 'kernel'],
  ['another protocol on that port is not', to(NODE).tcp({ to: VXLAN_PORT }), 'kernel'],
  ['ssh to the node is not', to(NODE).tcp({ to: 22 }), 'kernel'],
  ['a service frontend is ours', to(SERVICE).tcp({ to: 80 }), 'ring'],
  ['another port of it is not', to(SERVICE).tcp({ to: 81 }), 'kernel'],
  ['an SCTP frontend is ours', sctp(SERVICE, SCTP_PORT), 'ring'],
  ['another SCTP port of it is not', sctp(SERVICE, 80), 'kernel'],
  ['an SCTP port of the NAT is ours', sctp(MASQUERADE, NAT_PORT), 'ring'],
  ['a NodePort is ours at any address', to(NODE).tcp({ to: NODE_PORT }), 'ring'],
  ['a pod is ours, whatever the protocol', to(POD).icmpEcho({ id: 1 }), 'ring'],
  ['a neighbour of the pod CIDR is not', to('10.2.0.1').icmpEcho({ id: 1 }), 'kernel'],
  ['a NAT port in use is ours', to(MASQUERADE).udp({ to: NAT_PORT }), 'ring'],
  ['a NAT port not in use is not', to(MASQUERADE).udp({ to: NAT_PORT + 1 }), 'kernel'],
  ['a NAT port of another protocol is not', to(MASQUERADE).tcp({ to: NAT_PORT }), 'kernel'],
  ['a NAT port at another address is not', to(NODE).udp({ to: NAT_PORT }), 'kernel'],
  [
    'an echo reply with a NAT identifier is ours',
    to(MASQUERADE).icmpEcho({ id: NAT_ID, reply: true }),
    'ring',
  ],
  ['another echo reply is not', to(MASQUERADE).icmpEcho({ id: NAT_ID + 1, reply: true }), 'kernel'],
  [
    'an echo request to the masquerade address is not',
    to(MASQUERADE).icmpEcho({ id: NAT_ID }),
    'kernel',
  ],
  [
    'an ICMP error about a packet from a NAT port is ours',
    quoting(MASQUERADE, (p) => p.udp({ from: NAT_PORT })),
    'ring',
  ],
  [
    'an ICMP error about another port is not',
    quoting(MASQUERADE, (p) => p.udp({ from: NAT_PORT + 1 })),
    'kernel',
  ],
  [
    'an ICMP error about our echo is ours',
    quoting(MASQUERADE, (p) => p.icmpEcho({ id: NAT_ID })),
    'ring',
  ],
  [
    'an ICMP error about a service packet is ours',
    quoting(SERVICE, (p) => p.tcp({ from: 80 })),
    'ring',
  ],
  [
    'an ICMP error about ssh of the node is not',
    quoting(NODE, (p) => p.tcp({ from: 22 })),
    'kernel',
  ],
  ['ARP for an announced address is ours', eth().arpRequest({ target: SERVICE }), 'ring'],
  ['ARP for the node is not', eth().arpRequest({ target: NODE }), 'kernel'],
  ['a VLAN frame is not', eth().vlan(5).ipv4({ to: POD }).udp({ to: 1 }), 'kernel'],
  ['an IPv6 pod is ours', eth().ipv6({ to: POD6 }).udp({ to: 1 }), 'ring'],
  ['another IPv6 address is not', eth().ipv6({ to: OTHER6 }).tcp({ to: 22 }), 'kernel'],
  ['a NodePort over IPv6 is ours', eth().ipv6({ to: OTHER6 }).tcp({ to: NODE_PORT }), 'ring'],
  [
    'IPv4 options move the port',
    eth()
      .ipv4({ to: NODE, options: [1, 1, 1, 1] })
      .udp({ to: VXLAN_PORT }),
    'ring',
  ],
  [
    'a header that says less than it is passes',
    eth().ipv4({ to: POD, headerWords: 4 }).udp({ to: 1 }),
    'kernel',
  ],
]

for (const [rule, frame, expected] of UPLINK) {
  t.test(`uplink: ${rule}`, async (t) => t.equal(verdict(frame), expected))
}

t.test('uplink: fragments go where the first of their datagram went by its port', async (t) => {
  const pieces = (address: string, port: number, id: number) =>
    fragmentIpv4(
      eth().ipv4({ from: OTHER, to: address, id }).udp({ to: port }).payload(700).bytes(),
      300,
    ) as [Uint8Array, Uint8Array, Uint8Array]
  const ours = pieces(NODE, VXLAN_PORT, 5)
  t.equal(verdict(ours[1]), 'kernel', 'nothing is known before the first one')
  for (const fragment of ours) t.equal(verdict(fragment), 'ring')
  t.equal(verdict(ours[1]), 'ring', 'a duplicate')
  for (const fragment of pieces(NODE, 53, 6)) t.equal(verdict(fragment), 'kernel')
  t.equal(verdict(pieces(NODE, VXLAN_PORT, 6)[1]), 'kernel', 'another datagram')
  for (const fragment of pieces(NODE, 53, 5)) {
    t.equal(verdict(fragment), 'kernel', 'the identification again, for the node itself')
  }
})

t.test('uplink: every truncation of every frame is decided, and none is dropped', async (t) => {
  const seen = new Set<string>()
  for (const [, frame] of UPLINK) {
    const bytes = frame.bytes()
    // A device delivers at least an Ethernet header; shorter frames than 60 bytes are padded here.
    for (let length = 14; length < bytes.length; length += 5)
      seen.add(verdict(bytes.slice(0, length)))
  }
  t.same([...seen].sort(), ['kernel', 'ring'])
})

t.test('uplink: what comes from a denied prefix is dropped, for whomever it is', async (t) => {
  program.addDenied(v4('203.0.113.0'), 96 + 24)
  program.addDenied(v6('fd00:2:0:0:0:0:0:0'), 32)
  t.equal(verdict(to(POD).udp({ to: 1 })), 'drop')
  t.equal(verdict(to(NODE).tcp({ to: 22 })), 'drop', 'also what the kernel would get')
  t.equal(verdict(eth().ipv4({ from: '203.0.114.5', to: NODE }).tcp({ to: 22 })), 'kernel')
  t.equal(verdict(eth().ipv6({ from: OTHER6, to: POD6 }).udp({ to: 1 })), 'drop')
  t.equal(verdict(eth().ipv6({ from: POD6, to: POD6 }).udp({ to: 1 })), 'ring')
  t.equal(verdict(eth().arpRequest({ target: NODE })), 'kernel')
  program.removeDenied(v4('203.0.113.0'), 96 + 24)
  program.removeDenied(v6('fd00:2:0:0:0:0:0:0'), 32)
  t.equal(verdict(to(POD).udp({ to: 1 })), 'ring')
})

t.test('uplink: of a guarded address what begins something is ours', async (t) => {
  const ping = (reply: boolean) => to(NODE).icmpEcho({ id: 9, seq: 1, reply })
  program.addGuarded(v4(NODE))
  t.equal(verdict(to(NODE).tcp({ to: 22, flags: 'SYN' })), 'ring')
  t.equal(verdict(to(NODE).tcp({ to: 22, flags: 'SYN ACK' })), 'kernel')
  t.equal(verdict(to(NODE).tcp({ to: 22, flags: 'ACK' })), 'kernel')
  t.equal(verdict(to(NODE).udp({ to: 53 })), 'ring', 'no socket is connected to the sender')
  t.equal(verdict(ping(false)), 'ring')
  t.equal(verdict(ping(true)), 'kernel')
  t.equal(verdict(to(OTHER).tcp({ to: 22, flags: 'SYN' })), 'kernel', 'another address')
  program.removeGuarded(v4(NODE))
  t.equal(verdict(to(NODE).tcp({ to: 22, flags: 'SYN' })), 'kernel')
})

t.test('uplink: with a filter of VLANs those that are not allowed are ours', async (t) => {
  const tagged = (id: number, type = 0x8100) =>
    eth().vlan(id, { type }).ipv4({ to: NODE }).udp({ to: 1 })
  program.addVlan(7)
  t.equal(verdict(tagged(8)), 'kernel', 'no filter yet')
  program.setVlanFilter(true)
  t.equal(verdict(tagged(7)), 'kernel')
  t.equal(verdict(tagged(8)), 'ring')
  t.equal(verdict(tagged(8, 0x88a8)), 'ring')
  t.equal(verdict(tagged(0)), 'kernel', 'a tag that names no VLAN')
  program.removeVlan(7)
  t.equal(verdict(tagged(7)), 'ring')
  program.setVlanFilter(false)
  t.equal(verdict(tagged(7)), 'kernel')
})

t.test('uplink: what was taken out of the maps is the kernel’s again', async (t) => {
  program.removeFrontend(v4(SERVICE), 80, TCP)
  program.removeFrontend(v4(SERVICE), 80, TCP)
  program.removePodCidr(v4('10.1.0.0'), 96 + 16)
  program.removeAnnounced(v4(SERVICE))
  program.natPorts[NatRow.UDP + NAT_PORT] = 0
  t.equal(verdict(to(SERVICE).tcp({ to: 80 })), 'kernel')
  t.equal(verdict(to(POD).icmpEcho({ id: 1 })), 'kernel')
  t.equal(verdict(eth().arpRequest({ target: SERVICE })), 'kernel')
  t.equal(verdict(to(MASQUERADE).udp({ to: NAT_PORT })), 'kernel')
  program.removeNatAddress(v4(MASQUERADE))
  t.equal(verdict(to(MASQUERADE).icmpEcho({ id: NAT_ID, reply: true })), 'kernel')
})

t.test('uplink: without a socket even ours goes to the kernel', async (t) => {
  program.setSocket(0, null)
  t.equal(verdict(to(NODE).tcp({ to: NODE_PORT })), 'kernel')
  program.detach()
  t.equal(program.natPorts.length, 0, 'the map cannot be reached any more')
})

t.test('pod: everything goes to the ring; without a socket everything is dropped', async (t) => {
  const pod = XdpProgram.attach({ device: 'rpx1', mode: 'pod' })
  const count = () => pod.counters()[0] ?? { redirected: 0, passed: 0, dropped: 0 }
  const send = () => {
    lab.appendFrame(0, eth().vlan(5).ipv4({ to: OTHER }).udp({ to: 1 }).bytes())
    for (let i = 0; i < 5; i++) lab.take()
  }
  send()
  t.match(count(), { redirected: 0, passed: 0, dropped: 1 })
  pod.setSocket(0, socket)
  send()
  t.match(count(), { redirected: 1, passed: 0, dropped: 1 })
  pod.detach()
})

t.test('generic mode is taken when asked for, and says so', async (t) => {
  // Loopback has no driver that could.
  t.throws(() => XdpProgram.attach({ device: 'lo', mode: 'pod', attachMode: 'native' }), {
    code: 'EXDP_UNSUPPORTED',
    message: /attachMode 'generic'/,
  })
  const generic = XdpProgram.attach({ device: 'rpx1', mode: 'pod', attachMode: 'generic' })
  t.equal(generic.attachMode, 'generic')
  t.match(generic.attachReason, /asked for/)
  generic.detach()
  lab.programs[0]?.detach()
  lab.poller.close()
  lab.umem.close()
})
