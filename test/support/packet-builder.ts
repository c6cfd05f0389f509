/**
 * Builds frames for tests, layer by layer from the outside: `eth().ipv4({ to }).udp({ to: 53
 * }).payload('x').bytes()`. Lengths, checksums and "what follows" fields come out right unless told
 * otherwise, so that a wrong packet shows what is wrong with it. A builder never changes: each call
 * returns a longer one. Independent of src/wire on purpose.
 */
import type {
  ArpOptions,
  ChecksumOptions,
  EthOptions,
  ExtensionOptions,
  Fragment6Options,
  IcmpEchoOptions,
  IcmpErrorOptions,
  Ipv4Options,
  Ipv6Options,
  TcpOptions,
  UdpOptions,
  VlanOptions,
} from './packet-options.js'
import { flagBits, ipv4Bytes, ipv6Bytes, macBytes } from './packet-text.js'

type Bytes = readonly number[]
/**
 * What a layer needs of the one around it: the pseudo header, given protocol and length, and the
 * family.
 */
interface Around {
  readonly isIpv6: boolean
  pseudoHeader(protocol: number, bytes: number): Bytes
}
interface Layer {
  /** EtherType or IP protocol that names this layer in the one before it, by what that is. */
  nameIn(around: Around | undefined): number
  around?: Around
  encode(inner: Bytes, innerName: number, around: Around | undefined): Bytes
}

export const POD_MAC = '02:00:00:00:00:01'
export const GATEWAY_MAC = '02:00:00:00:00:02'

const ARP = 0x0806
const IPV4 = 0x0800
const IPV6 = 0x86dd
const UDP = 17
const TCP = 6
const ICMPV4 = 1
const ICMPV6 = 58
/** IEEE: for local experiments. */
const NO_ETHER_TYPE = 0x88b5
/** IANA: for experiments (RFC 3692), where nothing says what the payload is. */
const NO_PROTOCOL = 253

export class PacketBuilder {
  readonly #layers: readonly Layer[]
  readonly #minimumBytes: number

  constructor(layers: readonly Layer[] = [], minimumBytes = 0) {
    this.#layers = layers
    this.#minimumBytes = minimumBytes
  }

  eth(o: EthOptions = {}): PacketBuilder {
    return this.#with({
      nameIn: () => 0,
      encode: (inner, innerName) => [
        ...macBytes(o.to ?? GATEWAY_MAC),
        ...macBytes(o.from ?? POD_MAC),
        ...be16(o.type ?? innerName),
        ...inner,
      ],
    })
  }

  vlan(id: number, o: VlanOptions = {}): PacketBuilder {
    const control = ((o.priority ?? 0) << 13) | (o.dropEligible === true ? 0x1000 : 0) | id
    return this.#with({
      nameIn: () => o.type ?? 0x8100,
      encode: (inner, innerName) => [...be16(control), ...be16(innerName), ...inner],
    })
  }

  arpRequest(o: ArpOptions = {}): PacketBuilder {
    return this.#arp(1, { targetMac: '00:00:00:00:00:00', ...o })
  }

  arpReply(o: ArpOptions = {}): PacketBuilder {
    return this.#arp(2, o)
  }

  ipv4(o: Ipv4Options = {}): PacketBuilder {
    const from = ipv4Bytes(o.from ?? '10.0.0.1')
    const to = ipv4Bytes(o.to ?? '10.0.0.2')
    return this.#with({
      nameIn: (around) => (around === undefined ? IPV4 : 4),
      around: {
        isIpv6: false,
        pseudoHeader: (protocol, bytes) => [...from, ...to, 0, protocol, ...be16(bytes)],
      },
      encode: (inner, innerName) => encodeIpv4(o, from, to, inner, innerName),
    })
  }

  ipv6(o: Ipv6Options = {}): PacketBuilder {
    const from = ipv6Bytes(o.from ?? 'fd00::1')
    const to = ipv6Bytes(o.to ?? 'fd00::2')
    const first = ((o.version ?? 6) << 28) | ((o.trafficClass ?? 0) << 20) | (o.flowLabel ?? 0)
    return this.#with({
      nameIn: (around) => (around === undefined ? IPV6 : 41),
      around: {
        isIpv6: true,
        pseudoHeader: (protocol, bytes) => [...from, ...to, ...be32(bytes), ...be32(protocol)],
      },
      encode: (inner, innerName) => [
        ...be32(first),
        ...be16(o.payloadLength ?? inner.length),
        o.nextHeader ?? innerName,
        o.hopLimit ?? 64,
        ...from,
        ...to,
        ...inner,
      ],
    })
  }

  /**
   * An IPv6 extension header: 0 hop-by-hop, 43 routing, 60 destination options, 51 authentication.
   */
  extension(protocol: number, o: ExtensionOptions = {}): PacketBuilder {
    const unit = protocol === 51 ? 4 : 8
    const body = padded([0, 0, ...(o.body ?? [0, 0, 0, 0, 0, 0])], unit)
    const length = o.length ?? (protocol === 51 ? body.length / 4 - 2 : body.length / 8 - 1)
    return this.#with({
      nameIn: () => protocol,
      encode: (inner, innerName) => [o.nextHeader ?? innerName, length, ...body.slice(2), ...inner],
    })
  }

  fragment6(o: Fragment6Options = {}): PacketBuilder {
    const field = (o.offset ?? 0) | (o.more === true ? 1 : 0)
    return this.#with({
      nameIn: () => 44,
      encode: (inner, innerName) => [
        ...[o.nextHeader ?? innerName, 0],
        ...[...be16(field), ...be32(o.id ?? 1)],
        ...inner,
      ],
    })
  }

  udp(o: UdpOptions = {}): PacketBuilder {
    return this.#with({
      nameIn: () => UDP,
      encode: (inner, _, around) => {
        const ports = [...be16(o.from ?? 40000), ...be16(o.to ?? 53)]
        const length = o.length ?? 8 + inner.length
        const segment = [...ports, ...be16(length), 0, 0, ...inner]
        return withChecksum(segment, 6, UDP, o, around)
      },
    })
  }

  tcp(o: TcpOptions = {}): PacketBuilder {
    const options = padded(o.options ?? [], 4)
    const words = o.dataOffsetWords ?? 5 + options.length / 4
    return this.#with({
      nameIn: () => TCP,
      encode: (inner, _, around) => {
        const ports = [...be16(o.from ?? 40000), ...be16(o.to ?? 80)]
        const numbers = [...be32(o.seq ?? 1), ...be32(o.ack ?? 0)]
        const control = [words << 4, flagBits(o.flags ?? 'ACK'), ...be16(o.window ?? 65535)]
        const tail = [0, 0, ...be16(o.urgent ?? 0), ...options]
        return withChecksum(
          [...ports, ...numbers, ...control, ...tail, ...inner],
          16,
          TCP,
          o,
          around,
        )
      },
    })
  }

  /** ICMP or ICMPv6, by the IP header before it. */
  icmpEcho(o: IcmpEchoOptions = {}): PacketBuilder {
    const type = (isIpv6: boolean) => {
      if (isIpv6) return o.reply === true ? 129 : 128
      return o.reply === true ? 0 : 8
    }
    return this.#icmp(o, (inner, isIpv6) => {
      const head = [type(isIpv6), o.code ?? 0, 0, 0, ...be16(o.id ?? 1), ...be16(o.seq ?? 1)]
      return [...head, ...inner]
    })
  }

  /** Without a type: port unreachable. */
  icmpError(o: IcmpErrorOptions): PacketBuilder {
    const whole = o.quoted instanceof PacketBuilder ? o.quoted.bytes() : o.quoted
    const quoted = [...whole.subarray(0, o.quotedBytes ?? whole.length)]
    return this.#icmp(o, (inner, isIpv6) => {
      const type = o.type ?? (isIpv6 ? 1 : 3)
      const code = o.code ?? (isIpv6 ? 4 : 3)
      return [type, code, 0, 0, ...be32(o.rest ?? 0), ...quoted, ...inner]
    })
  }

  /** Text, bytes, or so many bytes of a pattern that has no zeros and no repetition within 251. */
  payload(data: string | Uint8Array | number): PacketBuilder {
    let bytes: Bytes
    if (typeof data === 'number') bytes = Array.from({ length: data }, (_, i) => (i % 251) + 1)
    else bytes = typeof data === 'string' ? [...Buffer.from(data)] : [...data]
    return this.#with({
      nameIn: (around) => (around === undefined ? NO_ETHER_TYPE : NO_PROTOCOL),
      encode: (inner) => [...bytes, ...inner],
    })
  }

  /** Zeros at the end up to the length that Ethernet asks for. */
  pad(minimumBytes = 60): PacketBuilder {
    return new PacketBuilder(this.#layers, minimumBytes)
  }

  bytes(): Uint8Array {
    const arounds: (Around | undefined)[] = []
    let around: Around | undefined
    for (const layer of this.#layers) {
      arounds.push(around)
      around = layer.around ?? around
    }
    let inner: Bytes = []
    let name = around === undefined ? NO_ETHER_TYPE : NO_PROTOCOL
    for (let i = this.#layers.length - 1; i >= 0; i--) {
      const layer = this.#layers[i]
      if (layer === undefined) continue
      inner = layer.encode(inner, name, arounds[i])
      name = layer.nameIn(arounds[i])
    }
    const bytes = new Uint8Array(Math.max(inner.length, this.#minimumBytes))
    bytes.set(inner)
    return bytes
  }

  #with(layer: Layer): PacketBuilder {
    return new PacketBuilder([...this.#layers, layer], this.#minimumBytes)
  }

  #arp(operation: number, o: ArpOptions): PacketBuilder {
    const sender = [...macBytes(o.senderMac ?? POD_MAC), ...ipv4Bytes(o.sender ?? '10.0.0.1')]
    const target = [...macBytes(o.targetMac ?? GATEWAY_MAC), ...ipv4Bytes(o.target ?? '10.0.0.2')]
    return this.#with({
      nameIn: () => ARP,
      encode: (inner) => {
        const head = [...be16(1), ...be16(IPV4), 6, 4, ...be16(operation)]
        return [...head, ...sender, ...target, ...inner]
      },
    })
  }

  #icmp(o: ChecksumOptions, message: (inner: Bytes, isIpv6: boolean) => Bytes): PacketBuilder {
    return this.#with({
      nameIn: (around) => (around?.isIpv6 === true ? ICMPV6 : ICMPV4),
      encode: (inner, _, around) => {
        const isIpv6 = around?.isIpv6 === true
        const bytes = message(inner, isIpv6)
        return withChecksum(bytes, 2, ICMPV6, o, isIpv6 ? around : undefined)
      },
    })
  }
}

/** Begins a frame. */
export function eth(options: EthOptions = {}): PacketBuilder {
  return new PacketBuilder().eth(options)
}

/** Begins a packet without Ethernet, as an ICMP error quotes it. */
export function bare(): PacketBuilder {
  return new PacketBuilder()
}

/**
 * Cuts an untagged frame with an IPv4 packet without options into fragments whose IP packets have
 * `mtuBytes` at most.
 */
export function fragmentIpv4(frame: Uint8Array, mtuBytes: number): Uint8Array[] {
  const step = (mtuBytes - 20) & ~7
  const data = frame.subarray(34)
  const fragments: Uint8Array[] = []
  for (let offset = 0; offset < data.length; offset += step) {
    const part = data.subarray(offset, offset + step)
    const header = [...frame.subarray(14, 34)]
    const more = offset + step < data.length ? 0x2000 : 0
    header.splice(2, 2, ...be16(20 + part.length))
    header.splice(6, 2, ...be16(more | (offset / 8)))
    header.splice(10, 2, 0, 0)
    header.splice(10, 2, ...be16(internetChecksum(header)))
    fragments.push(Uint8Array.from([...frame.subarray(0, 14), ...header, ...part]))
  }
  return fragments
}

function encodeIpv4(o: Ipv4Options, from: Bytes, to: Bytes, inner: Bytes, name: number): Bytes {
  const options = padded(o.options ?? [], 4)
  const words = o.headerWords ?? 5 + options.length / 4
  const names = (o.flags ?? '').split(' ')
  const flags = (names.includes('DF') ? 0x4000 : 0) | (names.includes('MF') ? 0x2000 : 0)
  const length = o.totalLength ?? 20 + options.length + inner.length
  const header = [
    ...[((o.version ?? 4) << 4) | words, o.tos ?? 0, ...be16(length)],
    ...[...be16(o.id ?? 0), ...be16(flags | ((o.fragmentOffset ?? 0) / 8))],
    ...[o.ttl ?? 64, o.protocol ?? name, 0, 0],
    ...[...from, ...to, ...options],
  ]
  header.splice(10, 2, ...be16(o.checksum ?? internetChecksum(header)))
  return [...header, ...inner]
}

function withChecksum(
  segment: Bytes,
  at: number,
  protocol: number,
  o: ChecksumOptions,
  around: Around | undefined,
): Bytes {
  const pseudo = around?.pseudoHeader(protocol, segment.length) ?? []
  let checksum = internetChecksum([...pseudo, ...segment])
  // RFC 768: a computed zero is sent as all ones.
  if (protocol === UDP && checksum === 0) checksum = 0xffff
  if (o.partialChecksum === true) checksum = ~internetChecksum(pseudo) & 0xffff
  return [...segment.slice(0, at), ...be16(o.checksum ?? checksum), ...segment.slice(at + 2)]
}

function internetChecksum(bytes: Bytes): number {
  let sum = 0
  for (let i = 0; i < bytes.length; i += 2) {
    sum += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0)
    if (sum > 0xffff) sum -= 0xffff
  }
  return ~sum & 0xffff
}

const be16 = (value: number): number[] => [(value >>> 8) & 255, value & 255]
const be32 = (value: number): number[] => [...be16(value >>> 16), ...be16(value)]

function padded(bytes: Bytes, unit: number): Bytes {
  const missing = (unit - (bytes.length % unit)) % unit
  return [...bytes, ...new Array<number>(missing).fill(0)]
}
