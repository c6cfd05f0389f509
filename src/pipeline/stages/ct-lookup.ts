/**
 * tail_ipv4_ct_egress and tail_ipv4_ct_ingress (bpf_lxc.c): whose connection is this packet? One
 * class for both sides; the result stays in the context for the stage that follows.
 */
import type { DropReason } from '../../packet/drop-reason.js'
import type { Direction, Verdict } from '../../packet/verdict.js'
import { ConnectionLookup } from '../connection-lookup.js'
import { type PacketContext, tailCall } from '../context.js'
import type { DatapathState, Stage } from '../stage.js'
import type { TailCall } from '../tail-call.js'

export class CtLookup implements Stage {
  readonly #lookup: ConnectionLookup
  readonly #next: TailCall

  constructor(state: DatapathState, direction: Direction, next: TailCall) {
    this.#lookup = new ConnectionLookup(state, direction)
    this.#next = next
  }

  process(ctx: PacketContext): Verdict {
    const failed = this.#lookup.apply(ctx)
    return failed === 0 ? tailCall(ctx, this.#next) : (failed as DropReason)
  }
}
