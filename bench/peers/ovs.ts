/**
 * Open vSwitch's datapath in user space with AF_XDP ports (docs.openvswitch.org: intro/install/afxdp),
 * one thread polling on the worker's core, and one flow from port to port.
 */
import { existsSync } from 'node:fs'
import { OpenVSwitch } from '../../test/support/open-vswitch.js'
import type { Contender, Running } from '../wire/contender.js'
import { preferOnItsCore, type Track, WORKER_CORE } from '../wire/track.js'

const PROGRAM = '/usr/sbin/ovs-vswitchd'

export class Ovs implements Contender {
  readonly name = 'ovs'
  readonly description = 'Open vSwitch, netdev datapath, afxdp ports, one pmd thread'
  readonly warmUpMilliseconds = 500

  problem(): Promise<string | undefined> {
    const reason = `no ${PROGRAM}: install openvswitch-switch`
    return Promise.resolve(existsSync(PROGRAM) ? undefined : reason)
  }

  async start(track: Track): Promise<Running> {
    const { lab, node, sender, receiver } = track
    const ovs = await OpenVSwitch.start(lab, node)
    preferOnItsCore(ovs.switch)
    const mask = `other_config:pmd-cpu-mask=${2 ** WORKER_CORE}`
    await ovs.configure(['set', 'Open_vSwitch', '.', mask])
    await ovs.configure(['add-br', 'br0', '--', 'set', 'bridge', 'br0', 'datapath_type=netdev'])
    for (const [index, { device }] of [sender, receiver].entries()) {
      const port = ['type=afxdp', 'options:n_rxq=1', `ofport_request=${index + 1}`]
      await ovs.configure([
        ...['--', 'add-port', 'br0', device, '--', 'set', 'interface', device, ...port],
      ])
      const error = await ovs.configure(['get', 'interface', device, 'error'])
      if (/\S/.test(error.replace('[]', ''))) throw new Error(`${device}: ${error.trim()}`)
    }
    await ovs.flows('del-flows', 'br0')
    await ovs.flows('add-flow', 'br0', ['in_port=1,actions=output:2'])
    return {
      target: { address: receiver.address, mac: sender.hostMac },
      sink: 'receiver',
      process: ovs.switch,
      stop: () => ovs.close(),
    }
  }
}
