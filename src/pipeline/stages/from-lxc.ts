/**
 * tail_handle_ipv4 (bpf_lxc.c): the first look at a pod's IPv4 packet. It must be well formed and
 * come from the pod's own address. If it is for a service, it becomes one for a backend, before
 * connection tracking.
 */

import type { EndpointTable } from '../../endpoint/endpoint-table.js'
import { DropReason } from '../../packet/drop-reason.js'
import type { Verdict } from '../../packet/verdict.js'
import { completePartialChecksum4 } from '../../wire/partial-checksum.js'
import type { PacketContext } from '../context.js'
import { FragmentTracking } from '../fragment-tracking.js'
import { ServiceTranslation } from '../service-translation.js'
import type { DatapathState, Stage } from '../stage.js'

export class Ipv4FromLxc implements Stage {
  readonly #endpoints: EndpointTable
  readonly #fragments: FragmentTracking
  readonly #services: ServiceTranslation

  constructor(state: DatapathState) {
    this.#endpoints = state.endpoints
    this.#fragments = new FragmentTracking(state)
    this.#services = new ServiceTranslation(state)
  }

  process(ctx: PacketContext): Verdict {
    if (ctx.l3Verdict !== 0) return DropReason.INVALID
    if (!this.#fragments.mayEnter(ctx)) return DropReason.FRAGMENT_UNSUPPORTED
    if (!this.#endpoints.ownsAddress(ctx.ingressPort, ctx.words, ctx.sourceStart)) {
      return DropReason.INVALID_SOURCE_IP
    }
    if (ctx.isFragment) {
      const failed = this.#fragments.resolve(ctx)
      if (failed !== 0) return failed as DropReason
    } else if (ctx.l4Verdict === 0) {
      completePartialChecksum4(ctx.packet, ctx.l3Offset, ctx.l4Offset, ctx.words, ctx.tupleStart)
    }
    return this.#services.process(ctx)
  }
}
