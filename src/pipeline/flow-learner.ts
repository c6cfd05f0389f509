/**
 * The part of the flow lane (flow-lane.ts) that remembers: what the chain did with a packet, from
 * the note of how it came in and the frame as it leaves; and what a connection that begins makes
 * void.
 */
import type { Conntrack } from '../conntrack/conntrack.js'
import { NOBODY, VisitedEntries } from '../conntrack/ct-traffic.js'
import { NO_REVERSE_NAT, type ReverseNatTable } from '../lb/reverse-nat-table.js'
import { NO_PORT } from '../packet/burst.js'
import * as envelope4 from '../wire/envelope4.js'
import * as ipv4 from '../wire/ipv4.js'
import * as plain4 from '../wire/plain4.js'
import { Protocol } from '../wire/protocols.js'
import { TupleWord } from '../wire/tuple.js'
import { ENVELOPE_BYTES } from '../wire/vxlan.js'
import { AdjacencyTable, MAC_WORDS } from './adjacency-table.js'
import type { PacketContext } from './context.js'
import { packAction, packAround, TTL_HOPS_MAX } from './flow-action.js'
import { Flow, NO_FLOW } from './flow-layout.js'
import type { FlowNews } from './flow-news.js'
import { KIND_MASK, NOTE_SHIFT, Note } from './flow-notes.js'
import type { FlowTable } from './flow-table.js'

const { NONE, STEADY } = plain4.Plain
const {
  ACTION,
  NEW_ENDS_A,
  NEW_ENDS_B,
  NEW_ENDS_C,
  DELTAS,
  AROUND,
  PSEUDO,
  INGRESS: FLOW_INGRESS,
} = Flow
const { HOME_AND_KIND, ENDS_A, ENDS_B, ENDS_C, INGRESS, TTL } = Note
const { TCP, UDP } = Protocol
/** Of what the frame came in by (Note.INGRESS). */
const PROTOCOL_MASK = 0xff
/** Of a reply that is void: its home in the table, and its ends. */
const VOID_WORDS = 5
/** At most three a packet: its reply by the egress port, the same by the route's port, and the displaced flow. */
const VOIDS_MAX = 3
const SOURCE4 = TupleWord.SOURCE + 3
const DESTINATION4 = TupleWord.DESTINATION + 3

export interface LearnerState {
  readonly conntrack: Conntrack
  readonly reverseNat: ReverseNatTable
}

export class FlowLearner {
  /** The packet memory. */
  readonly #words: Int32Array
  readonly #table: FlowTable
  readonly #flows: Int32Array
  /** What the packet at hand has met. */
  #visited = new VisitedEntries()
  #reverseNat: ReverseNatTable | null = null
  #news: FlowNews | undefined
  /** Of the burst at hand: replies that connections made void. */
  readonly #void: Int32Array
  #voidCount = 0
  /** Sum of the words touched ahead; kept so that no compiler may drop the loads. */
  touched = 0
  /** Of the burst at hand, by frame; the lane writes them. */
  readonly notes: Int32Array
  readonly adjacencies = new AdjacencyTable()

  /** @param words the packet memory */
  constructor(words: Int32Array, burstCapacity: number, table: FlowTable) {
    this.#words = words
    this.#table = table
    this.#flows = table.words
    this.notes = new Int32Array(burstCapacity << NOTE_SHIFT)
    this.#void = new Int32Array(burstCapacity * VOIDS_MAX * VOID_WORDS)
  }

  /** @param news to the lanes of other workers */
  serve(state: LearnerState, news: FlowNews | undefined): void {
    this.#reverseNat = state.reverseNat
    this.#visited = state.conntrack.visited
    this.#news = news
    this.adjacencies.clear()
  }

  /**
   * The chain has forwarded frame `index`.
   *
   * @param ctx shows it as it leaves
   * @param start byte that it began at as it came, in the packet memory
   * @param bytes that it had
   */
  learn(ctx: PacketContext, index: number, start: number, bytes: number): void {
    const note = index << NOTE_SHIFT
    const kind = (this.notes[note + HOME_AND_KIND] as number) & KIND_MASK
    const { isFromTunnel } = ctx
    if (this.#visited.hasNew) {
      if (kind !== NONE && !isFromTunnel) this.#tellOwn(note)
      // What comes out of a tunnel the lane never repeats.
      if (this.#visited.displaced !== NOBODY && !isFromTunnel) this.#voidDisplaced(ctx)
      if (!ctx.isToTunnel) this.#voidReply(ctx)
      return
    }
    // The note of what came through the tunnel is of the envelope, which other flows have as well.
    if (isFromTunnel || kind !== STEADY || !ctx.isRepeatable || this.#visited.hasClosed) return
    const grown = start - ctx.packet.start
    const hasEnvelope = grown === ENVELOPE_BYTES
    if (ctx.packet.length !== bytes + grown || (grown !== 0 && !hasEnvelope)) return
    // The chain may have made it an answer to its sender: that says nothing of the flow's next packet.
    if (plain4.classify(this.#words, start, bytes) !== STEADY) return
    const adjacency = this.#learnAround(start >> 2, hasEnvelope)
    if (adjacency < 0) return
    this.#learnFlow(ctx, note, start >> 2, adjacency, hasEnvelope)
  }

  /** The number of what stands around the packet; -1 if it cannot be kept. */
  #learnAround(at: number, hasEnvelope: boolean): number {
    const { row } = this.adjacencies
    const words = this.#words
    row.fill(0)
    for (let i = 0; i < MAC_WORDS; i++) row[i] = words[at + i] as number
    if (hasEnvelope && !envelope4.readTemplate(words, at, row, MAC_WORDS)) return -1
    const number = this.adjacencies.add()
    if (number >= 0) return number
    // Full: what flows know of it goes with it.
    this.adjacencies.clear()
    this.#table.invalidate()
    return this.adjacencies.add()
  }

  #learnFlow(
    ctx: PacketContext,
    note: number,
    at: number,
    adjacency: number,
    hasEnvelope: boolean,
  ): void {
    const notes = this.notes
    const words = this.#words
    const hops = (notes[note + TTL] as number) - plain4.ttl(words, at)
    if (hops < 0 || hops > TTL_HOPS_MAX) return
    const a = notes[note + ENDS_A] as number
    const b = notes[note + ENDS_B] as number
    const c = notes[note + ENDS_C] as number
    const ingress = notes[note + INGRESS] as number
    const home = (notes[note + HOME_AND_KIND] as number) & ~KIND_MASK
    const flow = this.#table.insert(home, a, b, c, ingress, this.#visited)
    const flows = this.#flows
    const newA = plain4.endsA(words, at)
    const newB = plain4.endsB(words, at)
    const newC = plain4.endsC(words, at)
    const { egressPort, direction, repeatableBytesMax } = ctx
    flows[flow + ACTION] = packAction(egressPort, hops, direction, hasEnvelope, repeatableBytesMax)
    flows[flow + NEW_ENDS_A] = newA
    flows[flow + NEW_ENDS_B] = newB
    flows[flow + NEW_ENDS_C] = newC
    flows[flow + PSEUDO] = plain4.pseudo(a, b, c, ingress & PROTOCOL_MASK)
    flows[flow + DELTAS] = plain4.deltas(a, b, c, newA, newB, newC, hops)
    const sourcePort = hasEnvelope ? envelope4.sourcePort(words, at) : 0
    flows[flow + AROUND] = packAround(adjacency, sourcePort)
  }

  /**
   * A connection began with the packet that leaves: what its reply's addresses and ports met before,
   * as packets of no connection or of another, is not what the reply will meet. The packet itself
   * need not be plain: a connection may begin with a fragment.
   */
  #voidReply(ctx: PacketContext): void {
    const { packet: p, l3Offset, l4Offset, protocol } = ctx
    if (protocol !== TCP && protocol !== UDP) return
    const source = ipv4.destination(p, l3Offset)
    const destination = ipv4.source(p, l3Offset)
    const a = plain4.packA(source, p.u16(l4Offset))
    const b = plain4.packB(source, destination)
    const c = plain4.packC(destination, p.u16(l4Offset + 2))
    this.#voidEnds(a, b, c, (ctx.egressPort << 8) | protocol)
    const { routePort } = ctx
    if (routePort === ctx.egressPort || routePort === NO_PORT) return
    this.#voidEnds(a, b, c, (routePort << 8) | protocol)
  }

  /**
   * The flow whose entry this connection took over: its next packet takes it back, and so has to be the
   * chain's. It comes from the same sender, to a service with this backend or to the backend itself.
   */
  #voidDisplaced(ctx: PacketContext): void {
    const { words, tupleStart, protocol } = ctx
    const { displaced } = this.#visited
    const reverseNat = this.#reverseNat
    let destination = words[tupleStart + DESTINATION4] as number
    let port = ctx.destinationPort
    if (displaced !== NO_REVERSE_NAT) {
      // A deleted service's flows are void anyway.
      if (reverseNat?.load(displaced) !== true) return
      destination = reverseNat.address4
      port = reverseNat.port
    }
    const { isTranslated } = ctx
    const source = isTranslated ? ctx.originalSource4 : (words[tupleStart + SOURCE4] as number)
    const ports = isTranslated ? ctx.originalPorts : (words[tupleStart + TupleWord.PORTS] as number)
    const a = plain4.packA(source, port)
    const b = plain4.packB(source, destination)
    const c = plain4.packC(destination, ports >>> 16)
    this.#voidEnds(a, b, c, (ctx.ingressPort << 8) | protocol)
  }

  #voidEnds(a: number, b: number, c: number, ingress: number): void {
    const row = this.#voidCount++ * VOID_WORDS
    const replies = this.#void
    replies[row] = this.#table.access.homeOf(a, b, c, ingress)
    replies[row + 1] = a
    replies[row + 2] = b
    replies[row + 3] = c
    replies[row + 4] = ingress
    this.#news?.tell(a, b, c, ingress)
  }

  /**
   * After the last frame of a burst, before any leaves: forgets the replies that are void. Their places in
   * the table are touched first, so that the cache misses overlap.
   */
  forgetReplies(): void {
    const end = this.#voidCount * VOID_WORDS
    const replies = this.#void
    const table = this.#table
    let sum = 0
    for (let row = 0; row < end; row += VOID_WORDS) {
      sum = (sum + (this.#flows[(replies[row] as number) + FLOW_INGRESS] as number)) | 0
    }
    this.touched = sum
    this.#voidCount = 0
    for (let row = 0; row < end; row += VOID_WORDS) {
      const a = replies[row + 1] as number
      const b = replies[row + 2] as number
      const c = replies[row + 3] as number
      const flow = table.access.find(replies[row] as number, a, b, c, replies[row + 4] as number)
      if (flow !== NO_FLOW) table.forget(flow)
    }
  }

  /** A connection began with the frame of this note: this lane has forgotten its ends, others may know them. */
  #tellOwn(note: number): void {
    const notes = this.notes
    this.#news?.tell(
      notes[note + ENDS_A] as number,
      notes[note + ENDS_B] as number,
      notes[note + ENDS_C] as number,
      notes[note + INGRESS] as number,
    )
  }
}
