/**
 * Hostile input to the NAT: every truncation and random mutations of what pods send out and of what
 * the uplink brings in. Nothing throws, no frame is lost, no right frame leaves wrong, a dropped one
 * leaves no mapping, and the mappings stay one to one.
 */
import t from 'tap'
import type { Prng } from '../../src/base/prng.js'
import type { LruHashMap } from '../../src/maps/lru-hash-map.js'
import {
  SNAT_KEY_WORDS,
  SNAT_VALUE_WORDS,
  Snat,
  SnatDirection,
  SnatKey,
  writePartnerKey,
} from '../../src/nat/snat-entry.js'
import { assertConserved } from '../../src/port/conservation.js'
import {
  inbound,
  inboundError,
  natNode,
  natPort,
  outbound,
  quote,
  sendOut,
} from '../support/nat-node.js'
import { bare } from '../support/packet-builder.js'
import { describe } from '../support/packet-checker.js'
import { parseFrame } from '../support/packet-parser.js'
import { sctpFrame } from '../support/sctp-frame.js'
import { seededPrng } from '../support/seed.js'
import {
  NODE_MAC,
  OUTSIDE_ADDRESS,
  type TestNode,
  type TestPod,
  UPLINK_ADDRESS,
} from '../support/test-node.js'

const MUTATIONS = 400
const ETHERNET_TYPE = 12

/** What is wrong with the table: entries of one flow that do not name each other. */
function problemsOf(table: LruHashMap): string[] {
  const problems: string[] = []
  const key = new Int32Array(SNAT_KEY_WORDS)
  const value = new Int32Array(SNAT_VALUE_WORDS)
  const partner = new Int32Array(SNAT_KEY_WORDS)
  for (const slot of table.slots()) {
    table.read(slot, key, value)
    writePartnerKey(partner, key, value[Snat.ADDRESS] ?? 0, value[Snat.PORT] ?? 0)
    const other = table.lookup(partner)
    if (other < 0) continue
    const start = table.valueStart(other)
    const isForward = ((key[SnatKey.PROTOCOL] ?? 0) & SnatDirection.IN) === 0
    const address = key[isForward ? SnatKey.SOURCE : SnatKey.DESTINATION]
    const ports = key[SnatKey.PORTS] ?? 0
    const port = isForward ? ports >>> 16 : ports & 0xffff
    const isNamed =
      table.words[start + Snat.ADDRESS] === address && table.words[start + Snat.PORT] === port
    if (!isNamed) problems.push(`${key.join(',')} is not what its other half names`)
  }
  return problems
}

function* variantsOf(frame: Uint8Array, prng: Prng): Generator<Uint8Array> {
  for (let length = 0; length <= frame.length; length++) yield frame.slice(0, length)
  for (let i = 0; i < MUTATIONS; i++) {
    const mutated = frame.slice()
    for (let flips = prng.below(3); flips >= 0; flips--) {
      const at = ETHERNET_TYPE + prng.below(frame.length - ETHERNET_TYPE)
      mutated[at] = prng.below(256)
    }
    yield mutated
  }
}

function outboundFrames(pod: TestPod): Uint8Array[] {
  const quoted = bare()
    .ipv4({ from: OUTSIDE_ADDRESS, to: pod.address })
    .udp({ from: 53, to: 40_000 })
  const mac = { from: pod.mac, to: NODE_MAC }
  const ends = { mac, from: pod.address, to: OUTSIDE_ADDRESS }
  return [
    outbound(pod).tcp({ from: 40_000, to: 443, flags: 'SYN' }).bytes(),
    outbound(pod).udp({ from: 40_000, to: 53 }).payload('question').bytes(),
    outbound(pod).icmpEcho({ id: 77 }).payload('ping').bytes(),
    outbound(pod).icmpError({ type: 3, code: 3, quoted }).bytes(),
    sctpFrame({ ...ends, ports: [40_000, 3868] }),
  ]
}

function inboundFrames(ports: { tcp: number; udp: number; id: number }): Uint8Array[] {
  const sent = () => quote(UPLINK_ADDRESS, OUTSIDE_ADDRESS)
  return [
    inbound().tcp({ from: 443, to: ports.tcp, flags: 'SYN ACK' }).bytes(),
    inbound().udp({ from: 53, to: ports.udp }).payload('answer').bytes(),
    inbound().icmpEcho({ reply: true, id: ports.id }).payload('ping').bytes(),
    inboundError(sent().udp({ from: ports.udp, to: 53 }).payload('question'), 11, 0).bytes(),
    inboundError(sent().tcp({ from: ports.tcp, to: 443, flags: 'SYN' }), 3, 4, 1400).bytes(),
    inboundError(sent().icmpEcho({ id: ports.id }).payload('ping'), 3, 1).bytes(),
  ]
}

/** Two pods with the same flows, of which one is translated to other ports. */
function openFlows(node: TestNode, pods: readonly TestPod[]): Uint8Array[] {
  const frames: Uint8Array[] = []
  for (const pod of pods) {
    const tcp = natPort(
      sendOut(node, pod, outbound(pod).tcp({ from: 40_000, to: 443, flags: 'SYN' })),
    )
    const udp = natPort(sendOut(node, pod, outbound(pod).udp({ from: 40_000, to: 53 })))
    const id = natPort(sendOut(node, pod, outbound(pod).icmpEcho({ id: 77 })))
    frames.push(...inboundFrames({ tcp, udp, id }))
  }
  return frames
}

t.test('truncated and mutated frames through the NAT do no harm', async (t) => {
  const prng = seededPrng(t)
  const node = natNode()
  const pods = [node.pod(), node.pod()]
  const into = openFlows(node, pods).map((frame) => ({ port: node.uplink, frame }))
  const out = pods.flatMap((pod) => outboundFrames(pod).map((frame) => ({ port: pod.port, frame })))
  const ports = [node.uplink, node.host, ...pods.map((pod) => pod.port)]
  const wrong: string[] = []
  let left = 0
  let before = node.maps.nat.snat.size
  for (const { port, frame } of [...into, ...out]) {
    for (const variant of variantsOf(frame, prng)) {
      const isRight = parseFrame(variant).problems.length === 0
      node.send(port, variant)
      const sent = ports.flatMap((p) => p.take())
      left += sent.length
      for (const frameOut of sent) {
        const { problems } = parseFrame(frameOut)
        if (isRight && problems.length > 0) wrong.push(`${describe(variant)}: ${problems.join()}`)
      }
      const after = node.maps.nat.snat.size
      if (sent.length === 0 && after !== before) wrong.push(`${describe(variant)}: a mapping stays`)
      before = after
    }
  }
  t.same(wrong.slice(0, 5), [])
  t.ok(left > 1000, `${left} frames were let through`)
  t.same(problemsOf(node.maps.nat.snat), [])
  assertConserved(node.exchange, node.loop.burst)
  node.close()
})

t.end()
