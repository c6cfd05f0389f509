/**
 * tail_policy_denied_ipv4 (bpf_lxc.c, option policy-deny-response): a local sender whose packet a
 * policy denied, its own or the receiver's, is told so at once, in the name of whom the packet was
 * for: "administratively prohibited", or a reset. The packet is a drop (133 or 181) all the same.
 */
import { DenyResponse, type NodeSettings } from '../../endpoint/node-settings.js'
import type { Monitor } from '../../monitor/monitor.js'
import { DropReason } from '../../packet/drop-reason.js'
import type { Verdict } from '../../packet/verdict.js'
import * as icmpv4 from '../../wire/icmpv4.js'
import { type PacketContext, tailCall } from '../context.js'
import { type IcmpAnswer, NO_ADDRESS } from '../icmp-answer.js'
import type { DatapathState, Stage } from '../stage.js'
import { TailCall } from '../tail-call.js'

export class Ipv4PolicyDenied implements Stage {
  readonly #monitor: Monitor
  readonly #node: NodeSettings
  readonly #answer: IcmpAnswer

  constructor(state: DatapathState, answer: IcmpAnswer) {
    this.#monitor = state.monitor
    this.#node = state.node
    this.#answer = answer
  }

  process(ctx: PacketContext): Verdict {
    const reason = ctx.denyReason as DropReason
    const answer = this.#answer
    if (!answer.isLocalSender(ctx)) return reason
    if (this.#node.denyResponse === DenyResponse.RESET && answer.mayReset(ctx)) {
      this.#monitor.drop(ctx, -reason)
      return answer.sendReset(ctx)
    }
    return this.#sendError(ctx, reason)
  }

  #sendError(ctx: PacketContext, reason: DropReason): Verdict {
    if (!this.#answer.mayAnswer(ctx)) return reason
    this.#monitor.drop(ctx, -reason)
    const type = icmpv4.Type.DESTINATION_UNREACHABLE
    const code = icmpv4.Unreachable.PROHIBITED
    const quote = icmpv4.ICMPV4_QUOTE_BYTES
    return this.#answer.sendError(ctx, type, code, 0, NO_ADDRESS, quote)
  }
}

/** Ends a stage whose policy said no: the drop, or the stage that answers too, as configured. */
export function deny(ctx: PacketContext, node: NodeSettings, reason: number): Verdict {
  const isPolicy = reason === DropReason.POLICY_DENIED || reason === DropReason.POLICY_DENY
  if (!isPolicy || node.denyResponse === DenyResponse.NONE) return reason as DropReason
  ctx.denyReason = reason
  return tailCall(ctx, TailCall.IPV4_POLICY_DENIED)
}
