/**
 * Packets of several buffers on the ways that big-frames.test.ts does not take: through a tunnel
 * between two nodes, by two workers, and while a datapath hands over.
 */
import t from 'tap'
import { echoServer, ping, tcpEcho, transferWithHash } from '../../src/lab/traffic.js'
import { HandOvers } from '../support/hand-overs.js'
import { LiveNode, type LivePod } from '../support/live-node.js'
import { TransferUnderWay } from '../support/transfer-under-way.js'

const MTU_BYTES = 9000
/** What VXLAN over IPv4 leaves of it. */
const TUNNEL_MTU_BYTES = MTU_BYTES - 50
/** IP and ICMP headers. */
const PING_HEADERS = 28
/** Around one buffer, two, and all of the MTU. */
const PING_BYTES = [1472, 1814, 1815, 3670, 3671, 8000]

const at = (pod: LivePod, port: number) => ({ ns: pod, address: pod.address, port })

t.test('pods of two nodes, in a tunnel with the MTU of its underlay', async (t) => {
  const options = { hasUplink: true, mtuBytes: MTU_BYTES }
  const a = await LiveNode.create('big-ways', options)
  const b = await LiveNode.create('big-ways', { ...options, beside: a, number: 4 })
  t.teardown(async () => {
    await b.close()
    await a.close()
  })
  const client = await a.pod('client', undefined, undefined, TUNNEL_MTU_BYTES)
  const large = await a.pod('large')
  const server = await b.pod('server', undefined, undefined, TUNNEL_MTU_BYTES)
  for (const [node, peer, podCidr] of [
    [a, b, '10.0.4.0/24'],
    [b, a, '10.0.1.0/24'],
  ] as const) {
    node.controller.setTunnel({ mode: 'tunnel' })
    const { uplinkAddress: address } = peer
    node.controller.addPeer({
      name: 'peer',
      address,
      podCidrs: [podCidr],
      hostAddresses: [peer.address],
    })
    await node.start()
  }
  // The first packets find out the MACs of the router.
  await ping(a.lab, client, server.address, { count: 2 })
  for (const sizeBytes of [...PING_BYTES, TUNNEL_MTU_BYTES - PING_HEADERS]) {
    const { received } = await ping(a.lab, client, server.address, { sizeBytes })
    t.equal(received, 3, `${sizeBytes} bytes`)
  }
  for (const [from, to, port] of [
    [client, server, 5001],
    [server, client, 5002],
    // Its packets are cut to what the tunnel carries once it has been told.
    [large, server, 5003],
  ] as const) {
    const report = await transferWithHash(a.lab, from, at(to, port), 50)
    t.equal(report.receivedHash, report.sentHash, `50 MB from ${from.name}`)
  }
  const args = ['-n', '-M', 'do', '-c', '1', '-W', '1', '-s', '8970', server.address]
  const { stdout } = await a.lab.exec(large, 'ping', args)
  t.match(stdout, new RegExp(`mtu ?= ?${TUNNEL_MTU_BYTES}`), 'what does not fit is told')
})

t.test('two workers, whose pods have two queues or one', async (t) => {
  const live = await LiveNode.create('big-ways2', { workers: 2, mtuBytes: MTU_BYTES })
  t.teardown(() => live.close())
  const client = await live.pod('client')
  const server = await live.pod('server')
  await live.start()
  for (const sizeBytes of [...PING_BYTES, MTU_BYTES - PING_HEADERS]) {
    const { received } = await ping(live.lab, client, server.address, { sizeBytes })
    t.equal(received, 3, `${sizeBytes} bytes`)
  }
  const report = await transferWithHash(live.lab, client, at(server, 5001), 100)
  t.equal(report.receivedHash, report.sentHash, '100 MB')
  const echo = await echoServer(live.lab, at(server, 7000))
  const load = { connections: 100, bytesEach: 50_000 }
  t.same(await tcpEcho(live.lab, client, at(server, 7000), load), { opened: 100, intact: 100 })
  await echo.stop()
})

t.test('hand-overs in the midst of a transfer', async (t) => {
  const live = await LiveNode.create('big-ways3', { mtuBytes: MTU_BYTES })
  t.teardown(() => live.close())
  const client = await live.pod('client')
  const server = await live.pod('server')
  await live.start()
  const handOvers = new HandOvers(live)
  const first = await handOvers.standby()
  const transfer = await TransferUnderWay.of(live, client, at(server, 5001), 600)
  t.comment(await handOvers.run(first))
  t.notOk(transfer.isOver, 'it goes on')
  for (let i = 0; i < 2; i++) t.comment(await handOvers.run())
  const { receivedHash, sentHash } = await transfer.report
  t.equal(receivedHash, sentHash, '600 MB')
  const { received } = await ping(live.lab, client, server.address, { sizeBytes: 8000 })
  t.equal(received, 3)
  await handOvers.last?.stop('SIGTERM')
  t.match(handOvers.last?.output, /every frame accounted for/)
})
