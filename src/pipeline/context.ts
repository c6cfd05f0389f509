/**
 * One packet on its way through the chain: what Cilium keeps in skb->cb, skb->mark and per-CPU
 * scratch between tail calls. One instance per worker, filled anew for each frame; a stage keeps no
 * reference to it.
 */
import { EVENT_DETAIL_WORDS } from '../monitor/event.js'
import { NO_PORT } from '../packet/burst.js'
import type { PacketBuffer } from '../packet/packet-buffer.js'
import { Verdict } from '../packet/verdict.js'
import { FRAME_WORDS, FragmentKind, Frame, type FrameTable } from './frame-table.js'
import type { TailCall } from './tail-call.js'

const IP_BYTES_MAX = 0xffff

export class PacketContext {
  readonly packet: PacketBuffer
  /** Rows of the burst; this frame's tuple begins at `tupleStart`. */
  readonly words: Int32Array
  tupleStart = 0

  nextStage: TailCall = 0 as TailCall
  nowSeconds = 0
  nowNanoseconds = 0
  ingressPort = 0
  egressPort = 0
  /** Of the uplink that the route names, if one does: replies come in there, even if the node's stack sends this. */
  routePort = NO_PORT

  etherType = 0
  l3Offset = 0
  l4Offset = 0
  protocol = 0
  tcpFlags = 0
  icmpType = 0
  /** A piece of a datagram, the first or a later one. */
  isFragment = false
  /** A piece without transport header: there are no ports in it to be read or rewritten. */
  isLaterFragment = false
  l3Verdict = 0
  l4Verdict = 0
  hash = 0

  sourceIdentity = 0
  destinationIdentity = 0
  /**
   * Row of the destination endpoint in the endpoint table, set before the jump to its ingress
   * stages.
   */
  destinationEndpoint = 0
  /** Side and endpoint whose policy is being asked; what a drop is accounted to. */
  direction = 0
  endpointId = 0

  /**
   * Result of the last conntrack lookup (CtResult), the slot of the entry found, and whether an
   * event is due.
   */
  ctResult = 0
  ctSlot = 0
  isMonitored = false
  /** Of a packet whose destination was a service until this chain translated it, else 0. */
  revNatIndex = 0
  /** Its backend is the pod that sent it. */
  isLoopback = false
  /** It is for a pod of another node that is reached through the tunnel. */
  isToTunnel = false
  /** IPv4 address of that node; 0 when nobody knows it. */
  tunnelEndpoint4 = 0
  /** It came out of the tunnel: another node's sender told its identity. */
  isFromTunnel = false
  /** It answers a mapping of our NAT, or tells of an error with one: its destination is who has that. */
  isNatAnswer = false
  /** The original of what a translation has changed, meaningful when `isTranslated`. */
  isTranslated = false
  originalSource4 = 0
  originalDestination4 = 0
  originalPorts = 0
  /** Why stage IPV4_POLICY_DENIED was called: a DropReason. */
  denyReason = 0
  /** Of the way that a packet is too large for, before stage IPV4_FRAGMENTATION_NEEDED. */
  mtuBytes = 0
  /** Cookie of the rule that decided, 0 for none; carried by policy verdict events. */
  ruleCookie = 0
  policyMatch = 0
  /** The policy would have dropped it, and it passes by audit mode. */
  isAudited = false
  /** Numbers of a drop's own, as many as `detailCount`; what they are goes by its reason. */
  readonly detail = new Int32Array(EVENT_DETAIL_WORDS)
  detailCount = 0
  /**
   * The next packets of this flow may be handled as this one, by the flow lane. False from a stage
   * whose decision holds for this packet alone.
   */
  isRepeatable = true
  /** As long as they have at most so many bytes from the IP header on. */
  repeatableBytesMax = IP_BYTES_MAX

  constructor(packet: PacketBuffer, table: FrameTable) {
    this.packet = packet
    this.words = table.words
  }

  /** Points the context at frame `index` of the burst. */
  load(index: number, ingressPort: number): void {
    this.tupleStart = index * FRAME_WORDS
    this.ingressPort = ingressPort
    this.egressPort = -1
    this.routePort = NO_PORT
    this.reload()
    this.sourceIdentity = 0
    this.destinationIdentity = 0
    this.destinationEndpoint = -1
    this.direction = 0
    this.endpointId = 0
    this.ctResult = 0
    this.ctSlot = -1
    this.isMonitored = false
    this.revNatIndex = 0
    this.isLoopback = false
    this.isToTunnel = false
    this.tunnelEndpoint4 = 0
    this.isFromTunnel = false
    this.isNatAnswer = false
    this.isTranslated = false
    this.ruleCookie = 0
    this.policyMatch = 0
    this.isAudited = false
    this.detailCount = 0
    this.isRepeatable = true
    this.repeatableBytesMax = IP_BYTES_MAX
  }

  /** Takes over what the frame's row says of its headers, after they were read again. */
  reload(): void {
    const row = this.tupleStart
    const words = this.words
    this.etherType = words[row + Frame.ETHER_TYPE] as number
    this.l3Offset = words[row + Frame.L3_OFFSET] as number
    this.l4Offset = words[row + Frame.L4_OFFSET] as number
    this.protocol = words[row + Frame.PROTOCOL] as number
    this.tcpFlags = words[row + Frame.TCP_FLAGS] as number
    this.icmpType = words[row + Frame.ICMP_TYPE] as number
    this.isFragment = words[row + Frame.FRAGMENT] !== FragmentKind.WHOLE
    this.isLaterFragment = words[row + Frame.FRAGMENT] === FragmentKind.LATER
    this.l3Verdict = words[row + Frame.L3_VERDICT] as number
    this.l4Verdict = words[row + Frame.L4_VERDICT] as number
    this.hash = words[row + Frame.HASH] as number
  }

  /** Index of the four source address words in `words`. */
  get sourceStart(): number {
    return this.tupleStart + Frame.SOURCE
  }

  /** Index of the four destination address words in `words`. */
  get destinationStart(): number {
    return this.tupleStart + Frame.DESTINATION
  }

  get destinationPort(): number {
    return (this.words[this.tupleStart + Frame.PORTS] as number) & 0xffff
  }
}

/** Ends a stage: the chain goes on with `stage`. */
export function tailCall(ctx: PacketContext, stage: TailCall): Verdict {
  ctx.nextStage = stage
  return Verdict.CONTINUE
}
