/**
 * Reads a frame into a plain description and lists everything that is wrong with it: lengths,
 * checksums, padding. Judges the output of the datapath, so it shares no code with src/wire or with
 * the packet builder. Slow and strict on purpose.
 */
import { flagsText, hex, ipv4Text, ipv6Text, macText, number16, number32 } from './packet-text.js'

export interface ParsedPacket {
  eth?: { from: string; to: string; type: number }
  /** Outermost first. */
  vlans: { id: number; priority: number; type: number }[]
  arp?: {
    operation: number
    senderMac: string
    sender: string
    targetMac: string
    target: string
  }
  ipv4?: {
    from: string
    to: string
    ttl: number
    id: number
    tos: number
    flags: string
    fragmentOffset: number
    protocol: number
    totalLength: number
    options: number[]
  }
  ipv6?: {
    from: string
    to: string
    hopLimit: number
    trafficClass: number
    flowLabel: number
    payloadLength: number
    /** Protocol numbers of the extension headers, in order. */
    extensions: number[]
    protocol: number
    fragmentOffset: number
    moreFragments: boolean
  }
  tcp?: {
    from: number
    to: number
    seq: number
    ack: number
    flags: string
    window: number
    urgent: number
    options: number[]
    checksum: number
  }
  udp?: { from: number; to: number; length: number; checksum: number }
  /** ICMP or ICMPv6; id and seq of an echo, rest (the second word) of an error. */
  icmp?: { type: number; code: number; id?: number; seq?: number; rest?: number; checksum: number }
  /** What an ICMP error quotes, as far as it goes. */
  quoted?: ParsedPacket
  payload: Uint8Array
  /** Empty for a packet that a receiver would take. */
  problems: string[]
}

/** How upper layers are judged: what IP says of them. */
interface Upper {
  readonly pseudo: (protocol: number, bytes: number) => number[]
  readonly isIpv6: boolean
  /**
   * A part of the upper layer is elsewhere (fragment) or was cut (quote): its checksum cannot be
   * judged.
   */
  readonly isPart: boolean
}

const ETHERNET_MINIMUM = 60
const EXTENSIONS = [0, 43, 44, 51, 60]

/** Of an Ethernet frame without its check sequence. */
export function parseFrame(bytes: Uint8Array): ParsedPacket {
  const packet = empty()
  if (bytes.length < 14) return wrong(packet, `frame of ${bytes.length} bytes, less than a header`)
  let type = number16(bytes, 12)
  const to = macText(bytes.subarray(0, 6))
  packet.eth = { from: macText(bytes.subarray(6, 12)), to, type }
  let at = 14
  while (type === 0x8100 || type === 0x88a8) {
    if (bytes.length < at + 4) return wrong(packet, 'frame ends within a VLAN tag')
    const control = number16(bytes, at)
    packet.vlans.push({ id: control & 0xfff, priority: control >> 13, type })
    type = number16(bytes, at + 2)
    at += 4
  }
  packet.eth.type = type
  const rest = bytes.subarray(at)
  const used = parseNetwork(packet, type, rest, false)
  judgePadding(packet, rest.subarray(used), bytes.length - 4 * packet.vlans.length)
  return packet
}

/** Of a packet from its IP header on; `isCut` when bytes at its end may be missing. */
export function parseIp(bytes: Uint8Array, isCut = false): ParsedPacket {
  const packet = empty()
  const type = (bytes[0] ?? 0) >> 4 === 6 ? 0x86dd : 0x0800
  const used = parseNetwork(packet, type, bytes, isCut)
  if (used < bytes.length) packet.problems.push(`${bytes.length - used} bytes behind the packet`)
  return packet
}

function empty(): ParsedPacket {
  return { vlans: [], payload: new Uint8Array(0), problems: [] }
}

function wrong(packet: ParsedPacket, problem: string): ParsedPacket {
  packet.problems.push(problem)
  return packet
}

/**
 * Padding is there to reach the minimum, and is zero (IEEE 802.3 does not say so; a leak of memory
 * would show here).
 */
function judgePadding(packet: ParsedPacket, padding: Uint8Array, frameBytes: number): void {
  if (padding.length === 0) return
  if (frameBytes > ETHERNET_MINIMUM)
    packet.problems.push(`${padding.length} bytes behind the packet`)
  if (padding.some((byte) => byte !== 0)) packet.problems.push('padding that is not zero')
}

/** Returns how many bytes belong to the packet. */
function parseNetwork(
  packet: ParsedPacket,
  type: number,
  bytes: Uint8Array,
  isCut: boolean,
): number {
  if (type === 0x0800) return parseIpv4(packet, bytes, isCut)
  if (type === 0x86dd) return parseIpv6(packet, bytes, isCut)
  if (type === 0x0806) return parseArp(packet, bytes)
  packet.payload = bytes
  return bytes.length
}

function parseArp(packet: ParsedPacket, bytes: Uint8Array): number {
  if (bytes.length < 28) {
    packet.problems.push(`arp of ${bytes.length} bytes, must be 28`)
    return bytes.length
  }
  const head = [1, 0x0800, 0x0604]
  head.forEach((expected, i) => {
    const found = number16(bytes, 2 * i)
    if (found !== expected) packet.problems.push(`arp word ${i} is ${hex(found)}`)
  })
  packet.arp = {
    operation: number16(bytes, 6),
    senderMac: macText(bytes.subarray(8, 14)),
    sender: ipv4Text(bytes.subarray(14, 18)),
    targetMac: macText(bytes.subarray(18, 24)),
    target: ipv4Text(bytes.subarray(24, 28)),
  }
  return 28
}

function parseIpv4(packet: ParsedPacket, bytes: Uint8Array, isCut: boolean): number {
  const { problems } = packet
  const headerBytes = ((bytes[0] ?? 0) & 15) * 4
  const totalLength = number16(bytes, 2)
  if ((bytes[0] ?? 0) >> 4 !== 4) problems.push('ipv4 version is not 4')
  if (headerBytes < 20) problems.push(`ipv4 header length ${headerBytes} is less than 20`)
  if (bytes.length < Math.max(20, headerBytes)) problems.push('ipv4 header is cut')
  if (totalLength < headerBytes) problems.push(`ipv4 total length ${totalLength} is in the header`)
  if (problems.length > 0) return bytes.length
  if (totalLength > bytes.length && !isCut) {
    problems.push(`ipv4 total length ${totalLength} exceeds the ${bytes.length} bytes there`)
  }
  const header = [...bytes.subarray(0, headerBytes)]
  judgeChecksum(packet, 'ipv4', header, 10)
  const fragment = number16(bytes, 6)
  if ((fragment & 0x8000) !== 0) problems.push('ipv4 reserved flag is set')
  if (bytes[8] === 0) problems.push('ipv4 ttl is 0')
  const names = [(fragment & 0x4000) !== 0 ? 'DF' : '', (fragment & 0x2000) !== 0 ? 'MF' : '']
  const protocol = bytes[9] ?? 0
  packet.ipv4 = {
    from: ipv4Text(bytes.subarray(12, 16)),
    to: ipv4Text(bytes.subarray(16, 20)),
    ttl: bytes[8] ?? 0,
    id: number16(bytes, 4),
    tos: bytes[1] ?? 0,
    flags: names.join(' ').trim(),
    fragmentOffset: (fragment & 0x1fff) * 8,
    protocol,
    totalLength,
    options: header.slice(20),
  }
  parseUpper(packet, protocol, bytes.subarray(headerBytes, totalLength), {
    pseudo: (upper, length) => [...header.slice(12, 20), 0, upper, length >> 8, length & 255],
    isIpv6: false,
    isPart: (fragment & 0x3fff) !== 0 || totalLength > bytes.length,
  })
  return Math.min(totalLength, bytes.length)
}

function parseIpv6(packet: ParsedPacket, bytes: Uint8Array, isCut: boolean): number {
  const { problems } = packet
  if ((bytes[0] ?? 0) >> 4 !== 6) problems.push('ipv6 version is not 6')
  if (bytes.length < 40) problems.push('ipv6 header is cut')
  if (problems.length > 0) return bytes.length
  const payloadLength = number16(bytes, 4)
  const end = 40 + payloadLength
  if (end > bytes.length && !isCut) {
    problems.push(`ipv6 payload length ${payloadLength} exceeds the ${bytes.length - 40} bytes`)
  }
  if (bytes[7] === 0) problems.push('ipv6 hop limit is 0')
  const first = number32(bytes, 0)
  const found = {
    from: ipv6Text(bytes.subarray(8, 24)),
    to: ipv6Text(bytes.subarray(24, 40)),
    hopLimit: bytes[7] ?? 0,
    trafficClass: (first >>> 20) & 255,
    flowLabel: first & 0xfffff,
    payloadLength,
    extensions: [] as number[],
    protocol: bytes[6] ?? 0,
    fragmentOffset: 0,
    moreFragments: false,
  }
  packet.ipv6 = found
  let at = 40
  while (EXTENSIONS.includes(found.protocol) && found.fragmentOffset === 0) {
    const kind = found.protocol
    found.extensions.push(kind)
    const length = kind === 44 ? 8 : extensionBytes(kind, bytes[at + 1] ?? 0)
    if (at + length > Math.min(end, bytes.length)) {
      problems.push('ipv6 extension header is cut')
      return bytes.length
    }
    if (kind === 44) {
      found.fragmentOffset = number16(bytes, at + 2) & 0xfff8
      found.moreFragments = ((bytes[at + 3] ?? 0) & 1) === 1
    }
    found.protocol = bytes[at] ?? 0
    at += length
  }
  parseUpper(packet, found.protocol, bytes.subarray(at, end), {
    pseudo: (upper, length) => [...bytes.subarray(8, 40), length >> 8, length & 255, 0, upper],
    isIpv6: true,
    isPart: found.moreFragments || found.fragmentOffset > 0 || end > bytes.length,
  })
  return Math.min(end, bytes.length)
}

function extensionBytes(kind: number, field: number): number {
  return kind === 51 ? (field + 2) * 4 : (field + 1) * 8
}

function parseUpper(packet: ParsedPacket, protocol: number, bytes: Uint8Array, upper: Upper): void {
  packet.payload = bytes
  const offset = packet.ipv4?.fragmentOffset ?? packet.ipv6?.fragmentOffset ?? 0
  if (offset > 0) return
  if (protocol === 6) parseTcp(packet, bytes, upper)
  else if (protocol === 17) parseUdp(packet, bytes, upper)
  else if (protocol === (upper.isIpv6 ? 58 : 1)) parseIcmp(packet, bytes, upper)
}

function parseTcp(packet: ParsedPacket, bytes: Uint8Array, upper: Upper): void {
  const headerBytes = ((bytes[12] ?? 0) >> 4) * 4
  if (bytes.length < 20 || bytes.length < headerBytes) {
    if (!upper.isPart) packet.problems.push('tcp header is cut')
    return
  }
  if (headerBytes < 20) packet.problems.push(`tcp data offset ${headerBytes} is less than 20`)
  if (!upper.isPart) {
    judgeChecksum(packet, 'tcp', [...upper.pseudo(6, bytes.length), ...bytes], 16, bytes.length)
  }
  packet.tcp = {
    from: number16(bytes, 0),
    to: number16(bytes, 2),
    seq: number32(bytes, 4),
    ack: number32(bytes, 8),
    flags: flagsText(bytes[13] ?? 0),
    window: number16(bytes, 14),
    urgent: number16(bytes, 18),
    options: [...bytes.subarray(20, headerBytes)],
    checksum: number16(bytes, 16),
  }
  packet.payload = bytes.subarray(headerBytes)
}

function parseUdp(packet: ParsedPacket, bytes: Uint8Array, upper: Upper): void {
  if (bytes.length < 8) {
    if (!upper.isPart) packet.problems.push('udp header is cut')
    return
  }
  const length = number16(bytes, 4)
  const checksum = number16(bytes, 6)
  packet.udp = { from: number16(bytes, 0), to: number16(bytes, 2), length, checksum }
  packet.payload = bytes.subarray(8)
  if (upper.isPart) return
  if (length !== bytes.length) {
    packet.problems.push(`udp length ${length} is not the ${bytes.length} bytes there`)
  }
  if (checksum !== 0) {
    judgeChecksum(packet, 'udp', [...upper.pseudo(17, bytes.length), ...bytes], 6, bytes.length)
  } else if (upper.isIpv6) {
    packet.problems.push('udp without checksum over ipv6')
  }
}

function parseIcmp(packet: ParsedPacket, bytes: Uint8Array, upper: Upper): void {
  if (bytes.length < 8) {
    if (!upper.isPart) packet.problems.push('icmp header is cut')
    return
  }
  if (!upper.isPart) {
    const pseudo = upper.isIpv6 ? upper.pseudo(58, bytes.length) : []
    judgeChecksum(packet, 'icmp', [...pseudo, ...bytes], 2, bytes.length)
  }
  const type = bytes[0] ?? 0
  const icmp = { type, code: bytes[1] ?? 0, checksum: number16(bytes, 2) }
  const echoTypes = upper.isIpv6 ? [128, 129] : [0, 8]
  const errorTypes = upper.isIpv6 ? [1, 2, 3, 4] : [3, 4, 5, 11, 12]
  packet.payload = bytes.subarray(8)
  packet.icmp = icmp
  if (echoTypes.includes(type)) {
    packet.icmp = { ...icmp, id: number16(bytes, 4), seq: number16(bytes, 6) }
  } else if (errorTypes.includes(type)) {
    packet.icmp = { ...icmp, rest: number32(bytes, 4) }
    packet.quoted = parseIp(bytes.subarray(8), true)
    for (const problem of packet.quoted.problems) packet.problems.push(`quoted: ${problem}`)
  }
}

/**
 * Sums byte by byte modulo 65535, another way than that of the code under test. `field` counts from
 * the covered part.
 */
function judgeChecksum(
  packet: ParsedPacket,
  name: string,
  covered: readonly number[],
  field: number,
  ownBytes = covered.length,
): void {
  const at = covered.length - ownBytes + field
  let rest = 0
  covered.forEach((byte, i) => {
    if (i !== at && i !== at + 1) rest += i % 2 === 0 ? byte * 256 : byte
  })
  const found = (covered[at] ?? 0) * 256 + (covered[at + 1] ?? 0)
  // The one value a sender computes: of the two zeros of ones' complement, 0xffff in UDP and for
  // all-zero data only.
  let right = rest === 0 ? 65535 : 65534 - ((rest - 1) % 65535)
  if (name === 'udp' && right === 0) right = 65535
  if (found === right) return
  packet.problems.push(`${name} checksum ${hex(found)} should be ${hex(right)}`)
}
