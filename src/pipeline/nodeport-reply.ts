/**
 * nodeport_rev_dnat_ipv4 and nodeport_rev_dnat_fwd_ipv4 (bpf/lib/nodeport.h): what a backend sends
 * to a client that came through a service of this node (`nodeport-lb.ts`) comes from the service
 * again; of an ICMP error about such a flow the quoted packet, too.
 */
import type { Conntrack } from '../conntrack/conntrack.js'
import { CtDirection, CtResult } from '../conntrack/ct-entry.js'
import * as tuple from '../wire/tuple.js'
import { isAboutConnection } from './connection-lookup.js'
import type { PacketContext } from './context.js'
import { ReverseTranslation } from './reverse-translation.js'
import type { DatapathState } from './stage.js'
import { renewHash } from './translate.js'

/** From `apply`; negative answers are drop reasons. */
export const ReplyResult = { NONE: 0, TRANSLATED: 1 } as const

export class NodePortReply {
  readonly #conntrack: Conntrack
  readonly #reverse: ReverseTranslation
  readonly #quoted = new Int32Array(tuple.TUPLE_WORDS)

  constructor(state: DatapathState) {
    this.#conntrack = state.conntrack
    this.#reverse = new ReverseTranslation(state)
  }

  apply(ctx: PacketContext): number {
    if (ctx.l4Verdict !== 0 || !this.#find(ctx)) return ReplyResult.NONE
    const failed = this.#reverse.apply(ctx)
    if (failed !== 0) return failed
    renewHash(ctx, this.#conntrack.seed)
    return ReplyResult.TRANSLATED
  }

  #find(ctx: PacketContext): boolean {
    const { words, tupleStart, hash, tcpFlags, nowSeconds } = ctx
    const conntrack = this.#conntrack
    if (isAboutConnection(ctx.icmpType)) return this.#findRelated(ctx)
    const bytes = ctx.packet.length
    if (!conntrack.lookupNodePortReply(words, tupleStart, hash, tcpFlags, bytes, nowSeconds)) {
      return false
    }
    ctx.ctResult = CtResult.REPLY
    ctx.isMonitored = conntrack.isMonitored
    return true
  }

  #findRelated(ctx: PacketContext): boolean {
    const status = tuple.readQuoted(ctx.packet, ctx.l4Offset, true, this.#quoted, 0)
    if (status === tuple.TupleStatus.TRUNCATED) return false
    const direction = CtDirection.INGRESS
    const found = this.#conntrack.lookupRelated(this.#quoted, 0, direction)
    if (found !== CtResult.RELATED || !this.#conntrack.isNodePort) return false
    ctx.ctResult = CtResult.RELATED
    return true
  }
}
