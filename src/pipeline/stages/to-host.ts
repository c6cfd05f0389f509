/**
 * The policy of the host endpoint, in front of its stack (bpf_host.c: cil_to_host, and slot 11 of
 * that program): may the packet enter the node?
 */
import type { NodeSettings } from '../../endpoint/node-settings.js'
import type { Verdict } from '../../packet/verdict.js'
import { ALLOWED } from '../../policy/policy-map.js'
import type { PacketContext } from '../context.js'
import { Forwarding } from '../forwarding.js'
import { HostFirewall } from '../host-firewall.js'
import type { DatapathState, Stage } from '../stage.js'
import { deny } from './policy-denied.js'

export class Ipv4ToHost implements Stage {
  readonly #node: NodeSettings
  readonly #firewall: HostFirewall
  readonly #forwarding: Forwarding

  constructor(state: DatapathState) {
    this.#node = state.node
    this.#firewall = new HostFirewall(state)
    this.#forwarding = new Forwarding(state)
  }

  process(ctx: PacketContext): Verdict {
    const verdict = this.#firewall.admitIngress(ctx)
    if (verdict !== ALLOWED) return deny(ctx, this.#node, verdict)
    return this.#forwarding.toStack(ctx)
  }
}
