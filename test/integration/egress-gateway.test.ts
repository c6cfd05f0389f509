/**
 * Egress gateway over real AF_XDP: a pod behind a plain Linux node, whose kernel sends its packets by
 * vxlan to our node, leaves the cluster from an address of ours; so does a pod of our own.
 */
import t from 'tap'
import { Identity } from '../../src/identity/identity.js'
import type { Namespace } from '../../src/lab/lab.js'
import { ping, transferWithHash } from '../../src/lab/traffic.js'
import { LiveNode, OUTSIDE_ADDRESS, UPLINK_ADDRESS } from '../support/live-node.js'
import { INNER_MAC, linuxPeer } from '../support/overlay-peers.js'

const EGRESS_ADDRESS = '192.0.2.99'
const NO_EGRESS_IP = 204
const PORT = 7000
const OPTIONS = { timeout: 60_000 }

const live = await LiveNode.create('egress', { hasUplink: true })
const { lab, outside, controller } = live
t.after(() => live.close())
const pod = await live.pod('client')
const peer = await linuxPeer(live, [{ address: OUTSIDE_ADDRESS, identity: Identity.WORLD }])
controller.setTunnel({ mode: 'tunnel', innerMac: INNER_MAC })
controller.setRemote({
  prefix: peer.podAddress,
  identity: peer.identity,
  tunnelEndpoint: peer.address,
})
await lab.ip(live.node, [`address add ${EGRESS_ADDRESS}/24 dev uplink0`])
const rule = {
  sources: [peer.podAddress, pod.address],
  destinations: ['0.0.0.0/0'],
  gateway: UPLINK_ADDRESS,
}
controller.egress.set([{ ...rule, egressAddress: EGRESS_ADDRESS }])
await live.start()

/** Tells each client the address it was seen with. */
const mirror = lab.spawn(outside, 'python3', [
  '-u',
  '-c',
  `
import socket
s = socket.create_server(('${OUTSIDE_ADDRESS}', ${PORT}))
print('listening')
while True:
    c, peer = s.accept()
    c.sendall(peer[0].encode())
    c.close()
`,
])
await mirror.waitForOutput(/listening/)

async function seenAs(from: Namespace): Promise<string> {
  const args = ['-n', '-w', '2', OUTSIDE_ADDRESS, `${PORT}`]
  return (await lab.exec(from, 'nc', ['-d', ...args])).stdout
}

for (const [name, from] of [
  ['a pod of another node', peer.pod],
  ['a pod of the gateway', pod],
] as const) {
  t.test(`${name} is seen with the egress address`, OPTIONS, async (t) => {
    t.equal(await seenAs(from), EGRESS_ADDRESS)
    t.equal((await ping(lab, from, OUTSIDE_ADDRESS)).received, 3)
  })
}

t.test('25 MB through tunnel and gateway arrive with the same hash', OPTIONS, async (t) => {
  const to = { ns: outside, address: OUTSIDE_ADDRESS, port: 5001 }
  const report = await transferWithHash(lab, peer.pod, to, 25)
  t.equal(report.receivedHash, report.sentHash)
})

t.test('a policy without an address lets nothing out', OPTIONS, async (t) => {
  controller.egress.set([rule])
  t.equal((await ping(lab, peer.pod, OUTSIDE_ADDRESS, { waitSeconds: 1 })).received, 0)
  t.ok(live.dropped(NO_EGRESS_IP) >= 3)
})

t.end()
