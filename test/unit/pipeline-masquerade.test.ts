/**
 * Masquerading: whose packets leave from the node's address, whose keep their own, and how what
 * comes back finds its way.
 */
import t from 'tap'
import { Identity } from '../../src/identity/identity.js'
import { readDestinations } from '../../src/nat/destination-use.js'
import { addHostPort, HOST_PORTS_WORDS } from '../../src/nat/host-ports.js'
import { NatRow } from '../../src/nat/nat-protocol.js'
import { parseCidr } from '../../src/wire/address.js'
import { inbound, natNode, natPort, outbound, sendOut } from '../support/nat-node.js'
import { checkPacket } from '../support/packet-checker.js'
import { sctpFrame } from '../support/sctp-frame.js'
import {
  GATEWAY_MAC,
  HOST_MAC,
  NODE_MAC,
  OUTSIDE_ADDRESS,
  TestNode,
  type TestPod,
  UPLINK_ADDRESS,
  UPLINK_MAC,
} from '../support/test-node.js'

const CLOSED = { enforceIngress: true, enforceEgress: false, rules: [] }
const UNROUTABLE = 151
const REMOTE_NODE = '198.51.100.50'

t.test(
  'a pod’s packet leaves from the node’s address, its port kept, and the reply finds the pod',
  async (t) => {
    const node = natNode()
    const pod = node.pod(CLOSED)
    const out = sendOut(node, pod, outbound(pod).tcp({ from: 40000, to: 443, flags: 'SYN' }))
    checkPacket(t, out, {
      eth: { to: GATEWAY_MAC, from: UPLINK_MAC },
      ipv4: { from: UPLINK_ADDRESS, to: OUTSIDE_ADDRESS, ttl: 63 },
      tcp: { from: 40000, to: 443 },
    })
    node.send(node.uplink, inbound().tcp({ from: 443, to: 40000, flags: 'SYN ACK' }).bytes())
    const [back] = pod.port.take()
    checkPacket(t, back as Uint8Array, {
      eth: { to: pod.mac, from: NODE_MAC },
      ipv4: { from: OUTSIDE_ADDRESS, to: pod.address, ttl: 63 },
      tcp: { from: 443, to: 40000 },
    })
    t.same(node.drops(), [])
    node.close()
  },
)

t.test('UDP and ping are masqueraded and turned back with right checksums', async (t) => {
  const node = natNode()
  const pod = node.pod(CLOSED)
  const packets = [
    outbound(pod).udp({ from: 41000, to: 53 }).payload('question'),
    outbound(pod).icmpEcho({ id: 0x1234, seq: 7 }).payload('ping'),
  ]
  const answers = [
    inbound().udp({ from: 53, to: 41000 }).payload('answer'),
    inbound().icmpEcho({ reply: true, id: 0x1234, seq: 7 }).payload('ping'),
  ]
  for (const [i, packet] of packets.entries()) {
    const out = sendOut(node, pod, packet)
    checkPacket(t, out, { ipv4: { from: UPLINK_ADDRESS, to: OUTSIDE_ADDRESS } })
    node.send(node.uplink, answers[i]?.bytes() as Uint8Array)
    const [back] = pod.port.take()
    checkPacket(t, back as Uint8Array, { ipv4: { from: OUTSIDE_ADDRESS, to: pod.address } })
  }
  t.same(node.drops(), [])
  node.close()
})

t.test(
  'two pods with the same port toward one destination get two ports, each its own replies',
  async (t) => {
    const node = natNode()
    const pods = [node.pod(), node.pod()]
    const ports = pods.map((pod) =>
      natPort(sendOut(node, pod, outbound(pod).udp({ from: 40000, to: 53 }))),
    )
    t.equal(ports[0], 40000)
    t.not(ports[1], 40000)
    t.ok((ports[1] ?? 0) >= 32768, 'the other is of the range')
    t.equal((ports[1] ?? 1) & 1, 0, 'and of the same parity')
    for (const [i, pod] of pods.entries()) {
      node.send(
        node.uplink,
        inbound()
          .udp({ from: 53, to: ports[i] ?? 0 })
          .bytes(),
      )
      const [got] = pod.port.take()
      checkPacket(t, got as Uint8Array, { ipv4: { to: pod.address }, udp: { from: 53, to: 40000 } })
    }
    node.close()
  },
)

t.test(
  'toward another destination, and by another protocol, the same port serves again',
  async (t) => {
    const node = natNode()
    const [a, b] = [node.pod(), node.pod()]
    const to = ['198.51.100.1', '198.51.100.2']
    t.equal(natPort(sendOut(node, a, outbound(a, to[0]).udp({ from: 40000, to: 53 }))), 40000)
    t.equal(natPort(sendOut(node, b, outbound(b, to[1]).udp({ from: 40000, to: 53 }))), 40000)
    t.equal(natPort(sendOut(node, b, outbound(b, to[0]).tcp({ from: 40000, to: 53 }))), 40000)
    node.close()
  },
)

t.test(
  'two pods’ pings with one identifier leave with two, anywhere from 0 to 65535',
  async (t) => {
    const node = natNode()
    const [a, b] = [node.pod(), node.pod()]
    t.equal(natPort(sendOut(node, a, outbound(a).icmpEcho({ id: 7 }))), 7, 'below the port range')
    const id = natPort(sendOut(node, b, outbound(b).icmpEcho({ id: 7, seq: 3 }).payload('x')))
    t.not(id, 7)
    node.send(node.uplink, inbound().icmpEcho({ reply: true, id, seq: 3 }).payload('x').bytes())
    const [got] = b.port.take()
    checkPacket(t, got as Uint8Array, { ipv4: { to: b.address }, icmp: { type: 0, id: 7, seq: 3 } })
    t.same(a.port.take(), [])
    node.close()
  },
)

t.test(
  'a port below the range is replaced, and one of the node’s sockets is left alone',
  async (t) => {
    const node = natNode()
    const pod = node.pod()
    const low = natPort(
      sendOut(node, pod, outbound(pod).tcp({ from: 1025, to: 443, flags: 'SYN' })),
    )
    t.ok(low >= 32768)
    t.equal(low & 1, 1, 'of the same parity')
    const set = new Int32Array(HOST_PORTS_WORDS)
    addHostPort(set, NatRow.UDP, 45000)
    node.maps.nat.hostPorts.replace(set)
    const other = natPort(sendOut(node, pod, outbound(pod).udp({ from: 45000, to: 53 })))
    t.not(other, 45000)
    const tcp = outbound(pod).tcp({ from: 45000, to: 443, flags: 'SYN' })
    t.equal(natPort(sendOut(node, pod, tcp)), 45000, 'of UDP, not of TCP')
    node.close()
  },
)

t.test(
  'SCTP gets its CRC anew when the port changes; a damaged packet is dropped, 154',
  async (t) => {
    const node = natNode()
    const [a, b] = [node.pod(), node.pod()]
    const from = (pod: TestPod) =>
      sctpFrame({
        mac: { from: pod.mac, to: NODE_MAC },
        from: pod.address,
        to: OUTSIDE_ADDRESS,
        ports: [40_000, 3868],
      })
    node.send(a.port, from(a))
    node.uplink.take()
    node.send(b.port, from(b))
    const [out] = node.uplink.take() as [Uint8Array]
    const port = ((out[34] ?? 0) << 8) | (out[35] ?? 0)
    t.not(port, 40_000)
    const mac = { from: GATEWAY_MAC, to: UPLINK_MAC }
    const ends = { mac, from: OUTSIDE_ADDRESS, to: UPLINK_ADDRESS }
    t.same(out.subarray(34), sctpFrame({ ...ends, ports: [port, 3868] }).subarray(34))
    node.send(node.uplink, sctpFrame({ ...ends, ports: [3868, port] }))
    const [back] = b.port.take() as [Uint8Array]
    t.same(back.subarray(34), sctpFrame({ ...ends, ports: [3868, 40_000] }).subarray(34))
    const damaged = from(b)
    damaged[damaged.length - 1] = 77
    node.send(b.port, damaged)
    t.same(node.drops(), [154])
    node.close()
  },
)

t.test('nothing is masqueraded unless asked for, nor what the node’s stack routes', async (t) => {
  const off = new TestNode({ hasUplink: true })
  const pod = off.pod()
  checkPacket(t, sendOut(off, pod, outbound(pod).udp()), { ipv4: { from: pod.address } })
  off.close()
  const node = natNode()
  const other = node.pod()
  node.send(other.port, outbound(other, UPLINK_ADDRESS).udp().bytes())
  const [toHost] = node.host.take()
  checkPacket(t, toHost as Uint8Array, { ipv4: { from: other.address } })
  node.close()
})

t.test('destinations that are excluded see the pod’s own address', async (t) => {
  const masquerade = {
    nativeRoutingCidrs: ['198.51.100.0/25'],
    nonMasqueradeCidrs: ['203.0.113.0/24'],
  }
  const node = natNode({ masquerade })
  const pod = node.pod()
  const source = (to: string) => {
    const frame = sendOut(node, pod, outbound(pod, to).udp({ from: 40000, to: 53 }))
    return `${frame[26]}.${frame[27]}.${frame[28]}.${frame[29]}`
  }
  t.equal(source('198.51.100.1'), pod.address, 'native routing')
  t.equal(source('198.51.100.200'), UPLINK_ADDRESS, 'next to it')
  t.equal(source('203.0.113.9'), pod.address, 'ip-masq-agent')
  t.equal(source('169.254.1.1'), pod.address, 'link-local, by default')
  node.controller.setMasquerade({ enabled: true, nonMasqueradeCidrs: [], masqLinkLocal: true })
  t.equal(source('203.0.113.9'), UPLINK_ADDRESS, 'no longer')
  t.equal(source('169.254.1.1'), UPLINK_ADDRESS)
  node.controller.setMasquerade({ enabled: true, nonMasqueradeCidrs: 'default' })
  for (const to of ['10.9.9.9', '172.20.0.1', '192.168.1.1', '100.65.0.1', '192.0.0.8']) {
    t.equal(source(to), pod.address, to)
  }
  for (const to of ['198.18.0.1', '198.19.255.255', '203.0.113.1', '192.88.99.1', '240.0.0.1']) {
    t.equal(source(to), pod.address, to)
  }
  t.equal(source('8.8.8.8'), UPLINK_ADDRESS, 'all the rest')
  node.close()
})

t.test('an endpoint may keep its address', async (t) => {
  const node = natNode()
  const pod = node.pod(undefined, { masquerade: false })
  checkPacket(t, sendOut(node, pod, outbound(pod).udp()), { ipv4: { from: pod.address } })
  node.close()
})

t.test('a reply to a connection from outside keeps the pod’s address', async (t) => {
  const node = natNode()
  const pod = node.pod()
  const syn = inbound(OUTSIDE_ADDRESS, pod.address).tcp({ from: 5000, to: 80, flags: 'SYN' })
  node.send(node.uplink, syn.bytes())
  t.equal(pod.port.take().length, 1)
  const answer = outbound(pod).tcp({ from: 80, to: 5000, flags: 'SYN ACK' })
  checkPacket(t, sendOut(node, pod, answer), { ipv4: { from: pod.address }, tcp: { from: 80 } })
  node.close()
})

t.test('another node sees the pod’s address, but for tunnel mode or on request', async (t) => {
  const node = natNode()
  const pod = node.pod()
  const { words, prefixBits } = parseCidr(REMOTE_NODE)
  node.controller.setIdentity(words, prefixBits, Identity.REMOTE_NODE)
  const source = (port: number) => {
    const frame = sendOut(node, pod, outbound(pod, REMOTE_NODE).udp({ from: port, to: 53 }))
    return `${frame[26]}.${frame[27]}.${frame[28]}.${frame[29]}`
  }
  t.equal(source(40000), pod.address, 'native routing')
  node.controller.setMasquerade({ enabled: true, remoteNodes: true })
  t.equal(source(40001), UPLINK_ADDRESS, 'on request')
  node.controller.setMasquerade({ enabled: true })
  node.controller.setTunnel({ mode: 'tunnel' })
  t.equal(source(40002), UPLINK_ADDRESS, 'in tunnel mode')
  node.close()
})

t.test(
  'what comes in without a mapping is the node’s own: it goes to its stack as it is',
  async (t) => {
    const node = natNode()
    const pod = node.pod()
    sendOut(node, pod, outbound(pod).tcp({ from: 40000, to: 443, flags: 'SYN' }))
    const replies = [
      inbound('198.51.100.9').tcp({ from: 443, to: 40000, flags: 'SYN ACK' }),
      inbound().tcp({ from: 444, to: 40000, flags: 'SYN ACK' }),
      inbound().udp({ from: 443, to: 40000 }),
      inbound().icmpEcho({ reply: true, id: 40000 }),
    ]
    for (const reply of replies) {
      node.send(node.uplink, reply.bytes())
      const [out] = node.host.take()
      checkPacket(t, out as Uint8Array, {
        eth: { to: HOST_MAC },
        ipv4: { to: UPLINK_ADDRESS, ttl: 64 },
      })
    }
    t.same(pod.port.take(), [])
    node.close()
  },
)

t.test(
  'an unknown neighbour: the packet goes to the node’s stack with its new source',
  async (t) => {
    const node = natNode()
    const pod = node.pod()
    node.send(pod.port, outbound(pod, '192.0.2.77').udp({ from: 40000, to: 53 }).bytes())
    const [out] = node.host.take()
    checkPacket(t, out as Uint8Array, {
      ipv4: { from: UPLINK_ADDRESS, ttl: 64 },
      udp: { from: 40000 },
    })
    node.close()
  },
)

t.test('a TTL that ends makes no mapping', async (t) => {
  const node = natNode()
  const pod = node.pod()
  node.send(pod.port, outbound(pod, OUTSIDE_ADDRESS, 1).udp({ from: 40000, to: 53 }).bytes())
  t.equal(node.maps.nat.snat.size, 0)
  node.close()
})

t.test('a packet that is dropped in the end leaves no mapping', async (t) => {
  const node = natNode({ hasHost: false })
  const pod = node.pod()
  node.send(pod.port, outbound(pod, '192.0.2.77').udp({ from: 40000, to: 53 }).bytes())
  t.same(node.drops(), [UNROUTABLE], 'nobody knows the neighbour, and there is no stack to ask')
  t.equal(node.maps.nat.snat.size, 0)
  t.equal(node.nat.portUse.count(NatRow.UDP, 40000), 0)
  node.close()
})

t.test('a mapping lives as long as its connection, and goes with it', async (t) => {
  const node = natNode()
  const pod = node.pod()
  sendOut(node, pod, outbound(pod).udp({ from: 40000, to: 53 }))
  sendOut(node, pod, outbound(pod).icmpEcho({ id: 9 }))
  t.equal(node.maps.nat.snat.size, 4)
  t.equal(node.nat.portUse.count(NatRow.UDP, 40000), 1)
  t.equal(readDestinations(node.maps.nat.destinations).length, 2)
  collect(node)
  t.equal(node.maps.nat.snat.size, 4, 'both still have a connection')
  node.clock.advanceSeconds(61)
  collect(node)
  t.equal(node.maps.nat.snat.size, 0)
  t.equal(node.nat.portUse.count(NatRow.UDP, 40000), 0, 'nor is its port steered any more')
  t.same(readDestinations(node.maps.nat.destinations), [])
  node.close()
})

function collect(node: TestNode): void {
  node.gc.request()
  node.idle()
}

t.test('what the control plane asks for is refused by name when it cannot be', async (t) => {
  const node = natNode()
  const set = (options: object) => () =>
    node.controller.setMasquerade({ enabled: true, ...options })
  t.throws(set({ ports: { low: 80, high: 90 } }), {
    code: 'ECONFIG_INVALID',
    message: /ports\.low/,
  })
  t.throws(set({ ports: { low: 2000, high: 70000 } }), { message: /ports\.high/ })
  t.throws(set({ ports: { low: 3000, high: 2000 } }), { message: /ports\.high.*at least 3000/ })
  t.throws(set({ nativeRoutingCidrs: ['fd00::/8'] }), { message: /nativeRoutingCidrs.*IPv4/ })
  t.throws(set({ nonMasqueradeCidrs: ['10.0.0.0/33'] }))
  t.equal(node.maps.nat.settings.natPortLow, 32768)
  t.equal(node.maps.nat.exclusions.size, 0)
  node.close()
})

t.end()
