/**
 * Frames between nodes: into VXLAN and out of it (RFC 7348; Cilium: bpf/lib/encap.h). The network
 * identifier is the sender's security identity, the inner Ethernet addresses mean nothing, and
 * congestion marks cross the tunnel as RFC 6040 says. Which node a packet goes to, and how it gets
 * there, is the caller's.
 *
 * Not here: Geneve, an IPv6 underlay, verifying an outer UDP checksum (which is optional).
 */
import { IDENTITY_MAX, Identity } from '../identity/identity.js'
import { DropReason } from '../packet/drop-reason.js'
import type { PacketBuffer } from '../packet/packet-buffer.js'
import * as ethernet from '../wire/ethernet.js'
import * as ipv4 from '../wire/ipv4.js'
import { EtherType } from '../wire/protocols.js'
import * as udp from '../wire/udp.js'
import * as vxlan from '../wire/vxlan.js'

/** RFC 6335: dynamic and private ports are 49152 on; RFC 7348 recommends them, Linux takes these. */
const SOURCE_PORT_FIRST = 0x8000
const SOURCE_PORT_MASK = 0x7fff

/** What stands above the 24 bits in an identity that this node gave to another one. */
const REMOTE_NODE_SCOPE = 2

/** RFC 3168: the two bits of congestion notification in the type of service. */
const CONGESTION_MASK = 3
const CONGESTION_EXPERIENCED = 3

export class VxlanTunnel {
  /** The caller fills in MAC addresses, `source4`, `destination4` and `destinationPort`. */
  readonly envelope = new vxlan.Envelope()

  /**
   * Puts the envelope around an untagged frame with a valid IPv4 packet; false, and nothing
   * changed, when the headroom is too small.
   *
   * @param identity of the sender, which becomes what it is to whoever receives the packet
   * @param hash of the inner flow: one flow keeps one way through the underlay
   */
  encapsulate(p: PacketBuffer, identity: number, hash: number): boolean {
    const envelope = this.envelope
    const inner = ipv4.typeOfService(p, ethernet.ETHERNET_HEADER_BYTES)
    envelope.vni = identityAbroad(identity)
    envelope.sourcePort = SOURCE_PORT_FIRST | ((hash ^ (hash >>> 16)) & SOURCE_PORT_MASK)
    envelope.typeOfService = inner & CONGESTION_MASK
    return vxlan.pushEnvelope(p, envelope)
  }

  /**
   * Takes the envelope off a frame whose UDP header is valid and not of a fragment. Returns the
   * network identifier; or a DropReason, and nothing changed.
   */
  decapsulate(p: PacketBuffer, l3Offset: number, l4Offset: number): number {
    if (!udp.isWhole(p, l4Offset, ipv4.payloadBytes(p, l3Offset))) return DropReason.INVALID
    const header = l4Offset + udp.UDP_HEADER_BYTES
    const inner = header + vxlan.VXLAN_HEADER_BYTES
    const end = l4Offset + udp.length(p, l4Offset)
    if (inner + ethernet.ETHERNET_HEADER_BYTES > end) return DropReason.INVALID
    if (!vxlan.isValid(p, header)) return DropReason.NO_TUNNEL_KEY
    const networkIdentifier = vxlan.vni(p, header)
    const outer = ipv4.typeOfService(p, l3Offset) & CONGESTION_MASK
    if (outer === CONGESTION_EXPERIENCED && !markCongestion(p, inner)) return DropReason.INVALID
    // What lies behind the datagram is Ethernet's padding.
    p.setLength(end)
    p.pullHead(inner)
    return networkIdentifier
  }
}

/**
 * The node itself is a remote node to others. Numbers above 24 bits are of this node alone: those of
 * prefixes outside of the cluster, and those of other nodes (2 << 24 | n).
 */
function identityAbroad(identity: number): number {
  if (identity === Identity.HOST) return Identity.REMOTE_NODE
  if (identity <= IDENTITY_MAX) return identity
  return identity >>> 24 === REMOTE_NODE_SCOPE ? Identity.REMOTE_NODE : Identity.WORLD
}

/**
 * RFC 6040 section 4.2: what a router on the way marked, the receiver has to learn; a sender that
 * knows nothing of marks would have got a loss instead, and gets one here. False for the latter.
 */
function markCongestion(p: PacketBuffer, innerFrame: number): boolean {
  const l3 = innerFrame + ethernet.ETHERNET_HEADER_BYTES
  if (ethernet.type(p, innerFrame) !== EtherType.IPV4 || !ipv4.isValid(p, l3)) return true
  const inner = ipv4.typeOfService(p, l3)
  if ((inner & CONGESTION_MASK) === 0) return false
  ipv4.setTypeOfService(p, l3, inner | CONGESTION_EXPERIENCED)
  return true
}
