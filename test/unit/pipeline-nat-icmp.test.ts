/** ICMP errors through the NAT, both ways: the quoted packet is what its sender knows, all checksums right. */
import t from 'tap'
import { EVENT_DETAIL_WORDS, EventType, EventWord } from '../../src/monitor/event.js'
import {
  inbound,
  inboundError,
  natNode,
  natPort,
  outbound,
  quote,
  sendOut,
} from '../support/nat-node.js'
import { bare, eth, type PacketBuilder } from '../support/packet-builder.js'
import { checkPacket } from '../support/packet-checker.js'
import type { TestNode, TestPod } from '../support/test-node.js'
import {
  GATEWAY_ADDRESS,
  GATEWAY_MAC,
  HOST_MAC,
  OUTSIDE_ADDRESS,
  UPLINK_ADDRESS,
  UPLINK_MAC,
} from '../support/test-node.js'

const CLOSED = { enforceIngress: true, enforceEgress: false, rules: [] }
const NO_ICMP_CODE = 143
const NO_ICMP_TYPE = 144
const INVALID = 134
const NO_MAPPING = 167
const UNREACHABLE = 3
const TIME_EXCEEDED = 11

type Transport = 'tcp' | 'udp' | 'icmp'

/** A second pod, whose port another one has already: its packets leave with another. */
function translatedPod(transport: Transport): { node: TestNode; pod: TestPod; port: number } {
  const node = natNode()
  const first = node.pod()
  const pod = node.pod(CLOSED)
  sendOut(node, first, sent(outbound(first), transport, 40_000))
  const port = natPort(sendOut(node, pod, sent(outbound(pod), transport, 40_000)))
  return { node, pod, port }
}

function sent(packet: PacketBuilder, transport: Transport, port: number): PacketBuilder {
  if (transport === 'tcp') return packet.tcp({ from: port, to: 443, flags: 'SYN' })
  if (transport === 'udp') return packet.udp({ from: port, to: 33_434 }).payload('probe')
  return packet.icmpEcho({ id: port, seq: 1 }).payload('ping')
}

for (const transport of ['tcp', 'udp', 'icmp'] as const) {
  t.test(
    `errors about a pod’s ${transport} packet reach the pod and quote what it sent`,
    async (t) => {
      const { node, pod, port } = translatedPod(transport)
      t.not(port, 40_000)
      const quoted = sent(quote(UPLINK_ADDRESS, OUTSIDE_ADDRESS), transport, port)
      const errors: [number, number][] = [
        ...Array.from({ length: 16 }, (_, code): [number, number] => [UNREACHABLE, code]),
        [TIME_EXCEEDED, 0],
        [TIME_EXCEEDED, 1],
      ]
      for (const [type, code] of errors) {
        node.send(node.uplink, inboundError(quoted, type, code, code === 4 ? 1400 : 0).bytes())
        const [got] = pod.port.take()
        const inner =
          transport === 'icmp' ? { icmp: { id: 40_000 } } : { [transport]: { from: 40_000 } }
        checkPacket(t, got as Uint8Array, {
          ipv4: { from: GATEWAY_ADDRESS, to: pod.address },
          icmp: { type, code, rest: code === 4 ? 1400 : 0 },
          quoted: { ipv4: { from: pod.address, to: OUTSIDE_ADDRESS }, ...inner },
        })
      }
      t.same(node.drops(), [])
      node.close()
    },
  )
}

t.test('an error that quotes no more than eight bytes of TCP is enough', async (t) => {
  const { node, pod, port } = translatedPod('tcp')
  const whole = sent(quote(UPLINK_ADDRESS, OUTSIDE_ADDRESS), 'tcp', port)
  const error = inbound(GATEWAY_ADDRESS).icmpError({
    type: 11,
    code: 0,
    quoted: whole,
    quotedBytes: 28,
  })
  node.send(node.uplink, error.bytes())
  const [got] = pod.port.take()
  checkPacket(t, got as Uint8Array, {
    ipv4: { to: pod.address },
    quoted: { ipv4: { from: pod.address } },
  })
  node.close()
})

t.test(
  'errors from outside that no mapping explains, or of other kinds, go to the node’s stack',
  async (t) => {
    const { node, port } = translatedPod('udp')
    const quoted = sent(quote(UPLINK_ADDRESS, OUTSIDE_ADDRESS), 'udp', port)
    const stranger = sent(quote(UPLINK_ADDRESS, OUTSIDE_ADDRESS), 'udp', 50_000)
    const reply = quote(UPLINK_ADDRESS, OUTSIDE_ADDRESS).icmpEcho({ reply: true, id: 40_000 })
    const frames = [
      inboundError(stranger, UNREACHABLE, 3),
      inboundError(reply, UNREACHABLE, 3),
      inboundError(quoted, UNREACHABLE, 16),
      inboundError(quoted, TIME_EXCEEDED, 2),
      inboundError(quoted, 12, 0),
      inboundError(quoted, 5, 1),
      inbound(GATEWAY_ADDRESS).icmpError({ type: 3, code: 3, quoted, quotedBytes: 24 }),
      inbound(GATEWAY_ADDRESS).icmpEcho({ id: 40_000 }),
    ]
    for (const frame of frames) {
      node.send(node.uplink, frame.bytes())
      const [out] = node.host.take()
      checkPacket(t, out as Uint8Array, { eth: { to: HOST_MAC }, ipv4: { to: UPLINK_ADDRESS } })
    }
    t.same(node.drops(), [])
    node.close()
  },
)

t.test('a quote that reaches behind the datagram is none', async (t) => {
  const { node, pod, port } = translatedPod('udp')
  const quoted = sent(quote(UPLINK_ADDRESS, OUTSIDE_ADDRESS), 'udp', port)
  const frame = eth({ from: GATEWAY_MAC, to: UPLINK_MAC })
    .ipv4({ from: GATEWAY_ADDRESS, to: UPLINK_ADDRESS, totalLength: 20 + 8 + 20 + 4 })
    .icmpError({ type: 11, code: 0, quoted })
    .bytes()
  node.send(node.uplink, frame)
  t.same(pod.port.take(), [])
  const [out] = node.host.take()
  t.same(out?.subarray(14), frame.subarray(14), 'it goes to the node as it is')
  node.close()
})

for (const transport of ['tcp', 'udp', 'icmp'] as const) {
  t.test(
    `a pod’s error about a ${transport} answer leaves from the node and quotes what came to it`,
    async (t) => {
      const { node, pod, port } = translatedPod(transport)
      const got = bare().ipv4({ from: OUTSIDE_ADDRESS, to: pod.address, ttl: 60 })
      const quoted =
        transport === 'tcp'
          ? got.tcp({ from: 443, to: 40_000, flags: 'SYN ACK' })
          : transport === 'udp'
            ? got.udp({ from: 33_434, to: 40_000 }).payload('answer')
            : got.icmpEcho({ reply: true, id: 40_000, seq: 1 })
      for (const [type, code] of [
        [3, 3],
        [3, 4],
        [3, 13],
        [11, 1],
      ] as const) {
        const out = sendOut(node, pod, outbound(pod).icmpError({ type, code, quoted }))
        const inner = transport === 'icmp' ? { icmp: { id: port } } : { [transport]: { to: port } }
        checkPacket(t, out, {
          ipv4: { from: UPLINK_ADDRESS, to: OUTSIDE_ADDRESS },
          icmp: { type, code },
          quoted: { ipv4: { from: OUTSIDE_ADDRESS, to: UPLINK_ADDRESS }, ...inner },
        })
      }
      node.close()
    },
  )
}

t.test(
  'on the way out an unknown code is 143, an unknown type 144, a quote that is none 134',
  async (t) => {
    const { node, pod } = translatedPod('udp')
    const quoted = bare()
      .ipv4({ from: OUTSIDE_ADDRESS, to: pod.address })
      .udp({ from: 33_434, to: 40_000 })
    const send = (type: number, code: number, quotedBytes?: number) =>
      node.send(
        pod.port,
        outbound(pod)
          .icmpError({ type, code, quoted, ...(quotedBytes === undefined ? {} : { quotedBytes }) })
          .bytes(),
      )
    send(3, 16)
    send(11, 2)
    send(12, 0)
    send(13, 0)
    send(3, 3, 20)
    t.same(node.drops(), [NO_ICMP_CODE, NO_ICMP_CODE, NO_ICMP_TYPE, NO_ICMP_TYPE, INVALID])
    t.same(node.uplink.take(), [])
    node.close()
  },
)

t.test(
  'an echo reply, a redirect, and an error about another’s flow leave as they are',
  async (t) => {
    const { node, pod } = translatedPod('udp')
    const quoted = bare().ipv4({ from: OUTSIDE_ADDRESS, to: pod.address }).udp({ from: 9, to: 9 })
    for (const packet of [
      outbound(pod).icmpEcho({ reply: true, id: 5 }),
      outbound(pod).icmpError({ type: 5, code: 1, quoted }),
      outbound(pod).icmpError({ type: 3, code: 3, quoted }),
    ]) {
      checkPacket(t, sendOut(node, pod, packet), { ipv4: { from: pod.address } })
    }
    node.close()
  },
)

t.test('exhaustion is 167, and its event tells the numbers', async (t) => {
  const node = natNode({ masquerade: { ports: { low: 40_000, high: 40_007 } } })
  const pod = node.pod()
  for (let i = 0; i < 8; i++) sendOut(node, pod, outbound(pod).udp({ from: 1000 + i, to: 53 }))
  node.send(pod.port, outbound(pod).udp({ from: 2000, to: 53 }).bytes())
  t.same(node.uplink.take(), [])
  const [event] = node.events(EventType.DROP)
  t.equal(event?.[EventWord.CODE], NO_MAPPING)
  const detail = event?.slice(EventWord.DETAIL, EventWord.DETAIL + EVENT_DETAIL_WORDS)
  t.same([...(detail ?? [])], [8, 8, 8, 16], 'tried, there are, in use there, entries')
  t.equal(node.maps.nat.tries.sum(32), 1)
  t.equal(
    natPort(sendOut(node, pod, outbound(pod, '198.51.100.2').udp({ from: 2000 }))) >= 40_000,
    true,
  )
  node.close()
})

t.test('scarce ports make the collector look at once', async (t) => {
  const node = natNode({ masquerade: { ports: { low: 40_000, high: 40_007 } } })
  const pod = node.pod()
  for (let i = 0; i < 8; i++) sendOut(node, pod, outbound(pod).udp({ from: 1000 + i, to: 53 }))
  node.clock.advanceSeconds(61)
  node.send(pod.port, outbound(pod).udp({ from: 2000, to: 53 }).bytes())
  node.idle()
  t.equal(node.nat.isFillingUp, false)
  t.ok(natPort(sendOut(node, pod, outbound(pod).udp({ from: 2000, to: 53 }))) >= 40_000)
  node.close()
})

t.end()
