/**
 * An ICMP error that a client sends about a reply it got from a service goes the same way as the
 * flow: to its backend, quoting the packet as the backend sent it.
 */
import type { Conntrack } from '../conntrack/conntrack.js'
import type { LoadBalancer } from '../lb/load-balancer.js'
import * as ipv4 from '../wire/ipv4.js'
import { setQuotedSource } from '../wire/quoted.js'
import * as tuple from '../wire/tuple.js'
import type { PacketContext } from './context.js'
import { QuotedFlow } from './quoted-flow.js'
import type { DatapathState } from './stage.js'
import { hasPorts, renewHash } from './translate.js'

const SOURCE4 = tuple.TupleWord.SOURCE + 3
const DESTINATION4 = tuple.TupleWord.DESTINATION + 3

export class ServiceErrorTranslation {
  readonly #loadBalancer: LoadBalancer
  readonly #conntrack: Conntrack
  readonly #quoted = new QuotedFlow()

  constructor(state: DatapathState) {
    this.#loadBalancer = state.loadBalancer
    this.#conntrack = state.conntrack
  }

  /** True when the packet, an ICMP error to a service's address, is one to a backend now. */
  translate(ctx: PacketContext): boolean {
    const p = ctx.packet
    const quoted = this.#quoted
    if (!quoted.read(ctx)) return false
    const words = ctx.words
    const destination = words[ctx.tupleStart + DESTINATION4]
    // An error of the client's own about what it got from the service; a pod answers nobody else's
    // packets.
    if (quoted.words[SOURCE4] !== destination || !hasPorts(quoted.protocol)) return false
    if (!this.#loadBalancer.findRelated(quoted.words)) return false
    const backend = this.#loadBalancer.backend
    setQuotedSource(p, ctx.l4Offset, quoted.end, backend.address4, backend.port)
    ipv4.setDestination(p, ctx.l3Offset, backend.address4)
    words[ctx.tupleStart + DESTINATION4] = backend.address4
    renewHash(ctx, this.#conntrack.seed)
    return true
  }
}
