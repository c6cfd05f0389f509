/**
 * Frames of scenarios: from layers to bytes and back. What a description leaves out comes out right
 * (lengths, checksums), as in the packet builder, which it uses; hex is taken as it is.
 */
import { bare, eth, type PacketBuilder } from '../packet-builder.js'
import type { EthOptions, Ipv4Options, TcpOptions, UdpOptions } from '../packet-options.js'
import { type ParsedPacket, parseFrame } from '../packet-parser.js'
import { number16, number32 } from '../packet-text.js'
import { fromHex, toHex } from './hex.js'
import type { Names } from './names.js'
import { sctpBytes } from './sctp.js'
import type { Layers, NumberOrName } from './types.js'

const VXLAN_PORT = 8472
const SCTP = 132
const UDP = 17

type Field = string | number | undefined
/** A layer whose names have become addresses, MACs and numbers. */
export type LiteralLayer = { [field: string]: Field | LiteralFrame }
export interface LiteralFrame {
  eth?: LiteralLayer
  vlans?: LiteralLayer[]
  arp?: LiteralLayer
  ipv4?: LiteralLayer
  tcp?: LiteralLayer
  udp?: LiteralLayer
  sctp?: LiteralLayer
  /** `quoted` is a frame without Ethernet. */
  icmp?: LiteralLayer
  vxlan?: LiteralLayer
  /** Hex. */
  payload?: string
  pad?: number
  cut?: number
}

const LAYERS = ['eth', 'arp', 'ipv4', 'tcp', 'udp', 'sctp', 'icmp', 'vxlan'] as const
const MACS = new Set(['eth.from', 'eth.to', 'arp.senderMac', 'arp.targetMac'])
const ADDRESSES = new Set(['ipv4.from', 'ipv4.to', 'arp.sender', 'arp.target'])
const TEXTS = new Set(['ipv4.flags', 'tcp.flags', 'arp.operation', 'ipv4.options', 'tcp.options'])

/** @param incoming what the word 'in' quotes: the frame that came in */
export function resolveLayers(layers: Layers, names: Names, incoming?: Uint8Array): LiteralFrame {
  const frame: LiteralFrame = {}
  for (const layer of LAYERS) {
    const fields = layers[layer]
    if (fields === undefined || fields === null) continue
    const literal: LiteralLayer = {}
    for (const [field, value] of Object.entries(fields)) {
      if (field === 'quoted' || field === 'frame') {
        literal[field] = resolveInner(value as string | Layers, names, incoming)
      } else literal[field] = resolveField(`${layer}.${field}`, value as NumberOrName, names)
    }
    frame[layer] = literal
  }
  frame.vlans = (layers.vlans ?? []).map((tag) =>
    Object.fromEntries(Object.entries(tag).map(([key, value]) => [key, names.number(value)])),
  )
  const payload = layers.payload
  if (payload !== undefined && payload !== null) frame.payload = payloadHex(payload)
  if (layers.pad !== undefined) frame.pad = names.number(layers.pad)
  if (layers.cut !== undefined) frame.cut = names.number(layers.cut)
  return frame
}

function resolveInner(inner: string | Layers, names: Names, incoming?: Uint8Array): LiteralFrame {
  if (inner === 'in') {
    if (incoming === undefined) throw new Error("'in' is quoted, but nothing came in")
    return { payload: toHex(incoming.subarray(14)) }
  }
  if (typeof inner === 'string') return { payload: inner.replace(/\s/g, '') }
  return resolveLayers(inner, names, incoming)
}

function resolveField(path: string, value: NumberOrName, names: Names): string | number {
  if (MACS.has(path)) return names.mac(String(value))
  if (ADDRESSES.has(path)) return names.address(String(value))
  if (TEXTS.has(path) || value === 'partial') return value
  return names.number(value)
}

function payloadHex(payload: NonNullable<Layers['payload']>): string {
  if (typeof payload === 'string') return toHex(Buffer.from(payload))
  if (payload.hex !== undefined) return payload.hex.replace(/\s/g, '')
  return toHex(Uint8Array.from({ length: payload.bytes ?? 0 }, (_, i) => (i % 251) + 1))
}

export function encodeFrame(frame: LiteralFrame): Uint8Array {
  const withLink = frame.eth === undefined ? bare() : eth(frame.eth as EthOptions)
  const bytes = encodeNetwork(withLink, frame)
    .pad(frame.pad ?? 0)
    .bytes()
  return bytes.subarray(0, frame.cut ?? bytes.length)
}

function encodeNetwork(link: PacketBuilder, frame: LiteralFrame): PacketBuilder {
  let builder = link
  for (const tag of frame.vlans ?? []) builder = builder.vlan(Number(tag.id), tag)
  if (frame.arp !== undefined) {
    const { operation, ...fields } = frame.arp
    builder = operation === 'reply' ? builder.arpReply(fields) : builder.arpRequest(fields)
  }
  const { ipv4 } = frame
  if (ipv4 === undefined) return encodeTransport(builder, frame)
  const protocol = frame.sctp === undefined ? ipv4.protocol : (ipv4.protocol ?? SCTP)
  return encodeTransport(
    builder.ipv4(defined({ ...withOptions(ipv4), protocol }) as Ipv4Options),
    frame,
  )
}

function encodeTransport(builder: PacketBuilder, frame: LiteralFrame): PacketBuilder {
  const payload = fromHex(frame.payload ?? '')
  if (frame.sctp !== undefined) return builder.payload(sctpBytes(frame.sctp, payload))
  if (frame.icmp !== undefined) return encodeIcmp(builder, frame.icmp).payload(payload)
  if (frame.tcp !== undefined) {
    return builder.tcp(withChecksum(withOptions(frame.tcp)) as TcpOptions).payload(payload)
  }
  if (frame.udp === undefined) return builder.payload(payload)
  const datagram = builder.udp(withChecksum(frame.udp) as UdpOptions)
  if (frame.vxlan === undefined) return datagram.payload(payload)
  const { vni, flags, frame: inner } = frame.vxlan
  const network = Number(vni ?? 0)
  const header = [Number(flags ?? 8), 0, 0, 0, network >> 16, network >> 8, network, 0]
  const inside = encodeFrame((inner ?? {}) as LiteralFrame)
  return datagram.payload(Uint8Array.from([...header, ...inside, ...payload]))
}

function encodeIcmp(builder: PacketBuilder, icmp: LiteralLayer): PacketBuilder {
  const { quoted, quotedBytes, id, seq, rest, ...fields } = icmp
  const whole = encodeFrame((quoted ?? {}) as LiteralFrame)
  const bytes = quotedBytes === undefined ? whole.length : Number(quotedBytes)
  const second = rest ?? Number(id ?? 0) * 65_536 + Number(seq ?? 0)
  const head = { type: 8, code: 0, ...fields, rest: Number(second) }
  return builder.icmpError({ ...head, quoted: whole, quotedBytes: bytes })
}

/** Options come as hex and go as numbers. */
function withOptions(layer: object): object {
  const { options, ...fields } = layer as LiteralLayer
  return options === undefined ? fields : { ...fields, options: [...fromHex(String(options))] }
}

function withChecksum(layer: object): object {
  const { checksum, ...fields } = layer as LiteralLayer
  if (checksum === 'partial') return { ...fields, partialChecksum: true }
  return checksum === undefined ? fields : { ...fields, checksum }
}

/** The layers of a frame, as far as they can be told; encoding them again gives it back, if it is well formed. */
export function readFrame(bytes: Uint8Array): LiteralFrame {
  return layersOf(parseFrame(bytes), bytes)
}

function layersOf(packet: ParsedPacket, bytes: Uint8Array): LiteralFrame {
  const frame: LiteralFrame = {}
  if (packet.eth !== undefined) {
    const { from, to, type } = packet.eth
    const isNamed = packet.arp !== undefined || packet.ipv4 !== undefined
    frame.eth = { from, to, ...(isNamed || packet.vlans.length > 0 ? {} : { type }) }
  }
  if (packet.vlans.length > 0) frame.vlans = packet.vlans.map((tag) => ({ ...tag }))
  if (packet.arp !== undefined) {
    const { operation, ...fields } = packet.arp
    frame.arp = { ...fields, operation: operation === 2 ? 'reply' : 'request' }
  }
  if (packet.ipv4 !== undefined) {
    const { options, totalLength, ...fields } = packet.ipv4
    frame.ipv4 = { ...fields, ...(options.length > 0 ? { options: hexOf(options) } : {}) }
    const linkBytes = packet.eth === undefined ? 0 : 14 + 4 * packet.vlans.length
    if (packet.eth !== undefined && linkBytes + totalLength < bytes.length) {
      frame.pad = bytes.length
    }
  }
  return { ...frame, ...transportOf(packet, bytes) }
}

function transportOf(packet: ParsedPacket, bytes: Uint8Array): LiteralFrame {
  const { payload } = packet
  if (packet.tcp !== undefined) {
    const { options, checksum, ...fields } = packet.tcp
    const isPart = packet.ipv4 !== undefined && isFragment(packet.ipv4)
    const tcp = {
      ...fields,
      ...(isPart ? { checksum } : {}),
      ...(options.length > 0 ? { options: hexOf(options) } : {}),
    }
    return { tcp, ...payloadOf(payload) }
  }
  if (packet.udp !== undefined) {
    const { from, to, checksum } = packet.udp
    // Of a fragment both are about the whole datagram.
    const isPart = packet.ipv4 !== undefined && isFragment(packet.ipv4)
    const whole = isPart ? { length: packet.udp.length, checksum } : {}
    const udp = { from, to, ...(checksum === 0 ? { checksum } : {}), ...whole }
    if (to !== VXLAN_PORT || payload.length < 22) return { udp, ...payloadOf(payload) }
    const vni = number32(payload, 4) >>> 8
    const inner = readFrame(payload.subarray(8))
    return { udp, vxlan: { vni, flags: payload[0], frame: inner } }
  }
  if (packet.icmp !== undefined) {
    const { checksum, ...fields } = packet.icmp
    if (packet.quoted === undefined) {
      // Neither echo nor error: the second word is there all the same.
      const at = payload.byteOffset - bytes.byteOffset - 4
      const rest = fields.id === undefined ? { rest: number32(bytes, at) } : {}
      return { icmp: { ...fields, ...rest }, ...payloadOf(payload) }
    }
    return { icmp: { ...fields, quoted: { payload: toHex(payload) } } }
  }
  if (packet.ipv4?.protocol === SCTP && packet.ipv4.fragmentOffset === 0 && payload.length >= 12) {
    const from = number16(payload, 0)
    const sctp = { from, to: number16(payload, 2), tag: number32(payload, 4) }
    return { sctp, ...payloadOf(payload.subarray(12)) }
  }
  return payloadOf(payload)
}

const isFragment = (ipv4: NonNullable<ParsedPacket['ipv4']>): boolean =>
  ipv4.fragmentOffset > 0 || ipv4.flags.includes('MF')

const payloadOf = (payload: Uint8Array): LiteralFrame =>
  payload.length === 0 ? {} : { payload: toHex(payload) }

const hexOf = (bytes: readonly number[]): string => toHex(Uint8Array.from(bytes))

function defined<T extends object>(fields: T): T {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined)
  return Object.fromEntries(entries) as T
}

/** Is the frame's protocol one that the description of layers names? Used by fields that are free. */
export const isDescribable = (bytes: Uint8Array): boolean =>
  Buffer.compare(encodeFrame(readFrame(bytes)), bytes) === 0

export const PROTOCOL_NUMBERS = { TCP: 6, UDP, SCTP, ICMP: 1, ANY: 0 } as const
