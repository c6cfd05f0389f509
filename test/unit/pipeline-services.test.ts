/** Services of the cluster, frame by frame: what a pod's packet to one becomes, and what comes back. */
import t from 'tap'
import { checkPacket } from '../support/packet-checker.js'
import { CLOSED, frontend, ip, on, segment, sendTo, service, VIP } from '../support/service-node.js'
import { NODE_MAC, TestNode, type TestPod } from '../support/test-node.js'

t.test(
  'a packet to a ClusterIP goes to a backend, and its reply comes from the ClusterIP',
  async (t) => {
    const node = new TestNode()
    const [client, server] = [node.pod(CLOSED), node.pod()]
    node.controller.setService(service([server]))
    node.send(client.port, segment(client, 40000))
    checkPacket(t, server.port.take()[0] as Uint8Array, {
      eth: { from: NODE_MAC, to: server.mac },
      ipv4: { from: client.address, to: server.address, ttl: 63 },
      tcp: { from: 40000, to: 8080, flags: 'SYN' },
    })
    const reply = ip(server, client.address).tcp({ from: 8080, to: 40000, flags: 'SYN ACK' })
    node.send(server.port, reply.bytes())
    checkPacket(t, client.port.take()[0] as Uint8Array, {
      eth: { from: NODE_MAC, to: client.mac },
      ipv4: { from: VIP, to: client.address, ttl: 63 },
      tcp: { from: 80, to: 40000, flags: 'SYN ACK' },
    })
    t.equal(node.maps.conntrackTable.size, 3, 'service, egress and ingress entry')
    t.same(node.drops(), [])
    node.close()
  },
)

t.test('UDP with and without checksum, and a partial one, arrive with a right one', async (t) => {
  const node = new TestNode()
  const [client, server] = [node.pod(), node.pod()]
  node.controller.setService(service([server], { frontends: [frontend('UDP', 53)] }))
  const udp = { from: 5000, to: 53 }
  node.send(client.port, ip(client, VIP).udp(udp).payload('query').bytes())
  checkPacket(t, server.port.take()[0] as Uint8Array, {
    ipv4: { to: server.address },
    udp: { from: 5000, to: 8080 },
    payload: 'query',
  })
  node.send(
    client.port,
    ip(client, VIP)
      .udp({ ...udp, checksum: 0 })
      .payload('query')
      .bytes(),
  )
  checkPacket(t, server.port.take()[0] as Uint8Array, { udp: { to: 8080, checksum: 0 } })
  const partial = { ...udp, partialChecksum: true }
  node.send(client.port, ip(client, VIP).udp(partial).payload('odd').bytes())
  checkPacket(t, server.port.take()[0] as Uint8Array, { udp: { to: 8080 }, payload: 'odd' })
  const answer = ip(server, client.address).udp({ from: 8080, to: 5000 }).payload('answer')
  node.send(server.port, answer.bytes())
  checkPacket(t, client.port.take()[0] as Uint8Array, {
    ipv4: { from: VIP },
    udp: { from: 53, to: 5000 },
    payload: 'answer',
  })
  node.close()
})

t.test('flows spread over all backends, and each keeps its own', async (t) => {
  const node = new TestNode()
  const client = node.pod()
  const pods = [node.pod(), node.pod(), node.pod()]
  node.controller.setService(service(pods))
  const chosen = new Map<number, TestPod>()
  for (let port = 30000; port < 30060; port++) {
    chosen.set(port, sendTo(node, client, pods, segment(client, port)))
  }
  t.equal(new Set(chosen.values()).size, 3)
  for (const [port, pod] of chosen) {
    t.equal(sendTo(node, client, pods, segment(client, port, 'ACK')), pod, `port ${port}`)
  }
  node.close()
})

t.test('Maglev gives a flow the same backend on every node', async (t) => {
  const choices = [1, 2].map((seed) => {
    const node = new TestNode({ seed })
    const client = node.pod()
    const pods = [node.pod(), node.pod(), node.pod()]
    node.controller.setService(service(pods, { algorithm: 'maglev' }))
    const ids: number[] = []
    for (let port = 30000; port < 30040; port++) {
      ids.push(sendTo(node, client, pods, segment(client, port)).id)
    }
    node.close()
    return ids
  })
  t.same(choices[0], choices[1])
  t.equal(new Set(choices[0]).size, 3)
})

t.test('a client with affinity keeps its backend until it was away for the timeout', async (t) => {
  const node = new TestNode()
  const client = node.pod()
  const pods = [node.pod(), node.pod(), node.pod(), node.pod()]
  node.controller.setService(service(pods, { sessionAffinitySeconds: 100 }))
  let port = 20000
  const next = () => sendTo(node, client, pods, segment(client, port++))
  const first = next()
  for (let i = 0; i < 20; i++) {
    node.clock.advanceSeconds(90)
    t.equal(next(), first, 'each use counts anew')
  }
  const later = new Set<TestPod>()
  for (let i = 0; i < 12; i++) {
    node.clock.advanceSeconds(100)
    later.add(next())
  }
  t.ok(later.size > 1, 'after the timeout the choice is free')

  const last = next()
  node.controller.setService(
    service(
      pods.filter((pod) => pod !== last),
      { sessionAffinitySeconds: 100 },
    ),
  )
  t.not(next(), last, 'a backend that is gone is forgotten')
  node.close()
})

t.test('a flow whose backend is gone gets another one', async (t) => {
  const node = new TestNode()
  const client = node.pod()
  const pods = [node.pod(), node.pod()]
  node.controller.setService(service(pods))
  const first = sendTo(node, client, pods, segment(client, 40000))
  const other = pods.find((pod) => pod !== first) as TestPod
  node.controller.setService(service([other]))
  t.equal(sendTo(node, client, pods, segment(client, 40000, 'ACK')), other)
  node.controller.setService(service(pods))
  t.equal(sendTo(node, client, pods, segment(client, 40000, 'ACK')), other, 'and stays there')
  node.close()
})

t.test('a terminating backend keeps its flows and gets no new ones', async (t) => {
  for (const state of ['terminating', 'quarantined', 'maintenance'] as const) {
    const node = new TestNode()
    const client = node.pod()
    const pods = [node.pod(), node.pod()]
    node.controller.setService(service(pods))
    const first = sendTo(node, client, pods, segment(client, 40000))
    const other = pods.find((pod) => pod !== first) as TestPod
    node.controller.setService(service([on(first, state), other]))
    t.equal(sendTo(node, client, pods, segment(client, 40000, 'ACK')), first, state)
    for (let port = 41000; port < 41010; port++) {
      t.equal(sendTo(node, client, pods, segment(client, port)), other)
    }
    t.equal(sendTo(node, client, pods, segment(client, 40000)), other, 'SYN of the same ports')
    t.equal(sendTo(node, client, pods, segment(client, 40000, 'ACK')), other)
    node.close()
  }
})

t.test('terminating backends serve while there is no active one (KEP-1669)', async (t) => {
  const node = new TestNode()
  const [client, server] = [node.pod(), node.pod()]
  node.controller.setService(service([on(server, 'terminating')]))
  t.equal(sendTo(node, client, [server], segment(client, 40000)), server)
  node.close()
})

t.test('a backend of another service is not kept by a SYN of the same ports', async (t) => {
  const node = new TestNode()
  const client = node.pod()
  const [a, b] = [node.pod(), node.pod()]
  const other = { name: 'other', frontends: [{ ...frontend(), address: '10.96.0.11' }] }
  node.controller.setService(service([a]))
  node.controller.setService(service([a], other))
  t.equal(sendTo(node, client, [a, b], segment(client, 40000)), a)
  node.controller.setService(service([b]))
  t.equal(sendTo(node, client, [a, b], segment(client, 40000, 'ACK')), a, 'still a backend')
  t.equal(sendTo(node, client, [a, b], segment(client, 40000)), b)
  node.close()
})

t.test(
  'ports used again within a minute of the close keep the backend, later they choose',
  async (t) => {
    const node = new TestNode()
    const client = node.pod()
    const pods = [node.pod(), node.pod(), node.pod(), node.pod()]
    node.controller.setService(service(pods))
    const again = (waitSeconds: number, port: number): boolean => {
      const first = sendTo(node, client, pods, segment(client, port))
      node.clock.advanceSeconds(1)
      sendTo(node, client, pods, segment(client, port, 'FIN ACK'))
      node.clock.advanceSeconds(waitSeconds)
      return sendTo(node, client, pods, segment(client, port)) === first
    }
    for (let i = 0; i < 10; i++) t.ok(again(59, 41000 + i), 'within the grace')
    const kept = Array.from({ length: 20 }, (_, i) => again(61, 42000 + i)).filter(Boolean)
    t.ok(kept.length < 15, `after it ${kept.length} of 20 had the same by chance`)
    node.close()
  },
)

t.test('a client that closed its half goes on receiving from the same backend', async (t) => {
  const node = new TestNode()
  const client = node.pod()
  const pods = [node.pod(), node.pod(), node.pod()]
  node.controller.setService(service(pods))
  const first = sendTo(node, client, pods, segment(client, 40000))
  sendTo(node, client, pods, segment(client, 40000, 'FIN ACK'))
  for (let i = 0; i < 100; i++) {
    node.clock.advanceSeconds(8)
    node.gc.request()
    node.run()
    t.equal(sendTo(node, client, pods, segment(client, 40000, 'ACK')), first)
  }
  node.close()
})
