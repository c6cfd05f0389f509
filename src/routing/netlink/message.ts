/**
 * Netlink messages and their attributes as bytes (netlink(7), include/uapi/linux/netlink.h):
 * reading those of the kernel, writing requests. Headers are in the machine's byte order, which is
 * little-endian on every machine that the add-on runs on; addresses are in network order.
 *
 * Whatever is cut short or has an impossible length ends the walk; nothing throws.
 */
import { MessageFlag } from './numbers.js'

const HEADER_BYTES = 16
const LENGTH = 0
const TYPE = 4
const FLAGS = 6
const SEQUENCE = 8

const ATTRIBUTE_HEADER_BYTES = 4
const ATTRIBUTE_TYPE = 2
/** Without NLA_F_NESTED and NLA_F_NET_BYTEORDER. */
const ATTRIBUTE_TYPE_MASK = 0x3fff

const HOST_ORDER = true

export interface Message {
  readonly type: number
  readonly flags: number
  readonly sequence: number
  /** What follows the header. */
  readonly body: DataView
}

/** By type; of two of the same type the last one. */
export type Attributes = ReadonlyMap<number, DataView>

const aligned = (bytes: number): number => (bytes + 3) & ~3

/** The messages of a datagram. Their bodies are views of it. */
export function* messagesIn(datagram: Uint8Array): Generator<Message> {
  const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.byteLength)
  let start = 0
  while (start + HEADER_BYTES <= view.byteLength) {
    const length = view.getUint32(start + LENGTH, HOST_ORDER)
    if (length < HEADER_BYTES || length > view.byteLength - start) return
    yield {
      type: view.getUint16(start + TYPE, HOST_ORDER),
      flags: view.getUint16(start + FLAGS, HOST_ORDER),
      sequence: view.getUint32(start + SEQUENCE, HOST_ORDER),
      body: part(view, start + HEADER_BYTES, length - HEADER_BYTES),
    }
    start += aligned(length)
  }
}

/** The attributes from `offset` on; null when one of them has an impossible length. */
export function attributesOf(view: DataView, offset: number): Attributes | null {
  const attributes = new Map<number, DataView>()
  let start = offset
  while (start + ATTRIBUTE_HEADER_BYTES <= view.byteLength) {
    const length = view.getUint16(start, HOST_ORDER)
    if (length < ATTRIBUTE_HEADER_BYTES || length > view.byteLength - start) return null
    const type = view.getUint16(start + ATTRIBUTE_TYPE, HOST_ORDER) & ATTRIBUTE_TYPE_MASK
    const bytes = length - ATTRIBUTE_HEADER_BYTES
    attributes.set(type, part(view, start + ATTRIBUTE_HEADER_BYTES, bytes))
    start += aligned(length)
  }
  return attributes
}

/** A number of the machine's order; `missing` when it is not there or shorter than it must be. */
export function u32(attribute: DataView | undefined, missing: number): number {
  return attribute === undefined || attribute.byteLength < 4
    ? missing
    : attribute.getUint32(0, HOST_ORDER)
}

/** An IPv4 address as int32; `missing` when there is none. */
export function address4(attribute: DataView | undefined, missing: number): number {
  return attribute?.byteLength === 4 ? attribute.getInt32(0) : missing
}

/** Text that ends with a zero. */
export function text(attribute: DataView | undefined): string {
  if (attribute === undefined) return ''
  const bytes = new Uint8Array(attribute.buffer, attribute.byteOffset, attribute.byteLength)
  const end = bytes.indexOf(0)
  return Buffer.from(bytes.subarray(0, end === -1 ? bytes.length : end)).toString('latin1')
}

export function part(view: DataView, offset: number, bytes: number): DataView {
  return new DataView(view.buffer, view.byteOffset + offset, bytes)
}

export type AttributeList = readonly (readonly [type: number, value: Uint8Array])[]

/** Attributes one behind the other: what follows a body, or the value of one that holds others. */
export function attributeBytes(attributes: AttributeList): Uint8Array {
  const sizes = attributes.map(([, value]) => aligned(ATTRIBUTE_HEADER_BYTES + value.length))
  const bytes = new Uint8Array(sizes.reduce((sum, size) => sum + size, 0))
  const view = new DataView(bytes.buffer)
  let start = 0
  for (const [index, [type, value]] of attributes.entries()) {
    view.setUint16(start, ATTRIBUTE_HEADER_BYTES + value.length, HOST_ORDER)
    view.setUint16(start + ATTRIBUTE_TYPE, type, HOST_ORDER)
    bytes.set(value, start + ATTRIBUTE_HEADER_BYTES)
    start += sizes[index] ?? 0
  }
  return bytes
}

/** One message: the header, then `body`, then attributes. */
export function buildMessage(
  type: number,
  flags: number,
  sequence: number,
  body: Uint8Array,
  attributes: AttributeList = [],
): Uint8Array {
  const rest = attributeBytes(attributes)
  const start = HEADER_BYTES + aligned(body.length)
  const bytes = new Uint8Array(start + rest.length)
  const view = new DataView(bytes.buffer)
  view.setUint32(LENGTH, bytes.length, HOST_ORDER)
  view.setUint16(TYPE, type, HOST_ORDER)
  view.setUint16(FLAGS, flags | MessageFlag.REQUEST, HOST_ORDER)
  view.setUint32(SEQUENCE, sequence, HOST_ORDER)
  bytes.set(body, HEADER_BYTES)
  bytes.set(rest, start)
  return bytes
}
