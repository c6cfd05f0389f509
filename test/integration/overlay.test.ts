/**
 * The overlay over real AF_XDP, with nodes of other makes: the Linux kernel's vxlan devices, and
 * Open vSwitch. Pings, TCP both ways, 25 MB each way, path MTU, services across nodes.
 */
import t from 'tap'
import { ping, tcpProbe, transferWithHash, udpEcho, udpEchoServer } from '../../src/lab/traffic.js'
import { Direction } from '../../src/packet/verdict.js'
import type { EndpointPolicy } from '../../src/policy/policy-rule.js'
import { LiveNode } from '../support/live-node.js'
import {
  correspondent,
  linuxPeer,
  type OverlayPeer,
  openVSwitchPeer,
} from '../support/overlay-peers.js'

const POLICY_DENIED = 133
const MEGABYTES = 25

const onlyLinux: EndpointPolicy = {
  enforceIngress: true,
  enforceEgress: false,
  rules: [{ direction: Direction.INGRESS, action: 'allow', identities: [902] }],
}

const live = await LiveNode.create('overlay', { hasUplink: true })
const client = await live.pod('client')
const guarded = await live.pod('guarded', onlyLinux)
const both = [correspondent(client), correspondent(guarded)]
const linux = await linuxPeer(live, both)
const ovs = await openVSwitchPeer(live, both)
t.after(async () => {
  await ovs.ovs.close()
  await live.close()
})
live.controller.setTunnel({ mode: 'tunnel' })
for (const { podAddress, identity, address } of [linux, ovs]) {
  live.controller.setRemote({ prefix: podAddress, identity, tunnelEndpoint: address })
}
await live.start()
const peers: readonly (readonly [string, OverlayPeer])[] = [
  ['plain Linux', linux],
  ['Open vSwitch', ovs],
]

for (const [name, peer] of peers) {
  t.test(`${name}: pings go both ways`, { timeout: 60_000 }, async (t) => {
    // The first finds out the MACs of the routers on the way.
    await ping(live.lab, client, peer.podAddress, { count: 2 })
    t.equal((await ping(live.lab, client, peer.podAddress)).received, 3)
    t.equal((await ping(live.lab, peer.pod, client.address)).received, 3)
  })

  t.test(`${name}: ${MEGABYTES} MB come and go unharmed`, { timeout: 120_000 }, async (t) => {
    const there = { ns: peer.pod, address: peer.podAddress, port: 5001 }
    const up = await transferWithHash(live.lab, client, there, MEGABYTES)
    t.equal(up.receivedHash, up.sentHash)
    const here = { ns: client, address: client.address, port: 5002 }
    const down = await transferWithHash(live.lab, peer.pod, here, MEGABYTES)
    t.equal(down.receivedHash, down.sentHash)
  })

  t.test(`${name}: UDP goes there and back`, { timeout: 30_000 }, async (t) => {
    const at = { ns: peer.pod, address: peer.podAddress, port: 5300 }
    const server = await udpEchoServer(live.lab, at)
    t.equal(await udpEcho(live.lab, client, at, 'hello'), 'hello')
    await server.stop()
  })

  t.test(`${name}: a closed port answers at once`, { timeout: 30_000 }, async (t) => {
    t.equal(await tcpProbe(live.lab, client, peer.podAddress, 81, 3), 'refused')
    t.equal(await tcpProbe(live.lab, peer.pod, client.address, 81, 3), 'refused')
  })
}

t.test(
  'policy knows the senders of both makes by their identity',
  { timeout: 30_000 },
  async (t) => {
    t.equal((await ping(live.lab, linux.pod, guarded.address)).received, 3)
    const before = live.dropped(POLICY_DENIED)
    t.equal((await ping(live.lab, ovs.pod, guarded.address, { waitSeconds: 1 })).received, 0)
    t.equal(live.dropped(POLICY_DENIED), before + 3)
  },
)
t.end()
