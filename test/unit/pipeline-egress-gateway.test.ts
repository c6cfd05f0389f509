/**
 * Egress gateway: pods of node a leave the cluster by node b, from an address of its own. The gateway
 * of both nodes' network is nobody's node.
 */
import t from 'tap'
import { ErrorCode } from '../../src/base/errors.js'
import type { EgressRule } from '../../src/daemon/egress-writer.js'
import { OverlayNodes } from '../support/overlay-nodes.js'
import { bare, eth } from '../support/packet-builder.js'
import { checkPacket } from '../support/packet-checker.js'
import { parseFrame } from '../support/packet-parser.js'
import { ip, segment } from '../support/service-node.js'
import { GATEWAY_MAC, OUTSIDE_ADDRESS, type TestNode, type TestPod } from '../support/test-node.js'
import { opened } from '../support/vxlan.js'

const NO_TUNNEL_ENDPOINT = 160
const NO_EGRESS_GATEWAY = 194
const NO_EGRESS_IP = 204
const EGRESS_ADDRESS = '192.0.2.99'
const EVERYTHING = '0.0.0.0/0'

function setUp(t: { after(work: () => void): void }) {
  const nodes = new OverlayNodes()
  t.after(() => nodes.close())
  const pod = nodes.a.pod()
  const rule = (options: Partial<EgressRule> = {}): EgressRule => ({
    sources: [pod.address],
    destinations: [EVERYTHING],
    gateway: nodes.b.uplinkAddress,
    egressAddress: EGRESS_ADDRESS,
    ...options,
  })
  const setRules = (...rules: readonly EgressRule[]) => {
    for (const node of [nodes.a, nodes.b]) node.controller.egress.set(rules)
  }
  return { nodes, pod, rule, setRules }
}

const outward = (pod: TestPod, sport = 40_000) => segment(pod, sport, 'SYN', OUTSIDE_ADDRESS, 443)

/** Carries a's frames to b and gives back what b sends to the network. */
function byGateway(nodes: OverlayNodes): Uint8Array[] {
  for (const frame of nodes.a.uplink.take()) nodes.b.send(nodes.b.uplink, frame)
  return nodes.b.uplink.take()
}

const fromNetwork = (node: TestNode, to: string) =>
  eth({ from: GATEWAY_MAC, to: node.uplinkMac }).ipv4({ from: OUTSIDE_ADDRESS, to })

t.test('a pod’s connection leaves by the gateway, from its egress address, and back', async (t) => {
  const { nodes, pod, rule, setRules } = setUp(t)
  setRules(rule())
  nodes.a.send(pod.port, outward(pod))
  const [tunnelled] = nodes.a.uplink.take()
  const { outer, vni } = opened(tunnelled as Uint8Array)
  t.match(outer.ipv4, { to: nodes.b.uplinkAddress })
  t.equal(vni, pod.identity)
  nodes.b.send(nodes.b.uplink, tunnelled as Uint8Array)
  const [out] = nodes.b.uplink.take()
  checkPacket(t, out as Uint8Array, {
    eth: { from: nodes.b.uplinkMac, to: GATEWAY_MAC },
    ipv4: { from: EGRESS_ADDRESS, to: OUTSIDE_ADDRESS, ttl: 63 },
    tcp: { to: 443, flags: 'SYN' },
  })
  const port = parseFrame(out as Uint8Array).tcp?.from ?? 0
  const answer = fromNetwork(nodes.b, EGRESS_ADDRESS).tcp({ from: 443, to: port, flags: 'SYN ACK' })
  nodes.b.send(nodes.b.uplink, answer.bytes())
  nodes.settle()
  const [got] = pod.port.take()
  checkPacket(t, got as Uint8Array, {
    eth: { to: pod.mac },
    ipv4: { from: OUTSIDE_ADDRESS, to: pod.address },
    tcp: { from: 443, to: 40_000, flags: 'SYN ACK' },
  })
  t.same([...nodes.a.drops(), ...nodes.b.drops()], [])
})

t.test('UDP and ping too; each flow has its own port', async (t) => {
  const { nodes, pod, rule, setRules } = setUp(t)
  const second = nodes.a.pod()
  setRules(rule({ sources: [pod.address, second.address] }))
  for (const from of [pod, second]) {
    nodes.a.send(from.port, ip(from, OUTSIDE_ADDRESS).udp({ from: 5000, to: 53 }).bytes())
  }
  const ports = byGateway(nodes).map((frame) => parseFrame(frame).udp?.from)
  t.equal(new Set(ports).size, 2)
  nodes.a.send(pod.port, ip(pod, OUTSIDE_ADDRESS).icmpEcho({ id: 7 }).bytes())
  const [echo] = byGateway(nodes)
  const parsed = parseFrame(echo as Uint8Array)
  t.equal(parsed.ipv4?.from, EGRESS_ADDRESS)
  const reply = fromNetwork(nodes.b, EGRESS_ADDRESS).icmpEcho({
    id: parsed.icmp?.id ?? 0,
    reply: true,
  })
  nodes.b.send(nodes.b.uplink, reply.bytes())
  nodes.settle()
  checkPacket(t, pod.port.take()[0] as Uint8Array, { icmp: { type: 0, id: 7 } })
})

for (const transport of ['udp', 'icmp'] as const) {
  t.test(
    `an error about a ${transport} packet of the pod’s goes back through the tunnel`,
    async (t) => {
      const { nodes, pod, rule, setRules } = setUp(t)
      setRules(rule())
      const sent = ip(pod, OUTSIDE_ADDRESS)
      const packet =
        transport === 'udp' ? sent.udp({ from: 5000, to: 33_434 }) : sent.icmpEcho({ id: 7 })
      nodes.a.send(pod.port, packet.bytes())
      const { udp, icmp } = parseFrame(byGateway(nodes)[0] as Uint8Array)
      const quote = bare().ipv4({ from: EGRESS_ADDRESS, to: OUTSIDE_ADDRESS })
      const quoted =
        transport === 'udp'
          ? quote.udp({ from: udp?.from ?? 0, to: 33_434 })
          : quote.icmpEcho({ id: icmp?.id ?? 0 })
      const error = fromNetwork(nodes.b, EGRESS_ADDRESS).icmpError({ type: 3, code: 3, quoted })
      nodes.b.send(nodes.b.uplink, error.bytes())
      t.same(nodes.b.host.take(), [], 'it is not the node’s own')
      nodes.settle()
      checkPacket(t, pod.port.take()[0] as Uint8Array, {
        eth: { to: pod.mac },
        ipv4: { from: OUTSIDE_ADDRESS, to: pod.address },
        icmp: { type: 3, code: 3 },
        quoted: {
          ipv4: { from: pod.address, to: OUTSIDE_ADDRESS },
          ...(transport === 'udp' ? { udp: { from: 5000 } } : { icmp: { id: 7 } }),
        },
      })
      t.same([...nodes.a.drops(), ...nodes.b.drops()], [])
    },
  )
}

t.test('other pods, excluded prefixes and destinations of the cluster go their way', async (t) => {
  const { nodes, pod, rule, setRules } = setUp(t)
  const other = nodes.a.pod()
  const remote = nodes.b.pod()
  setRules(rule({ excluded: ['198.51.100.0/24'] }))
  nodes.a.send(other.port, outward(other))
  nodes.a.send(pod.port, outward(pod))
  for (const frame of nodes.a.uplink.take()) {
    checkPacket(t, frame, { eth: { to: GATEWAY_MAC }, ipv4: { to: OUTSIDE_ADDRESS } })
  }
  nodes.a.send(pod.port, segment(pod, 40_001, 'SYN', other.address, 80))
  t.equal(other.port.take().length, 1)
  nodes.a.send(pod.port, segment(pod, 40_002, 'SYN', remote.address, 80))
  nodes.settle()
  t.equal(remote.port.take().length, 1)
  nodes.a.send(pod.port, segment(pod, 40_003, 'SYN', nodes.a.address, 80))
  t.equal(nodes.a.host.take().length, 1)
  t.same([...nodes.a.drops(), ...nodes.b.drops()], [])
})

t.test('the longest prefix decides', async (t) => {
  const { nodes, pod, rule, setRules } = setUp(t)
  setRules(rule({ gateway: nodes.a.uplinkAddress }), rule({ destinations: ['198.51.100.0/28'] }))
  nodes.a.send(pod.port, outward(pod))
  t.equal(byGateway(nodes).length, 1)
  nodes.a.send(pod.port, segment(pod, 40_001, 'SYN', '198.51.100.77', 443))
  checkPacket(t, nodes.a.uplink.take()[0] as Uint8Array, { ipv4: { from: EGRESS_ADDRESS } })
})

t.test(
  'a pod of the gateway itself leaves from the egress address, masqueraded or not',
  async (t) => {
    const { nodes, pod, rule, setRules } = setUp(t)
    setRules(rule({ gateway: nodes.a.uplinkAddress }))
    nodes.a.send(pod.port, outward(pod))
    const [out] = nodes.a.uplink.take()
    checkPacket(t, out as Uint8Array, { ipv4: { from: EGRESS_ADDRESS, to: OUTSIDE_ADDRESS } })
    nodes.a.controller.setMasquerade({ enabled: true })
    nodes.a.send(pod.port, outward(pod, 40_001))
    checkPacket(t, nodes.a.uplink.take()[0] as Uint8Array, { ipv4: { from: EGRESS_ADDRESS } })
    setRules()
    nodes.a.send(pod.port, outward(pod, 40_002))
    const [plain] = nodes.a.uplink.take()
    checkPacket(t, plain as Uint8Array, { ipv4: { from: nodes.a.uplinkAddress } })
  },
)

t.test(
  'without a gateway the packet is dropped with 194, without an address with 204',
  async (t) => {
    const { nodes, pod, rule, setRules } = setUp(t)
    const { gateway: _gateway, ...headless } = rule()
    setRules(headless)
    nodes.a.send(pod.port, outward(pod))
    t.same(nodes.a.drops(), [NO_EGRESS_GATEWAY])
    const { egressAddress: _address, ...addressless } = rule()
    setRules(addressless)
    nodes.a.send(pod.port, outward(pod))
    byGateway(nodes)
    t.same(nodes.b.drops(), [NO_EGRESS_IP])
    setRules({ ...addressless, gateway: nodes.a.uplinkAddress })
    nodes.a.send(pod.port, outward(pod))
    t.same(nodes.a.drops(), [NO_EGRESS_IP])
  },
)

t.test('a gateway is not reached without a tunnel', async (t) => {
  const { nodes, pod, rule, setRules } = setUp(t)
  setRules(rule())
  nodes.a.controller.setTunnel({ mode: 'native' })
  nodes.a.send(pod.port, outward(pod))
  t.same(nodes.a.drops(), [NO_TUNNEL_ENDPOINT])
})

t.test('a reply of the pod to somebody outside does not change its way', async (t) => {
  const { nodes, pod, rule, setRules } = setUp(t)
  const syn = fromNetwork(nodes.a, pod.address).tcp({ from: 9, to: 80, flags: 'SYN' })
  nodes.a.send(nodes.a.uplink, syn.bytes())
  t.equal(pod.port.take().length, 1)
  setRules(rule())
  const reply = ip(pod, OUTSIDE_ADDRESS).tcp({ from: 80, to: 9, flags: 'SYN ACK' })
  nodes.a.send(pod.port, reply.bytes())
  checkPacket(t, nodes.a.uplink.take()[0] as Uint8Array, { ipv4: { from: pod.address } })
})

t.test('the mapping of a flow at the gateway lives while the flow does', async (t) => {
  const { nodes, pod, rule, setRules } = setUp(t)
  setRules(rule())
  const send = () => {
    nodes.a.send(pod.port, ip(pod, OUTSIDE_ADDRESS).udp({ from: 5000, to: 53 }).bytes())
    return parseFrame(byGateway(nodes)[0] as Uint8Array).udp?.from
  }
  const port = send()
  for (let minute = 0; minute < 5; minute++) {
    for (const node of [nodes.a, nodes.b]) node.clock.advanceSeconds(45)
    for (let step = 0; step < 50; step++) nodes.b.run()
    t.equal(send(), port)
  }
})

t.test('what cannot be is refused with nothing changed', async (t) => {
  const { nodes, rule } = setUp(t)
  const { egress } = nodes.a.controller
  egress.set([rule()])
  const refused = { code: ErrorCode.CONFIG_INVALID }
  t.throws(() => egress.set([rule({ sources: [] })]), refused)
  t.throws(() => egress.set([rule({ destinations: [] })]), refused)
  t.throws(() => egress.set([rule({ destinations: ['fd00::/8'] })]), refused)
  t.throws(() => egress.set([rule({ gateway: '0.0.0.1' })]), refused)
  t.throws(() => egress.set([rule(), rule({ egressAddress: '192.0.2.98' })]), refused)
  t.throws(() => egress.set([rule({ sources: ['x'] })]), { code: ErrorCode.WIRE_ADDRESS })
  const many = Array.from({ length: 300 }, (_, i) => `20.${i >> 8}.${i & 255}.0/24`)
  t.throws(() => egress.set([rule({ destinations: many })]), { code: ErrorCode.MAP_FULL })
  t.equal(nodes.a.maps.egressPolicies.size, 1)
  egress.set([])
  t.equal(nodes.a.maps.egressPolicies.size, 0)
})
