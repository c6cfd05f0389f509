/**
 * ipv4_handle_fragmentation (bpf/lib/ipfrag.h), once where a packet enters the chain: the first
 * fragment of a datagram leaves its ports in a table, later ones take them from there into their
 * tuple. All stages behind see a later fragment as a packet of its flow; only what rewrites must
 * know that there is no transport header (`ctx.isLaterFragment`).
 *
 * The table's addresses are those of the packet as it came, before any translation. Overlapping
 * fragments are left to the receiver: a first fragment is held against policy by its own ports, and
 * no later one can reach back to them.
 */
import type { FragmentTable } from '../conntrack/fragment-table.js'
import type { NodeSettings } from '../endpoint/node-settings.js'
import { NotedReason } from '../monitor/metrics.js'
import type { Monitor } from '../monitor/monitor.js'
import { DropReason } from '../packet/drop-reason.js'
import * as ipv4 from '../wire/ipv4.js'
import { TupleWord } from '../wire/tuple.js'
import type { PacketContext } from './context.js'
import type { DatapathState } from './stage.js'
import { renewHash } from './translate.js'

export class FragmentTracking {
  readonly #table: FragmentTable
  readonly #node: NodeSettings
  readonly #monitor: Monitor
  readonly #seed: number

  constructor(state: DatapathState) {
    this.#table = state.fragments
    this.#node = state.node
    this.#monitor = state.monitor
    this.#seed = state.conntrack.seed
  }

  /** False: the node takes no fragments at all (157). */
  mayEnter(ctx: PacketContext): boolean {
    return !ctx.isFragment || this.#node.isFragmentTracking
  }

  /**
   * 0, or the reason for a drop; does nothing to a whole packet. Afterwards the tuple has its ports
   * and `ctx.l4Verdict` tells of a fragment what it tells of a packet.
   */
  resolve(ctx: PacketContext): number {
    if (!ctx.isFragment) return 0
    if (!this.#node.isFragmentTracking) return DropReason.FRAGMENT_UNSUPPORTED
    this.#monitor.note(ctx, NotedReason.FRAGMENT)
    return ctx.isLaterFragment ? this.#find(ctx) : this.#store(ctx)
  }

  #store(ctx: PacketContext): number {
    if (ctx.l4Verdict !== 0) return 0
    const identification = ipv4.identification(ctx.packet, ctx.l3Offset)
    if (!this.#table.store(ctx.words, ctx.tupleStart, identification, ctx.nowSeconds)) {
      this.#monitor.note(ctx, NotedReason.FRAGMENT_UPDATE_FAILED)
    }
    return 0
  }

  #find(ctx: PacketContext): number {
    // Of a protocol without ports, and of ICMP: said by the stages that ask for them.
    if (ctx.l4Verdict !== DropReason.FRAGMENT_NOT_FOUND) return 0
    const identification = ipv4.identification(ctx.packet, ctx.l3Offset)
    if (!this.#table.find(ctx.words, ctx.tupleStart, identification, ctx.nowSeconds)) {
      return DropReason.FRAGMENT_NOT_FOUND
    }
    ctx.words[ctx.tupleStart + TupleWord.PORTS] = this.#table.ports
    ctx.l4Verdict = 0
    renewHash(ctx, this.#seed)
    return 0
  }
}
