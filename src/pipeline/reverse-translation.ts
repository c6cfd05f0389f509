/**
 * lb4_rev_nat (bpf/lib/lb.h): what comes back through a service seems to come from the service.
 * Done where a packet enters the pod that asked, for replies and for ICMP errors about the
 * flow; of the latter the quoted packet too, for the pod's kernel looks for its socket by it.
 */
import type { Conntrack } from '../conntrack/conntrack.js'
import { CtResult } from '../conntrack/ct-entry.js'
import { NO_REVERSE_NAT, type ReverseNatTable } from '../lb/reverse-nat-table.js'
import { DropReason } from '../packet/drop-reason.js'
import * as ipv4 from '../wire/ipv4.js'
import { setQuotedDestination, setQuotedSource } from '../wire/quoted.js'
import * as tuple from '../wire/tuple.js'
import type { PacketContext } from './context.js'
import { QuotedFlow } from './quoted-flow.js'
import type { DatapathState } from './stage.js'
import { canTranslate, hasPorts, setDestination, setSource } from './translate.js'

const { PORTS } = tuple.TupleWord
const SOURCE4 = tuple.TupleWord.SOURCE + 3
const DESTINATION4 = tuple.TupleWord.DESTINATION + 3

export class ReverseTranslation {
  readonly #conntrack: Conntrack
  readonly #reverseNat: ReverseNatTable
  readonly #quoted = new QuotedFlow()

  constructor(state: DatapathState) {
    this.#conntrack = state.conntrack
    this.#reverseNat = state.reverseNat
  }

  /**
   * 0, or the reason for a drop. The packet is a return (`isReturn`) of the connection that conntrack
   * looked up last.
   */
  apply(ctx: PacketContext): number {
    const index = this.#conntrack.revNatIndex
    if (index === NO_REVERSE_NAT || !this.#reverseNat.load(index)) return 0
    const isLoopback = this.#conntrack.isLoopback
    if (ctx.ctResult === CtResult.RELATED) return this.#translateError(ctx, isLoopback)
    if (!hasPorts(ctx.protocol)) return 0
    if (!canTranslate(ctx)) return DropReason.CHECKSUM_L4
    // The pod that sent it is the one that asked: it was addressed by a stand-in of ours.
    if (isLoopback) setDestination(ctx, sourceOf(ctx), ctx.destinationPort)
    setSource(ctx, this.#reverseNat.address4, this.#reverseNat.port)
    return 0
  }

  /**
   * An error from the backend itself comes from the service; one from a router on the way keeps its
   * source.
   */
  #translateError(ctx: PacketContext, isLoopback: boolean): number {
    const p = ctx.packet
    const quoted = this.#quoted
    if (!quoted.read(ctx) || !hasPorts(quoted.protocol)) return 0
    const { end } = quoted
    const { address4, port } = this.#reverseNat
    const words = ctx.words
    const backend = quoted.words[DESTINATION4] as number
    const clientPort = (quoted.words[PORTS] as number) >>> 16
    if (isLoopback) {
      setQuotedSource(p, ctx.l4Offset, end, backend, clientPort)
      ipv4.setDestination(p, ctx.l3Offset, backend)
      words[ctx.tupleStart + DESTINATION4] = backend
    }
    setQuotedDestination(p, ctx.l4Offset, end, address4, port)
    if (sourceOf(ctx) === backend) {
      ipv4.setSource(p, ctx.l3Offset, address4)
      words[ctx.tupleStart + SOURCE4] = address4
    }
    return 0
  }
}

const sourceOf = (ctx: PacketContext): number => ctx.words[ctx.tupleStart + SOURCE4] as number
