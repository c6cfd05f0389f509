/**
 * Pass one over a burst: read each frame's headers once into its row of the frame table. Nothing is
 * decided here; what is wrong with a packet is noted, for the stage that Cilium has say so.
 */
import { flowHash } from '../conntrack/flow-hash.js'
import type { Burst } from '../packet/burst.js'
import { DropReason } from '../packet/drop-reason.js'
import type { PacketBuffer } from '../packet/packet-buffer.js'
import * as ethernet from '../wire/ethernet.js'
import * as icmpv4 from '../wire/icmpv4.js'
import * as ipv4 from '../wire/ipv4.js'
import { EtherType, Protocol } from '../wire/protocols.js'
import * as tcp from '../wire/tcp.js'
import * as tuple from '../wire/tuple.js'
import * as udp from '../wire/udp.js'
import type { PacketContext } from './context.js'
import { FRAME_WORDS, FragmentKind, Frame, type FrameTable } from './frame-table.js'
import { hasPorts } from './translate.js'

/** Of a frame that is too short for Ethernet, or whose type field is a length. */
const NO_ETHER_TYPE = 0
/** ICMP type of a packet that is not ICMP. */
export const NO_ICMP_TYPE = -1

/** @param indexes of the frames to read, the first `count` of them */
export function parseFrames(
  burst: Burst,
  indexes: Int32Array,
  count: number,
  packet: PacketBuffer,
  table: FrameTable,
  seed: number,
): void {
  for (let n = 0; n < count; n++) {
    const i = indexes[n] as number
    packet.attach(burst.starts[i] as number, burst.lengths[i] as number)
    parseFrame(packet, table.words, i * FRAME_WORDS, seed)
  }
}

/** The same for a packet that lost its outer headers, or became another, on its way. */
export function reparse(ctx: PacketContext, seed: number): void {
  parseFrame(ctx.packet, ctx.words, ctx.tupleStart, seed)
  ctx.reload()
}

function parseFrame(p: PacketBuffer, words: Int32Array, row: number, seed: number): void {
  words[row + Frame.TCP_FLAGS] = 0
  words[row + Frame.ICMP_TYPE] = NO_ICMP_TYPE
  words[row + Frame.L3_VERDICT] = 0
  words[row + Frame.L4_VERDICT] = 0
  words[row + Frame.FRAGMENT] = FragmentKind.WHOLE
  words[row + Frame.L3_OFFSET] = ethernet.ETHERNET_HEADER_BYTES
  const etherType = ethernet.isValid(p, 0) ? ethernet.type(p, 0) : NO_ETHER_TYPE
  words[row + Frame.ETHER_TYPE] = etherType
  if (etherType === EtherType.IPV4) {
    parseIpv4(p, words, row, seed)
    return
  }
  if (etherType === NO_ETHER_TYPE) words[row + Frame.L3_VERDICT] = DropReason.UNSUPPORTED_L2
  clearTuple(words, row)
}

function parseIpv4(p: PacketBuffer, words: Int32Array, row: number, seed: number): void {
  const l3 = ethernet.ETHERNET_HEADER_BYTES
  if (!ipv4.isValid(p, l3)) {
    words[row + Frame.L3_VERDICT] = DropReason.INVALID
    clearTuple(words, row)
    return
  }
  const protocol = ipv4.protocol(p, l3)
  const l4 = ipv4.payloadOffset(p, l3)
  words[row + Frame.L4_OFFSET] = l4
  const status = tuple.readTuple(p, l3, l4, protocol, words, row)
  const end = l3 + ipv4.totalLength(p, l3)
  if (ipv4.isFragment(p, l3)) parseFragment(p, words, row, protocol, end, status)
  else parseTransport(p, words, row, protocol, end, status)
  words[row + Frame.HASH] = flowHash(words, row, seed)
}

/** What an event tells of a packet without addresses. */
function clearTuple(words: Int32Array, row: number): void {
  for (let i = 0; i < tuple.TUPLE_WORDS; i++) words[row + i] = 0
  words[row + Frame.L4_OFFSET] = 0
  words[row + Frame.HASH] = 0
}

/**
 * The first fragment is read as a packet is; a later one waits for the ports of the first. ICMP in
 * pieces has no place in a flow: what its message is about may be cut in two.
 */
function parseFragment(
  p: PacketBuffer,
  words: Int32Array,
  row: number,
  protocol: number,
  end: number,
  status: tuple.TupleStatus,
): void {
  const isFirst = status !== tuple.TupleStatus.LATER_FRAGMENT
  words[row + Frame.FRAGMENT] = isFirst ? FragmentKind.FIRST : FragmentKind.LATER
  if (protocol === Protocol.ICMPV4) words[row + Frame.L4_VERDICT] = DropReason.INVALID
  else if (isFirst) parseTransport(p, words, row, protocol, end, status)
  else if (hasPorts(protocol)) words[row + Frame.L4_VERDICT] = DropReason.FRAGMENT_NOT_FOUND
  else words[row + Frame.L4_VERDICT] = DropReason.CT_UNKNOWN_L4
}

/** @param end offset behind the datagram; the frame may be longer, padded to Ethernet's minimum */
function parseTransport(
  p: PacketBuffer,
  words: Int32Array,
  row: number,
  protocol: number,
  end: number,
  status: tuple.TupleStatus,
): void {
  const l4 = words[row + Frame.L4_OFFSET] as number
  let isValid = status !== tuple.TupleStatus.TRUNCATED
  if (protocol === Protocol.TCP) {
    isValid = isValid && l4 + tcp.TCP_HEADER_BYTES <= end && tcp.isValid(p, l4)
    if (isValid) words[row + Frame.TCP_FLAGS] = tcp.flags(p, l4)
  } else if (protocol === Protocol.UDP) {
    isValid = isValid && l4 + udp.UDP_HEADER_BYTES <= end && udp.isValid(p, l4)
  } else if (protocol === Protocol.ICMPV4) {
    if (isValid) words[row + Frame.ICMP_TYPE] = icmpv4.type(p, l4)
  } else if (protocol !== Protocol.SCTP) {
    words[row + Frame.L4_VERDICT] = DropReason.CT_UNKNOWN_L4
    return
  }
  if (!isValid) words[row + Frame.L4_VERDICT] = DropReason.CT_INVALID_HEADER
}
