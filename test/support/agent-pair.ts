/**
 * Two nodes run by real agents, and a router between them with the world behind it:
 *
 *     a 192.0.2.2 ── 192.0.2.1  world  203.0.113.1 ── 203.0.113.2 b
 *                        198.51.100.1, 198.51.100.66
 */

import { Lab, type Namespace, type Pod } from '../../src/lab/lab.js'
import { LiveAgent } from './live-agent.js'
import { askBySocat, socatServer } from './socat.js'

export const A_ADDRESS = '192.0.2.2'
export const B_ADDRESS = '203.0.113.2'
export const OUTSIDE = '198.51.100.1'
/** Another address outside, for whom nobody wants. */
export const UNWANTED = '198.51.100.66'

export const uplinkOf = (
  address: string,
): string => `uplinks: [{ device: eth0, address: ${address} }]
tunnel: { mode: tunnel }
masquerade: { enabled: true, nativeRoutingCidrs: [10.0.0.0/8] }
`

export class AgentPair {
  readonly lab: Lab
  readonly world: Namespace
  readonly a: LiveAgent
  readonly b: LiveAgent
  readonly client: Pod
  readonly remote: Pod

  private constructor(
    lab: Lab,
    world: Namespace,
    nodes: readonly [LiveAgent, LiveAgent],
    pods: readonly [Pod, Pod],
  ) {
    this.lab = lab
    this.world = world
    this.a = nodes[0]
    this.b = nodes[1]
    this.client = pods[0]
    this.remote = pods[1]
  }

  static async create(name: string): Promise<AgentPair> {
    const lab = await Lab.create({ name })
    const world = await lab.namespace('world')
    await lab.ip(world, [`address add ${OUTSIDE}/32 dev lo`, `address add ${UNWANTED}/32 dev lo`])
    const a = await LiveAgent.create('a', { lab, spec: uplinkOf(A_ADDRESS) })
    const b = await LiveAgent.create('b', {
      lab,
      spec: uplinkOf(B_ADDRESS),
      labels: '{ egress: "yes" }',
      address: '10.0.0.2',
      podCidr: '10.0.2.0/24',
    })
    for (const [live, address, router] of [
      [a, A_ADDRESS, '192.0.2.1'],
      [b, B_ADDRESS, '203.0.113.1'],
    ] as const) {
      await lab.link({
        a: { ns: live.node, device: 'eth0', address: `${address}/24` },
        b: { ns: world, device: `to-${live.node.name}`, address: `${router}/24` },
      })
      await lab.ip(live.node, [`route add default via ${router}`])
    }
    const client = await a.pod('client', '10.0.1.1')
    const remote = await b.pod('remote', '10.0.2.1')
    a.endpoint(client, ', identity: 400')
    b.endpoint(remote, ', identity: 300')
    a.manifest('peer.yaml', peer('b', B_ADDRESS, '10.0.2', 300, 'remote', '{ egress: "yes" }'))
    b.manifest('peer.yaml', peer('a', A_ADDRESS, '10.0.1', 400, 'client', '{}'))
    return new AgentPair(lab, world, [a, b], [client, remote])
  }

  /** The source that a TCP connection from `from` to the world has there. */
  async sourceSeenBy(port: number, from: Namespace): Promise<string> {
    return (await this.sourceAndPortSeenBy(port, from)).split(' ')[0] ?? ''
  }

  /** "192.0.2.2 40000", as whoever has the address sees it: the world unless given. */
  async sourceAndPortSeenBy(
    port: number,
    from: Namespace,
    at = this.world,
    address = OUTSIDE,
  ): Promise<string> {
    const who = 'SYSTEM:echo $SOCAT_PEERADDR $SOCAT_PEERPORT'
    const listen = `TCP-LISTEN:${port},reuseaddr`
    const server = await socatServer(this.lab, at, listen, who)
    const target = `TCP:${address}:${port},connect-timeout=5`
    const answer = await askBySocat(this.lab, from, target)
    await server.stop()
    return answer.trim()
  }

  async close(): Promise<void> {
    await this.a.close()
    await this.b.close()
    await this.lab.close()
  }
}

const peer = (
  name: string,
  address: string,
  net: string,
  identity: number,
  app: string,
  labels: string,
): string => `apiVersion: ringpath.io/v1
kind: Peer
metadata: { name: ${name}, labels: ${labels} }
spec:
  address: ${address}
  podCidrs: [${net}.0/24]
  hostAddresses: [10.0.0.${net.at(-1)}]
  endpoints: [{ address: ${net}.1, identity: ${identity}, labels: { app: ${app} } }]
`
