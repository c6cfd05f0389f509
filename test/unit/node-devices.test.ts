/** The host pair and the uplinks change in place, with others' traffic going on. */
import t from 'tap'
import { NodeController } from '../../src/daemon/node-controller.js'
import { Identity } from '../../src/identity/identity.js'
import { NO_PORT } from '../../src/packet/burst.js'
import { formatIpv4, ipv4Words, parseIpv4 } from '../../src/wire/address.js'
import { checkPacket } from '../support/packet-checker.js'
import { ip } from '../support/service-node.js'
import { HOST_MAC, NODE_ADDRESS, NODE_MAC, TestNode, UPLINK_MAC } from '../support/test-node.js'

const HOST = { device: 'host', addresses: [NODE_ADDRESS], mac: HOST_MAC, nodeMac: NODE_MAC }
const OTHER_MAC = '02:00:00:00:ff:77'

const identityOf = (node: TestNode, address: string) =>
  node.maps.ipcache.find(ipv4Words(parseIpv4(address)), 0)
const nodeAddress = (node: TestNode) => formatIpv4(node.maps.node.nodeAddress)

t.test('a host pair with other MACs and addresses is used from the next packet on', async (t) => {
  const node = new TestNode()
  const [client, server] = [node.pod(), node.pod()]
  const { devices } = node.controller
  devices.setHost({ ...HOST, addresses: ['10.0.0.7'], mac: OTHER_MAC })
  node.send(client.port, ip(client, '10.0.0.7').tcp({ from: 1, to: 22, flags: 'SYN' }).bytes())
  checkPacket(t, node.host.take()[0] as Uint8Array, { eth: { to: OTHER_MAC } })
  t.not(identityOf(node, NODE_ADDRESS), Identity.HOST, 'the old address is nobody’s')
  node.send(client.port, ip(client, server.address).udp({ from: 1, to: 2 }).bytes())
  t.equal(server.port.take().length, 1, 'pods go on')
  node.close()
})

t.test('another device for the host pair is asked for on the same port', async (t) => {
  const node = new TestNode()
  const { ports, node: settings } = node.maps
  const port = settings.hostPort
  node.controller.devices.setHost({ ...HOST, device: 'other' })
  t.equal(settings.hostPort, port)
  t.equal(ports.device(port), 'other')
  node.close()
})

t.test('without a host pair the rest goes on, and a new one is used', async (t) => {
  const node = new TestNode({ hasUplink: true })
  const [client, server] = [node.pod(), node.pod()]
  const { devices } = node.controller
  devices.removeHost()
  t.equal(node.maps.node.hostPort, NO_PORT)
  t.equal(devices.hasHost, false)
  t.not(identityOf(node, NODE_ADDRESS), Identity.HOST)
  t.equal(identityOf(node, node.uplinkAddress), Identity.HOST, 'the uplink’s address stays')
  node.send(client.port, ip(client, server.address).udp({ from: 1, to: 2 }).bytes())
  t.equal(server.port.take().length, 1)
  devices.addHost(HOST)
  t.equal(identityOf(node, NODE_ADDRESS), Identity.HOST)
  t.throws(() => devices.addHost(HOST), /expected a node without a host pair/)
  node.close()
})

t.test(
  'the node’s address follows its first uplink, and the next one when that goes',
  async (t) => {
    const node = new TestNode({ hasUplink: true })
    const { devices } = node.controller
    const second = { device: 'eth1', address: '203.0.113.2', mac: UPLINK_MAC }
    devices.addUplink(second)
    t.equal(nodeAddress(node), node.uplinkAddress)
    devices.setUplink({ device: 'uplink', address: '192.0.2.77', mac: UPLINK_MAC })
    t.equal(nodeAddress(node), '192.0.2.77')
    t.equal(identityOf(node, '192.0.2.77'), Identity.HOST)
    t.not(identityOf(node, node.uplinkAddress), Identity.HOST)
    node.controller.netdev.announce('192.0.2.50')
    t.equal(node.maps.netdev.announced.size, 2)
    devices.removeUplink('uplink')
    t.equal(nodeAddress(node), '203.0.113.2')
    t.equal(node.maps.netdev.announced.size, 1, 'nothing is announced where no uplink is')
    devices.removeUplink('eth1')
    t.equal(nodeAddress(node), '0.0.0.0')
    t.same(devices.uplinkDevices(), [])
    node.close()
  },
)

t.test('the port of an uplink that went rests before anybody else gets it', async (t) => {
  const node = new TestNode({ hasUplink: true })
  const port = node.uplinkPort
  node.controller.devices.removeUplink('uplink')
  const mac = '02:00:00:00:00:99'
  const pod = { id: 99, identity: 300, device: 'lxc', address: '10.0.1.99', mac, nodeMac: NODE_MAC }
  t.not(node.controller.addEndpoint(pod), port)
  node.close()
})

t.test('the port of a pod that went is for its own device alone for a while', async (t) => {
  const node = new TestNode()
  const { controller } = node
  const mac = '02:00:00:00:00:99'
  const pod = { id: 99, identity: 300, device: 'lxc', address: '10.0.1.99', mac, nodeMac: NODE_MAC }
  const port = controller.addEndpoint(pod)
  controller.removeEndpoint(99)
  const other = { ...pod, id: 98, device: 'lxc2' }
  t.not(controller.addEndpoint(other), port, 'until the datapath has let go of the device')
  controller.removeEndpoint(98)
  t.equal(controller.addEndpoint(pod), port)
  node.close()
})

t.test('an address that the host pair and an uplink share stays with either', async (t) => {
  const node = new TestNode({ hasUplink: true })
  const { devices } = node.controller
  devices.setHost({ ...HOST, addresses: [NODE_ADDRESS, node.uplinkAddress] })
  devices.removeUplink('uplink')
  t.equal(identityOf(node, node.uplinkAddress), Identity.HOST)
  devices.setHost(HOST)
  t.not(identityOf(node, node.uplinkAddress), Identity.HOST)
  node.close()
})

t.test('a new controller of the same maps knows which addresses go with a change', async (t) => {
  const node = new TestNode()
  const { devices } = new NodeController(node.maps, { maglevTableSize: 251 })
  devices.adoptHost(HOST)
  devices.setHost({ ...HOST, addresses: ['10.0.0.7'] })
  t.not(identityOf(node, NODE_ADDRESS), Identity.HOST)
  t.equal(identityOf(node, '10.0.0.7'), Identity.HOST)
  node.close()
})

t.test('a change that is wrong changes nothing', async (t) => {
  const node = new TestNode({ hasUplink: true })
  const { devices } = node.controller
  t.throws(() => devices.setHost({ ...HOST, addresses: [] }), /at least one address/)
  t.throws(() => devices.setHost({ ...HOST, mac: 'x' }), /MAC address/)
  t.throws(() => devices.setUplink({ device: 'uplink', address: 'x', mac: UPLINK_MAC }), /IPv4/)
  t.equal(identityOf(node, NODE_ADDRESS), Identity.HOST)
  t.equal(nodeAddress(node), node.uplinkAddress)
  node.close()
})

t.end()
