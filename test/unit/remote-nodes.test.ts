/** Which addresses are behind which node: what the control plane writes, and what it refuses. */
import t from 'tap'
import type { PeerSpec, RemoteSpec, TunnelOptions } from '../../src/daemon/remote-nodes.js'
import { formatIpv4, parseAddress, parseCidr } from '../../src/wire/address.js'
import { TestNode } from '../support/test-node.js'

const seen = (node: TestNode, address: string) => {
  const { ipcache } = node.maps
  const identity = ipcache.find(parseAddress(address), 0)
  return {
    identity,
    tunnel: formatIpv4(ipcache.tunnelEndpoint4),
    needsTunnel: ipcache.needsTunnel,
  }
}

const PEER: PeerSpec = {
  name: 'b',
  address: '192.0.2.7',
  podCidrs: ['10.0.2.0/24'],
  hostAddresses: ['10.0.0.2'],
}

t.test(
  'a peer’s pods and host addresses are behind its tunnel, the peer itself is not',
  async (t) => {
    const node = new TestNode()
    node.controller.addPeer(PEER)
    const behind = { tunnel: '192.0.2.7', needsTunnel: true }
    t.same(seen(node, '10.0.2.9'), { identity: 3, ...behind })
    t.same(seen(node, '10.0.0.2'), { identity: 6, ...behind })
    t.same(seen(node, '192.0.2.7'), { identity: 6, tunnel: '0.0.0.0', needsTunnel: false })
    t.same(seen(node, '10.0.3.1'), { identity: 2, tunnel: '0.0.0.0', needsTunnel: false })

    node.controller.setRemote({ prefix: '10.0.2.9', identity: 777, tunnelEndpoint: '192.0.2.7' })
    t.same(seen(node, '10.0.2.9'), { identity: 777, ...behind }, 'a pod that is known better')
    t.ok(node.controller.deleteRemote('10.0.2.9'))
    t.notOk(node.controller.deleteRemote('10.0.2.9'))
    t.equal(seen(node, '10.0.2.9').identity, 3)
    node.close()
  },
)

t.test('a changed peer keeps what stays, and loses what went', async (t) => {
  const node = new TestNode()
  node.controller.addPeer(PEER)
  node.controller.addPeer({ ...PEER, podCidrs: ['10.0.4.0/24'], skipTunnel: true })
  t.equal(seen(node, '10.0.2.9').identity, 2)
  t.same(seen(node, '10.0.4.9'), { identity: 3, tunnel: '192.0.2.7', needsTunnel: false })
  t.ok(node.controller.removePeer('b'))
  t.notOk(node.controller.removePeer('b'))
  for (const address of ['10.0.4.9', '10.0.0.2', '192.0.2.7']) {
    t.equal(seen(node, address).identity, 2, address)
  }
  node.close()
})

t.test('prefixes of policies are behind the node that has what is around them', async (t) => {
  const node = new TestNode()
  const { ipcache } = node.maps
  const cidr = parseCidr('10.0.2.0/25')
  const local = (1 << 24) | 1
  t.ok(ipcache.setCidr(cidr.words, cidr.prefixBits, local))
  t.same(seen(node, '10.0.2.9'), { identity: local, tunnel: '0.0.0.0', needsTunnel: false })
  node.controller.addPeer(PEER)
  const behind = { tunnel: '192.0.2.7', needsTunnel: true }
  t.same(seen(node, '10.0.2.9'), { identity: local, ...behind }, 'a peer that comes later')
  t.same(seen(node, '10.0.2.200'), { identity: 3, ...behind })
  node.controller.addPeer({ ...PEER, address: '192.0.2.8' })
  t.equal(seen(node, '10.0.2.9').tunnel, '192.0.2.8', 'one that moves')
  node.controller.removePeer('b')
  t.same(seen(node, '10.0.2.9'), { identity: local, tunnel: '0.0.0.0', needsTunnel: false })
  node.close()
})

t.test('what is wrong is refused by name, with nothing written', async (t) => {
  const node = new TestNode()
  const pod = node.pod()
  node.controller.addPeer(PEER)
  const size = node.maps.ipcachePrefixes.size
  const remotes: [RemoteSpec, RegExp][] = [
    [{ prefix: '10.0.2.0/33', identity: 300 }, /remote\.prefix/],
    [{ prefix: 'fd00::/64', identity: 300 }, /remote\.prefix/],
    [{ prefix: pod.address, identity: 300 }, /remote\.prefix/],
    [{ prefix: '10.0.5.1', identity: 0 }, /remote\.identity/],
    [{ prefix: '10.0.5.1', identity: 0x1000000 }, /remote\.identity/],
    [{ prefix: '10.0.5.1', identity: 300, tunnelEndpoint: 'b' }, /remote\.tunnelEndpoint/],
    [{ prefix: '10.0.5.1', identity: 300, tunnelEndpoint: '0.0.0.0' }, /remote\.tunnelEndpoint/],
  ]
  for (const [spec, message] of remotes) {
    t.throws(() => node.controller.setRemote(spec), { code: 'ECONFIG_INVALID', message })
  }
  const peers: [Partial<PeerSpec>, RegExp][] = [
    [{ name: '' }, /peer\.name/],
    [{ address: 'fd00::1' }, /peer\.address/],
    [{ podCidrs: ['10.0.5.0/24', '10.0.5.0/24'] }, /peer\.podCidrs/],
    [{ podCidrs: ['10.0.2.0/24'] }, /peer\.podCidrs.*not of b/],
    [{ hostAddresses: [pod.address] }, /peer\.hostAddresses/],
  ]
  for (const [change, message] of peers) {
    const spec = { name: 'c', address: '192.0.2.8', podCidrs: ['10.0.3.0/24'], ...change }
    t.throws(() => node.controller.addPeer(spec), { code: 'ECONFIG_INVALID', message })
  }
  const tunnels: [TunnelOptions, RegExp][] = [
    [{ mode: 'gre' as 'tunnel' }, /tunnel\.mode/],
    [{ mode: 'tunnel', port: 0 }, /tunnel\.port/],
    [{ mode: 'tunnel', port: 65536 }, /tunnel\.port/],
    [{ mode: 'tunnel', innerMac: '02:00:00:00:00' }, /tunnel\.innerMac/],
    [{ mode: 'tunnel', innerMac: '03:00:00:00:00:01' }, /tunnel\.innerMac/],
  ]
  for (const [options, message] of tunnels) {
    t.throws(() => node.controller.setTunnel(options), { code: 'ECONFIG_INVALID', message })
  }
  t.equal(node.maps.ipcachePrefixes.size, size)
  t.equal(node.maps.node.tunnelPort, 0)
  node.close()
})

t.test('a peer for whom there is no room leaves nothing behind', async (t) => {
  const node = new TestNode()
  node.controller.addPeer(PEER)
  const prefixes = node.maps.ipcachePrefixes
  for (let i = 0; prefixes.size < prefixes.capacity - 1; i++) {
    node.controller.setRemote({ prefix: `10.9.${i >> 8}.${i & 255}`, identity: 300 })
  }
  const podCidrs = ['10.0.2.0/24', '10.0.5.0/24', '10.0.6.0/24']
  t.throws(() => node.controller.addPeer({ ...PEER, podCidrs }), { code: 'EMAP_FULL' })
  t.same(seen(node, '10.0.2.9'), { identity: 3, tunnel: '192.0.2.7', needsTunnel: true })
  t.equal(seen(node, '10.0.5.1').identity, 2)
  t.equal(prefixes.size, prefixes.capacity - 1)
  node.close()
})

t.test('the overlay’s port is 8472 unless told, and none with native routing', async (t) => {
  const node = new TestNode()
  node.controller.setTunnel({ mode: 'tunnel' })
  t.equal(node.maps.node.tunnelPort, 8472)
  node.controller.setTunnel({ mode: 'tunnel', port: 4789 })
  t.equal(node.maps.node.tunnelPort, 4789)
  node.controller.setTunnel({ mode: 'native' })
  t.equal(node.maps.node.tunnelPort, 0)
  node.close()
})
