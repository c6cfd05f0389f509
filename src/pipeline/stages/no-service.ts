/**
 * tail_no_service_ipv4 (bpf/lib/nodeport.h): the client of a service without backends is told so,
 * by "port unreachable" from the service's address, or not, as configured.
 */
import { Endpoint, type EndpointTable } from '../../endpoint/endpoint-table.js'
import { NoBackendResponse, type ServiceSettings } from '../../lb/service-settings.js'
import { DropReason } from '../../packet/drop-reason.js'
import { Verdict } from '../../packet/verdict.js'
import * as ethernet from '../../wire/ethernet.js'
import * as icmpv4 from '../../wire/icmpv4.js'
import * as ipv4 from '../../wire/ipv4.js'
import type { PacketContext } from '../context.js'
import type { DatapathState, Stage } from '../stage.js'

export class Ipv4NoService implements Stage {
  readonly #endpoints: EndpointTable
  readonly #settings: ServiceSettings

  constructor(state: DatapathState) {
    this.#endpoints = state.endpoints
    this.#settings = state.serviceSettings
  }

  process(ctx: PacketContext): Verdict {
    const packet = ctx.packet
    if (this.#settings.noBackendResponse === NoBackendResponse.DROP || !mayAnswer(ctx)) {
      return DropReason.NO_SERVICE_BACKEND
    }
    const type = icmpv4.Type.DESTINATION_UNREACHABLE
    const service = ipv4.destination(packet, ctx.l3Offset)
    if (!icmpv4.encloseInError(packet, type, icmpv4.Unreachable.PORT, 0, service)) {
      return DropReason.NO_SERVICE_BACKEND
    }
    const rows = this.#endpoints.words
    const row = this.#endpoints.rowStart(ctx.ingressPort)
    const macHigh = rows[row + Endpoint.NODE_MAC] as number
    ethernet.turnBack(packet, 0, macHigh, rows[row + Endpoint.NODE_MAC + 1] as number)
    ctx.egressPort = ctx.ingressPort
    return Verdict.REDIRECT
  }
}

function mayAnswer(ctx: PacketContext): boolean {
  return !ethernet.isToGroup(ctx.packet, 0) && icmpv4.mayAnswerWithError(ctx.packet, ctx.l3Offset)
}
