/** Two nodes in memory whose uplinks are on one network, and which know of each other's pods. */
import type { PeerSpec } from '../../src/daemon/remote-nodes.js'
import { Direction } from '../../src/packet/verdict.js'
import type { EndpointPolicy } from '../../src/policy/policy-rule.js'
import { TestNode, type TestNodeOptions } from './test-node.js'
import { encapsulated } from './vxlan.js'

export class OverlayNodes {
  readonly a: TestNode
  readonly b: TestNode
  /** What went over the network so far, in order. */
  readonly seen: Uint8Array[] = []

  constructor(options: Partial<PeerSpec> = {}, nodes: TestNodeOptions = {}) {
    this.a = new TestNode({ ...nodes, hasUplink: true })
    this.b = new TestNode({ ...nodes, hasUplink: true, number: 2 })
    const both = [
      [this.a, this.b, 'b', '10.0.2.0/24'],
      [this.b, this.a, 'a', '10.0.1.0/24'],
    ] as const
    for (const [node, peer, name, podCidr] of both) {
      node.controller.setTunnel({ mode: 'tunnel' })
      node.neighbour(peer.uplinkAddress, peer.uplinkMac)
      const address = peer.uplinkAddress
      node.controller.addPeer({
        name,
        address,
        podCidrs: [podCidr],
        hostAddresses: [peer.address],
        ...options,
      })
    }
  }

  /** Carries what either sends by its uplink to the other, until nothing moves. */
  settle(): void {
    for (let moved = true; moved; ) {
      moved = false
      for (const [from, to] of [
        [this.a, this.b],
        [this.b, this.a],
      ] as const) {
        for (const frame of from.uplink.take()) {
          moved = true
          this.seen.push(frame)
          to.send(to.uplink, frame)
        }
      }
    }
  }

  close(): void {
    this.a.close()
    this.b.close()
  }
}

/** A policy that lets in whoever has one of the identities. */
export const allowing = (...identities: number[]): EndpointPolicy => ({
  enforceIngress: true,
  enforceEgress: false,
  rules: [{ direction: Direction.INGRESS, action: 'allow', identities }],
})

/** What node 2 would send to node 1 through the tunnel. */
export function fromPeer(inner: Uint8Array, vni: number, flags = 8): Uint8Array {
  return encapsulated(inner, { from: '192.0.2.3', to: '192.0.2.2', vni, flags })
}
