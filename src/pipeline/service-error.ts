/**
 * An ICMP error that a client sends about a reply it got from a service goes the same way as the
 * flow: to its backend, quoting the packet as the backend sent it.
 */
import type { Conntrack } from '../conntrack/conntrack.js'
import type { LoadBalancer } from '../lb/load-balancer.js'
import * as icmpv4 from '../wire/icmpv4.js'
import * as ipv4 from '../wire/ipv4.js'
import { setQuotedSource } from '../wire/quoted.js'
import * as tuple from '../wire/tuple.js'
import type { PacketContext } from './context.js'
import type { DatapathState } from './stage.js'
import { hasPorts, renewHash } from './translate.js'

const SOURCE4 = tuple.TupleWord.SOURCE + 3
const DESTINATION4 = tuple.TupleWord.DESTINATION + 3

export class ServiceErrorTranslation {
  readonly #loadBalancer: LoadBalancer
  readonly #conntrack: Conntrack
  readonly #quoted = new Int32Array(tuple.TUPLE_WORDS)

  constructor(state: DatapathState) {
    this.#loadBalancer = state.loadBalancer
    this.#conntrack = state.conntrack
  }

  /** True when the packet, an ICMP error to a service's address, is one to a backend now. */
  translate(ctx: PacketContext): boolean {
    const p = ctx.packet
    const end = ctx.l3Offset + ipv4.totalLength(p, ctx.l3Offset)
    if (!icmpv4.isQuoteValid(p, ctx.l4Offset, end)) return false
    const status = tuple.readQuoted(p, ctx.l4Offset, true, this.#quoted, 0)
    if (status !== tuple.TupleStatus.OK) return false
    const words = ctx.words
    const destination = words[ctx.tupleStart + DESTINATION4]
    // An error of the client's own about what it got from the service; a pod answers nobody else's
    // packets.
    if (this.#quoted[SOURCE4] !== destination || !hasPorts(quotedProtocol(this.#quoted))) {
      return false
    }
    if (!this.#loadBalancer.findRelated(this.#quoted)) return false
    const backend = this.#loadBalancer.backend
    setQuotedSource(p, ctx.l4Offset, end, backend.address4, backend.port)
    ipv4.setDestination(p, ctx.l3Offset, backend.address4)
    words[ctx.tupleStart + DESTINATION4] = backend.address4
    renewHash(ctx, this.#conntrack.seed)
    return true
  }
}

const quotedProtocol = (quoted: Int32Array): number =>
  (quoted[tuple.TupleWord.PROTOCOL] as number) & 0xff
