/**
 * The flow that an ICMP error is about, read from the packet it quotes (RFC 792), for those who
 * translate errors: they rewrite the quote, so it has to hold all that they change.
 */
import * as icmpv4 from '../wire/icmpv4.js'
import * as ipv4 from '../wire/ipv4.js'
import * as tuple from '../wire/tuple.js'
import type { PacketContext } from './context.js'

const { PROTOCOL } = tuple.TupleWord

export class QuotedFlow {
  /** Its tuple, as the quoted packet had it: its source is whom the error is for. */
  readonly words = new Int32Array(tuple.TUPLE_WORDS)
  /** Offset behind the error's message, as IP tells: where the quote ends. */
  end = 0

  get protocol(): number {
    return (this.words[PROTOCOL] as number) & 0xff
  }

  /** False when the quote cannot be told, or ends before its ports or identifier. */
  read(ctx: PacketContext): boolean {
    const p = ctx.packet
    this.end = ctx.l3Offset + ipv4.totalLength(p, ctx.l3Offset)
    if (!icmpv4.isQuoteValid(p, ctx.l4Offset, this.end)) return false
    return tuple.readQuoted(p, ctx.l4Offset, true, this.words, 0) === tuple.TupleStatus.OK
  }
}
