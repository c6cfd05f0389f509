/**
 * Nodes of other makes behind the router of a LiveNode: one is plain Linux with the kernel's vxlan
 * devices, one is Open vSwitch. Each has a pod, whose identity is the network identifier it sends.
 */

import type { Namespace } from '../../src/lab/lab.js'
import { type LiveNode, NODE_ADDRESS, UPLINK_ADDRESS } from './live-node.js'
import { OpenVSwitch } from './open-vswitch.js'

const TUNNEL_PORT = 8472
const UNDERLAY_MTU = 1500
/** Of what is inside the tunnel, in both directions: Linux looks at it. */
export const INNER_MAC = '02:00:00:00:aa:01'

export interface OverlayPeer {
  readonly node: Namespace
  readonly pod: Namespace
  readonly podAddress: string
  readonly identity: number
  /** The peer's address on the underlay. */
  readonly address: string
}

/** Somebody on our node that the peer speaks with, a pod for one. */
export interface Correspondent {
  readonly address: string
  readonly identity: number
}

/**
 * The node itself, as its own processes are seen, and as clients from outside are that it forwards
 * to the peer's pods.
 */
export const NODE_CORRESPONDENTS: readonly Correspondent[] = [
  { address: NODE_ADDRESS, identity: 6 },
  { address: NODE_ADDRESS, identity: 2 },
]

/**
 * Plain Linux: a vxlan device for each identity that packets come with, and one for the identity
 * that its own pod's go out with, with fixed neighbours and forwarding entries.
 */
export async function linuxPeer(
  live: LiveNode,
  correspondents: readonly Correspondent[],
): Promise<OverlayPeer> {
  const { lab } = live
  const [address, podAddress, identity] = ['203.0.113.2', '10.0.2.1', 902]
  const node = await lab.namespace('linux')
  const pod = await lab.namespace('linux-pod')
  await lab.link({
    a: { ns: live.outside, device: 'to-linux', address: '203.0.113.1/24' },
    b: { ns: node, device: 'eth0', address: `${address}/24` },
  })
  await lab.link({
    a: { ns: node, device: 'pod', address: '10.0.2.254/24' },
    b: { ns: pod, device: 'eth0', address: `${podAddress}/24` },
  })
  await lab.ip(pod, ['route add default via 10.0.2.254'])
  const out = `vx${identity}`
  const options = `dstport ${TUNNEL_PORT} local ${address} nolearning noudpcsum`
  const vxlan = (id: number, mac = '') => [
    `link add vx${id} ${mac} mtu ${UNDERLAY_MTU - 50} type vxlan id ${id} ${options}`,
    `link set vx${id} up`,
  ]
  await lab.ip(node, [
    'route add default via 203.0.113.1',
    ...vxlan(identity),
    ...correspondents.flatMap((one) => [
      ...vxlan(one.identity, `address ${INNER_MAC}`),
      `route replace ${one.address} dev ${out}`,
      `neigh replace ${one.address} lladdr ${INNER_MAC} dev ${out} nud permanent`,
    ]),
  ])
  const fdb = ['fdb', 'append', INNER_MAC, 'dev', out, 'dst', UPLINK_ADDRESS]
  const { code, stderr } = await lab.exec(node, 'bridge', fdb)
  if (code !== 0) throw new Error(`bridge: ${stderr}`)
  return { node, pod, podAddress, identity, address }
}

/** Open vSwitch: flows that set and look at the tunnel's key. */
export async function openVSwitchPeer(
  live: LiveNode,
  correspondents: readonly Correspondent[],
): Promise<OverlayPeer & { readonly ovs: OpenVSwitch }> {
  const { lab } = live
  const [address, podAddress, identity] = ['198.18.0.2', '10.0.3.1', 903]
  const podMac = '02:00:00:00:cc:01'
  const node = await lab.namespace('ovs')
  const pod = await lab.namespace('ovs-pod')
  await lab.link({
    a: { ns: live.outside, device: 'to-ovs', address: '198.18.0.1/24' },
    b: { ns: node, device: 'eth0' },
  })
  await lab.link({ a: { ns: node, device: 'pod' }, b: { ns: pod, device: 'eth0', mac: podMac } })
  await lab.ip(pod, [
    `link set eth0 mtu ${UNDERLAY_MTU - 50}`,
    `address add ${podAddress}/32 dev eth0`,
    'route add 169.254.1.1 dev eth0 scope link',
    'route add default via 169.254.1.1',
    `neigh add 169.254.1.1 lladdr ${INNER_MAC} dev eth0 nud permanent`,
  ])
  // Its user space datapath forwards frames as they are, and the pod would leave sums undone.
  await lab.exec(pod, 'ethtool', ['-K', 'eth0', 'tx', 'off'])
  const ovs = await OpenVSwitch.start(lab, node)
  const netdev = 'datapath_type=netdev'
  await ovs.configure(['add-br', 'underlay', '--', 'set', 'bridge', 'underlay', netdev])
  await ovs.configure(['add-port', 'underlay', 'eth0'])
  await lab.ip(node, [
    `address add ${address}/24 dev underlay`,
    'link set underlay up',
    'route add default via 198.18.0.1',
  ])
  await ovs.configure(['add-br', 'pods', '--', 'set', 'bridge', 'pods', netdev, 'fail_mode=secure'])
  await ovs.configure([
    'add-port',
    'pods',
    'pod',
    '--',
    'set',
    'interface',
    'pod',
    'ofport_request=1',
  ])
  const options = ['remote_ip=flow', `dst_port=${TUNNEL_PORT}`, 'key=flow']
  const tunnel = ['type=vxlan', ...options.map((option) => `options:${option}`), 'ofport_request=2']
  await ovs.configure(['add-port', 'pods', 'vx', '--', 'set', 'interface', 'vx', ...tunnel])
  const out = `set_field:${identity}->tun_id,set_field:${UPLINK_ADDRESS}->tun_dst,output:2`
  for (const one of correspondents) {
    await ovs.flows('add-flow', 'pods', [`in_port=1,ip,nw_dst=${one.address},actions=${out}`])
    const match = `in_port=2,tun_id=${one.identity},ip,nw_src=${one.address},nw_dst=${podAddress}`
    const actions = `set_field:${podMac}->eth_dst,output:1`
    await ovs.flows('add-flow', 'pods', [`${match},actions=${actions}`])
  }
  // The switch learns its gateway's MAC by a packet to it.
  await lab.exec(node, 'ping', ['-c', '2', '-W', '2', '198.18.0.1'])
  return { node, pod, podAddress, identity, address, ovs }
}
