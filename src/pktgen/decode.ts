/** A frame in one line, for people, in the manner of tcpdump; only what generators send is known. */
import type { PacketBuffer } from '../packet/packet-buffer.js'
import { formatIpv4, formatMac } from '../wire/address.js'
import * as ethernet from '../wire/ethernet.js'
import * as ipv4 from '../wire/ipv4.js'
import { EtherType, Protocol } from '../wire/protocols.js'
import * as tcp from '../wire/tcp.js'
import * as udp from '../wire/udp.js'
import * as vlan from '../wire/vlan.js'
import { TagReader } from './tag.js'

const tag = new TagReader(0)

export function decodeFrame(p: PacketBuffer): string {
  const from = formatMac(ethernet.sourceHigh(p, 0), ethernet.sourceLow(p, 0))
  const to = formatMac(ethernet.destinationHigh(p, 0), ethernet.destinationLow(p, 0))
  const isTagged = ethernet.type(p, 0) === EtherType.VLAN
  const l3 = ethernet.ETHERNET_HEADER_BYTES + (isTagged ? vlan.VLAN_TAG_BYTES : 0)
  const tagText = isTagged ? ` vlan ${vlan.id(p, ethernet.ETHERNET_HEADER_BYTES - 2)}` : ''
  const head = `${p.length} bytes ${from} > ${to}${tagText}`
  if (p.u16(l3 - 2) !== EtherType.IPV4 || !ipv4.isValid(p, l3)) return `${head} not IPv4`
  const number = tag.read(p) ? ` #${tag.sequence >>> 0}` : ''
  return `${head} ${l4Text(p, l3)}${number}`
}

function l4Text(p: PacketBuffer, l3: number): string {
  const l4 = ipv4.payloadOffset(p, l3)
  const bytes = ipv4.payloadBytes(p, l3)
  // Both protocols begin with the ports.
  const source = `${formatIpv4(ipv4.source(p, l3))}:${udp.sourcePort(p, l4)}`
  const ends = `${source} > ${formatIpv4(ipv4.destination(p, l3))}:${udp.destinationPort(p, l4)}`
  if (ipv4.protocol(p, l3) !== Protocol.TCP) {
    return `${ends} UDP ${bytes - udp.UDP_HEADER_BYTES} bytes of data`
  }
  const flags = Object.entries(tcp.Flag)
    .filter(([, bit]) => (tcp.flags(p, l4) & bit) !== 0)
    .map(([name]) => name)
  const data = bytes - tcp.headerBytes(p, l4)
  return `${ends} TCP ${flags.join(',')} seq ${tcp.sequence(p, l4) >>> 0}, ${data} bytes of data`
}
