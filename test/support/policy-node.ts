/** A TestNode whose pods have labels and whose policies come from rules. */

import { PolicyController, type PolicyOptions } from '../../src/daemon/policy-controller.js'
import { Endpoint } from '../../src/endpoint/endpoint-table.js'
import type { NumberedLabels } from '../../src/policy-rules/identity-registry.js'
import type { Labels } from '../../src/policy-rules/labels.js'
import type { Subject } from '../../src/policy-rules/policy-repository.js'
import type { PeerSpec, RuleSpec, SectionSpec } from '../../src/policy-rules/rule-spec.js'
import { parseAddress } from '../../src/wire/address.js'
import { eth } from './packet-builder.js'
import { HOST_MAC, NODE_MAC, TestNode, type TestNodeOptions, type TestPod } from './test-node.js'

export class PolicyNode {
  readonly node: TestNode
  policies: PolicyController

  constructor(options: TestNodeOptions & PolicyOptions = {}) {
    this.node = new TestNode(options)
    this.policies = new PolicyController(this.node.controller, this.node.maps, options)
  }

  pod(labels: Labels, namedPorts?: Subject['namedPorts']): TestPod {
    const pod = this.node.pod()
    this.policies.setEndpointLabels(pod.id, labels, namedPorts)
    return pod
  }

  /** As an agent would after its restart: over the same maps, without the rules. */
  restart(identities: Iterable<NumberedLabels> = []): void {
    this.policies = new PolicyController(this.node.controller, this.node.maps, { identities })
  }

  /** Whether the first segment of a new connection arrives; each call is another connection. */
  connects(from: TestPod, to: TestPod, port: number): boolean {
    const frame = eth({ from: from.mac, to: NODE_MAC })
      .ipv4({ from: from.address, to: to.address, ttl: 64 })
      .tcp({ from: this.#nextPort(), to: port, flags: 'SYN', seq: 1 })
    this.node.send(from.port, frame.bytes())
    return to.port.take().length === 1
  }

  /** The same from the node's stack, which forwards for others too. */
  connectsFrom(address: string, to: TestPod, port: number): boolean {
    const frame = eth({ from: HOST_MAC, to: NODE_MAC })
      .ipv4({ from: address, to: to.address, ttl: 64 })
      .tcp({ from: this.#nextPort(), to: port, flags: 'SYN', seq: 1 })
    this.node.send(this.node.host, frame.bytes())
    return to.port.take().length === 1
  }

  /** Whether it leaves for the outside, by way of the node's stack. */
  connectsTo(from: TestPod, address: string, port: number): boolean {
    const frame = eth({ from: from.mac, to: NODE_MAC })
      .ipv4({ from: from.address, to: address, ttl: 64 })
      .tcp({ from: this.#nextPort(), to: port, flags: 'SYN', seq: 1 })
    this.node.send(from.port, frame.bytes())
    return this.node.host.take().length === 1
  }

  /** The policy that the endpoint's row names. */
  revision(pod: TestPod): number {
    const { endpoints } = this.node.maps
    const row = endpoints.rowStart(this.node.controller.portOf(pod.id))
    return endpoints.words[row + Endpoint.POLICY] as number
  }

  identityOf(address: string): number {
    return this.node.maps.ipcache.find(parseAddress(address), 0)
  }

  #port = 20_000
  #nextPort(): number {
    this.#port++
    return this.#port
  }
}

/** A rule for pods with this `app` label. */
export const ruleFor = (app: string, fields: Partial<RuleSpec>): RuleSpec => ({
  name: `rule of ${app}`,
  endpointSelector: { matchLabels: { 'k8s:app': app } },
  ...fields,
})

export const apps = (...names: string[]): PeerSpec => ({
  endpoints: names.map((name) => ({ matchLabels: { 'k8s:app': name } })),
})

export const tcp = (port: number | string, endPort?: number): Pick<SectionSpec, 'ports'> => ({
  ports: [{ protocol: 'TCP', port, ...(endPort === undefined ? {} : { endPort }) }],
})
