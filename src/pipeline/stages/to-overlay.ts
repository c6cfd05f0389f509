/**
 * cil_to_overlay (bpf_overlay.c) and the tunnel device that Cilium leaves the rest to: a packet for
 * a pod of another node leaves in VXLAN, with its sender's identity, addressed to that node.
 *
 * What does not fit is not fragmented, neither outside (RFC 7348 section 4.3) nor inside: its sender
 * is told what fits (136), even of a packet that might be cut. Linux cuts to fit the next time.
 */
import { Endpoint, type EndpointTable, PortKind } from '../../endpoint/endpoint-table.js'
import type { NodeSettings } from '../../endpoint/node-settings.js'
import { VxlanTunnel } from '../../overlay/vxlan-tunnel.js'
import { NO_PORT } from '../../packet/burst.js'
import { DropReason } from '../../packet/drop-reason.js'
import { Verdict } from '../../packet/verdict.js'
import { type Fib, FibResult } from '../../routing/fib.js'
import * as ethernet from '../../wire/ethernet.js'
import * as ipv4 from '../../wire/ipv4.js'
import { ENVELOPE_BYTES, TUNNEL_OVERHEAD_BYTES } from '../../wire/vxlan.js'
import { type PacketContext, tailCall } from '../context.js'
import type { DatapathState, Stage } from '../stage.js'
import { TailCall } from '../tail-call.js'

export class ToOverlay implements Stage {
  readonly #endpoints: EndpointTable
  readonly #node: NodeSettings
  readonly #fib: Fib
  readonly #tunnel = new VxlanTunnel()

  constructor(state: DatapathState) {
    this.#endpoints = state.endpoints
    this.#node = state.node
    this.#fib = state.fib
  }

  process(ctx: PacketContext): Verdict {
    if (ctx.tunnelEndpoint4 === 0) return DropReason.NO_TUNNEL_ENDPOINT
    const result = this.#fib.lookup(ctx.tunnelEndpoint4, ctx.hash)
    if (result === FibResult.UNREACHABLE) return DropReason.NO_FIB
    if (result !== FibResult.NOT_OURS && !this.#fits(ctx)) return this.#tooLarge(ctx)
    if (result === FibResult.FOUND) return this.#toNetwork(ctx)
    return this.#toStack(ctx)
  }

  #fits(ctx: PacketContext): boolean {
    ctx.repeatableBytesMax = this.#fib.mtuBytes - TUNNEL_OVERHEAD_BYTES
    return ipv4.totalLength(ctx.packet, ctx.l3Offset) <= ctx.repeatableBytesMax
  }

  #tooLarge(ctx: PacketContext): Verdict {
    ctx.isToTunnel = false
    ctx.mtuBytes = this.#fib.mtuBytes - TUNNEL_OVERHEAD_BYTES
    return tailCall(ctx, TailCall.IPV4_FRAGMENTATION_NEEDED)
  }

  #toNetwork(ctx: PacketContext): Verdict {
    const { envelope } = this.#tunnel
    const { port, macHigh, macLow } = this.#fib
    const rows = this.#endpoints.words
    const own = this.#endpoints.rowStart(port) + Endpoint.NODE_MAC
    envelope.destinationMacHigh = macHigh
    envelope.destinationMacLow = macLow
    envelope.sourceMacHigh = rows[own] as number
    envelope.sourceMacLow = rows[own + 1] as number
    return this.#encapsulate(ctx, port)
  }

  /** As in `Forwarding`: the node's stack routes the outer packet, and resolves the neighbour. */
  #toStack(ctx: PacketContext): Verdict {
    const port = this.#node.hostPort
    if (port === NO_PORT) return DropReason.UNROUTABLE
    const { envelope } = this.#tunnel
    const rows = this.#endpoints.words
    const row = this.#endpoints.rowStart(port)
    envelope.destinationMacHigh = rows[row + Endpoint.MAC] as number
    envelope.destinationMacLow = rows[row + Endpoint.MAC + 1] as number
    envelope.sourceMacHigh = rows[row + Endpoint.NODE_MAC] as number
    envelope.sourceMacLow = rows[row + Endpoint.NODE_MAC + 1] as number
    return this.#encapsulate(ctx, port)
  }

  #encapsulate(ctx: PacketContext, port: number): Verdict {
    const { envelope } = this.#tunnel
    envelope.source4 = this.#fib.sourceAddress4 || this.#node.nodeAddress
    envelope.destination4 = ctx.tunnelEndpoint4
    envelope.destinationPort = this.#node.tunnelPort
    if (!this.#tunnel.encapsulate(ctx.packet, ctx.sourceIdentity, ctx.hash)) {
      return DropReason.WRITE_ERROR
    }
    this.#addressInner(ctx)
    ctx.isToTunnel = true
    ctx.egressPort = port
    return Verdict.REDIRECT
  }

  /**
   * MAC addresses inside are those of the sender's link as the node knows them: what a pod writes
   * there means nothing, and may be many (a lane keeps what stands around flows, adjacency-table.ts).
   * Of an uplink's other side the node knows nothing, and it stays as it came.
   */
  #addressInner(ctx: PacketContext): void {
    const { packet, ingressPort } = ctx
    const rows = this.#endpoints.words
    const row = this.#endpoints.rowStart(ingressPort)
    const { hasTunnelMac, tunnelMacHigh, tunnelMacLow } = this.#node
    if (hasTunnelMac) {
      ethernet.setDestination(packet, ENVELOPE_BYTES, tunnelMacHigh, tunnelMacLow)
    }
    if (rows[row + Endpoint.KIND] === PortKind.UPLINK) return
    const mac = row + Endpoint.MAC
    ethernet.setSource(packet, ENVELOPE_BYTES, rows[mac] as number, rows[mac + 1] as number)
    if (hasTunnelMac) return
    const node = row + Endpoint.NODE_MAC
    ethernet.setDestination(packet, ENVELOPE_BYTES, rows[node] as number, rows[node + 1] as number)
  }
}
