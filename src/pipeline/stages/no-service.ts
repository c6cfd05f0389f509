/**
 * tail_no_service_ipv4 (bpf/lib/nodeport.h): the client of a service without backends is told so,
 * by "port unreachable" from the service's address, or not, as configured. The packet is a drop (158)
 * in both cases, where Cilium tells of it only in the second.
 */
import { NoBackendResponse, type ServiceSettings } from '../../lb/service-settings.js'
import type { Monitor } from '../../monitor/monitor.js'
import { DropReason } from '../../packet/drop-reason.js'
import type { Verdict } from '../../packet/verdict.js'
import * as icmpv4 from '../../wire/icmpv4.js'
import type { PacketContext } from '../context.js'
import { type IcmpAnswer, NO_ADDRESS } from '../icmp-answer.js'
import type { DatapathState, Stage } from '../stage.js'

export class Ipv4NoService implements Stage {
  readonly #monitor: Monitor
  readonly #settings: ServiceSettings
  readonly #answer: IcmpAnswer

  constructor(state: DatapathState, answer: IcmpAnswer) {
    this.#monitor = state.monitor
    this.#settings = state.serviceSettings
    this.#answer = answer
  }

  process(ctx: PacketContext): Verdict {
    const isSilent = this.#settings.noBackendResponse === NoBackendResponse.DROP
    if (isSilent || !this.#answer.mayAnswer(ctx)) return DropReason.NO_SERVICE_BACKEND
    this.#monitor.drop(ctx, -DropReason.NO_SERVICE_BACKEND)
    const type = icmpv4.Type.DESTINATION_UNREACHABLE
    const code = icmpv4.Unreachable.PORT
    const quote = icmpv4.ICMPV4_QUOTE_BYTES
    return this.#answer.sendError(ctx, type, code, 0, NO_ADDRESS, quote)
  }
}
