/**
 * The TTL of a packet is used up at this node, which says so to its sender: with that, traceroute
 * shows the node. Cilium's slot does it for IPv6 alone; RFC 1812 section 5.3.1 asks it of every
 * router. The packet is a drop (196) all the same.
 */
import type { Monitor } from '../../monitor/monitor.js'
import { DropReason } from '../../packet/drop-reason.js'
import type { Verdict } from '../../packet/verdict.js'
import * as icmpv4 from '../../wire/icmpv4.js'
import type { PacketContext } from '../context.js'
import { type IcmpAnswer, NO_ADDRESS } from '../icmp-answer.js'
import type { DatapathState, Stage } from '../stage.js'

const IN_TRANSIT = 0

export class Ipv4TimeExceeded implements Stage {
  readonly #monitor: Monitor
  readonly #answer: IcmpAnswer

  constructor(state: DatapathState, answer: IcmpAnswer) {
    this.#monitor = state.monitor
    this.#answer = answer
  }

  process(ctx: PacketContext): Verdict {
    const from = this.#answer.nodeAddress(ctx)
    if (from === NO_ADDRESS || !this.#answer.mayAnswer(ctx)) return DropReason.TTL_EXCEEDED
    this.#monitor.drop(ctx, -DropReason.TTL_EXCEEDED)
    const type = icmpv4.Type.TIME_EXCEEDED
    const quote = icmpv4.ICMPV4_QUOTE_BYTES_MAX
    return this.#answer.sendError(ctx, type, IN_TRANSIT, 0, from, quote)
  }
}
