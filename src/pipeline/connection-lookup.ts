/**
 * Whose connection is this packet, on this side (Cilium: ct_lookup4 and the CT buffers of its
 * stages)? The answer is in the context; the entry that was found is conntrack's last.
 */
import type { Conntrack } from '../conntrack/conntrack.js'
import { CtDirection, CtResult } from '../conntrack/ct-entry.js'
import { Direction } from '../packet/verdict.js'
import * as icmpv4 from '../wire/icmpv4.js'
import * as tuple from '../wire/tuple.js'
import type { PacketContext } from './context.js'
import type { DatapathState } from './stage.js'

export class ConnectionLookup {
  readonly #conntrack: Conntrack
  readonly #direction: CtDirection
  readonly #forward: CtDirection
  readonly #quoted = new Int32Array(tuple.TUPLE_WORDS)

  constructor(state: DatapathState, direction: Direction) {
    this.#conntrack = state.conntrack
    this.#direction = direction === Direction.EGRESS ? CtDirection.EGRESS : CtDirection.INGRESS
    this.#forward =
      direction === Direction.EGRESS ? CtDirection.EGRESS_FORWARD : CtDirection.INGRESS
  }

  /** 0, or the reason for a drop: what its transport header lacks. */
  apply(ctx: PacketContext): number {
    if (ctx.l4Verdict !== 0) return ctx.l4Verdict
    if (isAboutConnection(ctx.icmpType)) this.#lookupRelated(ctx)
    else this.#lookup(ctx)
    ctx.ctSlot = this.#conntrack.slot
    ctx.isMonitored = this.#conntrack.isMonitored
    return 0
  }

  #lookup(ctx: PacketContext): void {
    ctx.ctResult = this.#conntrack.lookup(
      ctx.words,
      ctx.tupleStart,
      ctx.hash,
      // What goes to a service is of the flow's first direction, whatever other flow has its ports.
      ctx.revNatIndex === 0 ? this.#direction : this.#forward,
      ctx.tcpFlags,
      ctx.packet.length,
      ctx.nowSeconds,
    )
  }

  #lookupRelated(ctx: PacketContext): void {
    const status = tuple.readQuoted(ctx.packet, ctx.l4Offset, true, this.#quoted, 0)
    ctx.ctResult =
      status === tuple.TupleStatus.TRUNCATED
        ? CtResult.NEW
        : this.#conntrack.lookupRelated(this.#quoted, 0, this.#direction)
  }
}

/**
 * Errors that a connection may get; redirects and source quench, which hosts ignore, have to pass
 * the policy.
 */
export function isAboutConnection(icmpType: number): boolean {
  return (
    icmpType === icmpv4.Type.DESTINATION_UNREACHABLE ||
    icmpType === icmpv4.Type.TIME_EXCEEDED ||
    icmpType === icmpv4.Type.PARAMETER_PROBLEM
  )
}
