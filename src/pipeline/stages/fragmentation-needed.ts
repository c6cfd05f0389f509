/**
 * A packet is larger than the MTU of the way on (`ctx.mtuBytes`) and must not be cut: its sender is
 * told the MTU (RFC 1191 section 4), and discovers the path's. The packet is a drop (136) all the
 * same.
 */
import { NotedReason } from '../../monitor/metrics.js'
import type { Monitor } from '../../monitor/monitor.js'
import { DropReason } from '../../packet/drop-reason.js'
import type { Verdict } from '../../packet/verdict.js'
import * as icmpv4 from '../../wire/icmpv4.js'
import type { PacketContext } from '../context.js'
import { type IcmpAnswer, NO_ADDRESS } from '../icmp-answer.js'
import type { DatapathState, Stage } from '../stage.js'

export class Ipv4FragmentationNeeded implements Stage {
  readonly #monitor: Monitor
  readonly #answer: IcmpAnswer

  constructor(state: DatapathState, answer: IcmpAnswer) {
    this.#monitor = state.monitor
    this.#answer = answer
  }

  process(ctx: PacketContext): Verdict {
    const from = this.#answer.nodeAddress(ctx)
    if (from === NO_ADDRESS || !this.#answer.mayAnswer(ctx)) return DropReason.FRAGMENTATION_NEEDED
    this.#monitor.drop(ctx, -DropReason.FRAGMENTATION_NEEDED)
    const type = icmpv4.Type.DESTINATION_UNREACHABLE
    const code = icmpv4.Unreachable.FRAGMENTATION_NEEDED
    const quote = icmpv4.ICMPV4_QUOTE_BYTES_MAX
    this.#monitor.note(ctx, NotedReason.MTU_ERROR_SENT)
    return this.#answer.sendError(ctx, type, code, ctx.mtuBytes, from, quote)
  }
}
