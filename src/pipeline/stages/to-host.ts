/**
 * The policy of the host endpoint, in front of its stack (bpf_host.c: cil_to_host, and slot 11 of
 * that program): may the packet enter the node?
 */
import type { EndpointTable } from '../../endpoint/endpoint-table.js'
import type { NodeSettings } from '../../endpoint/node-settings.js'
import { NO_PORT } from '../../packet/burst.js'
import type { Verdict } from '../../packet/verdict.js'
import { ALLOWED } from '../../policy/policy-map.js'
import type { PacketContext } from '../context.js'
import { Forwarding } from '../forwarding.js'
import { HostFirewall } from '../host-firewall.js'
import { isTooLarge, refuseTooLarge } from '../local-delivery.js'
import type { DatapathState, Stage } from '../stage.js'
import { deny } from './policy-denied.js'

export class Ipv4ToHost implements Stage {
  readonly #endpoints: EndpointTable
  readonly #node: NodeSettings
  readonly #firewall: HostFirewall
  readonly #forwarding: Forwarding

  constructor(state: DatapathState) {
    this.#endpoints = state.endpoints
    this.#node = state.node
    this.#firewall = new HostFirewall(state)
    this.#forwarding = new Forwarding(state)
  }

  process(ctx: PacketContext): Verdict {
    const verdict = this.#firewall.admitIngress(ctx)
    if (verdict !== ALLOWED) return deny(ctx, this.#node, verdict)
    const host = this.#node.hostPort
    if (host !== NO_PORT && isTooLarge(ctx, this.#endpoints, host)) {
      return refuseTooLarge(ctx, this.#endpoints, host)
    }
    return this.#forwarding.toStack(ctx)
  }
}
