/** IPv4 fragments through an uplink: to and from pods, a NodePort, and the NAT. */
import t from 'tap'
import { FRAGMENT_SECONDS } from '../../src/conntrack/fragment-table.js'
import { MTU, pieces, reassemble } from '../support/fragments.js'
import { eth, fragmentIpv4 } from '../support/packet-builder.js'
import { checkPacket } from '../support/packet-checker.js'
import { parseFrame } from '../support/packet-parser.js'
import { CLOSED, service } from '../support/service-node.js'
import {
  GATEWAY_MAC,
  HOST_MAC,
  NODE_ADDRESS,
  NODE_MAC,
  OUTSIDE_ADDRESS,
  TestNode,
  UPLINK_ADDRESS,
  UPLINK_MAC,
} from '../support/test-node.js'

const NOT_FOUND = 175

t.test(
  'fragments from outside and from the node itself reach a pod, and those of a pod leave',
  async (t) => {
    const node = new TestNode({ hasUplink: true })
    const pod = node.pod()
    const from = (mac: string, to: string, source: string) =>
      eth({ from: mac, to }).ipv4({ from: source, to: pod.address, id: 3 }).udp({ from: 9, to: 53 })
    const outside = from(GATEWAY_MAC, UPLINK_MAC, OUTSIDE_ADDRESS).payload(4000).bytes()
    const inside = from(HOST_MAC, NODE_MAC, NODE_ADDRESS).payload(4000).bytes()
    for (const frame of fragmentIpv4(outside, MTU)) node.send(node.uplink, frame)
    checkPacket(t, reassemble(pod.port.take()), { udp: { to: 53 } })
    for (const frame of fragmentIpv4(inside, MTU)) node.send(node.host, frame)
    checkPacket(t, reassemble(pod.port.take()), { udp: { to: 53 } })
    node.clock.advanceSeconds(FRAGMENT_SECONDS)
    node.send(node.uplink, fragmentIpv4(outside, MTU)[1] as Uint8Array)
    node.send(node.host, fragmentIpv4(inside, MTU)[1] as Uint8Array)
    t.same(node.drops(), [NOT_FOUND, NOT_FOUND])
    for (const frame of pieces(pod, OUTSIDE_ADDRESS)) node.send(pod.port, frame)
    checkPacket(t, reassemble(node.uplink.take()), {
      ipv4: { to: OUTSIDE_ADDRESS },
      udp: { to: 53 },
    })
    node.close()
  },
)

t.test(
  'from outside to a NodePort: one backend gets all, and the reply comes from the node',
  async (t) => {
    const node = new TestNode({ hasUplink: true })
    const backends = [node.pod(), node.pod()]
    const nodePort = {
      address: UPLINK_ADDRESS,
      port: 30053,
      protocol: 'UDP',
      type: 'NodePort',
    } as const
    node.controller.setService(service(backends, { frontends: [nodePort] }))
    for (let id = 0; id < 10; id++) {
      const request = eth({ from: GATEWAY_MAC, to: UPLINK_MAC })
        .ipv4({ from: OUTSIDE_ADDRESS, to: UPLINK_ADDRESS, id })
        .udp({ from: 5000 + id, to: 30053 })
        .payload(4000)
      for (const frame of fragmentIpv4(request.bytes(), MTU)) node.uplink.inject(frame)
      node.run()
      const [one] = backends
        .map((pod) => ({ pod, frames: pod.port.take() }))
        .filter(({ frames }) => frames.length > 0)
      if (one === undefined) throw new Error(`no backend got datagram ${id}: ${node.drops()}`)
      checkPacket(t, reassemble(one.frames), { udp: { from: 5000 + id, to: 8080 } })
      for (const frame of pieces(one.pod, OUTSIDE_ADDRESS, 5000 + id, id, 8080)) {
        one.pod.port.inject(frame)
      }
      node.run()
      checkPacket(t, reassemble(node.uplink.take()), {
        ipv4: { from: UPLINK_ADDRESS, to: OUTSIDE_ADDRESS },
        udp: { from: 30053, to: 5000 + id },
      })
    }
    t.same(node.drops(), [])
    node.close()
  },
)

t.test(
  'through the NAT all fragments leave with one port, and those of the answer find back',
  async (t) => {
    const node = new TestNode({ hasUplink: true })
    const pod = node.pod(CLOSED)
    node.controller.setMasquerade({ enabled: true })
    for (let id = 0; id < 10; id++) {
      for (const frame of pieces(pod, OUTSIDE_ADDRESS, 53, id, 7000 + id)) pod.port.inject(frame)
      node.run()
      const out = reassemble(node.uplink.take())
      checkPacket(t, out, { ipv4: { from: UPLINK_ADDRESS, to: OUTSIDE_ADDRESS }, udp: { to: 53 } })
      const answer = eth({ from: GATEWAY_MAC, to: UPLINK_MAC })
        .ipv4({ from: OUTSIDE_ADDRESS, to: UPLINK_ADDRESS, id })
        .udp({ from: 53, to: parseFrame(out).udp?.from ?? 0 })
        .payload(4000)
      for (const frame of fragmentIpv4(answer.bytes(), MTU)) node.uplink.inject(frame)
      node.run()
      checkPacket(t, reassemble(pod.port.take()), {
        ipv4: { from: OUTSIDE_ADDRESS, to: pod.address },
        udp: { from: 53, to: 7000 + id },
      })
    }
    t.same(node.drops(), [])
    node.close()
  },
)
