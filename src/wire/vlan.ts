/**
 * VLAN tags: 802.1Q (customer) and 802.1ad (service), also stacked (QinQ). A tag is four bytes
 * between the MAC addresses and the EtherType. Not here: the drop-eligible semantics, or the
 * pre-standard types 0x9100 and up.
 *
 * `at` is where a tag's first byte (of its type, 0x8100 or 0x88a8) lies: ethernet header + 12 for
 * the outer one.
 */
import type { PacketBuffer } from '../packet/packet-buffer.js'
import { ETHERNET_HEADER_BYTES } from './ethernet.js'
import { EtherType } from './protocols.js'

export const VLAN_TAG_BYTES = 4
/**
 * Tags that are looked through; behind them a further tag is an EtherType like any other unknown
 * one.
 */
export const VLAN_TAGS_MAX = 2

const TYPE = 0
const CONTROL = 2
const INNER_TYPE = 4
/** Where a tag begins in an Ethernet frame: after the two MAC addresses. */
const FIRST_TAG = 12

const PRIORITY_SHIFT = 13
const DROP_ELIGIBLE = 0x1000
const ID_MASK = 0xfff

/** From `l3Offset`: the frame ends within its tags. */
export const TRUNCATED = -1

export function isTagType(etherType: number): boolean {
  return etherType === EtherType.VLAN || etherType === EtherType.SERVICE_VLAN
}

/** A whole tag, with the type that follows it. */
export function isValid(p: PacketBuffer, at: number): boolean {
  return p.has(at + VLAN_TAG_BYTES + 2) && isTagType(p.u16(at + TYPE))
}

/** EtherType.VLAN or EtherType.SERVICE_VLAN. */
export const type = (p: PacketBuffer, at: number) => p.u16(at + TYPE)
/** 0 to 4095; 0 means priority only, 4095 is reserved (802.1Q table 9-2). */
export const id = (p: PacketBuffer, at: number) => p.u16(at + CONTROL) & ID_MASK
/** 0 to 7. */
export const priority = (p: PacketBuffer, at: number) => p.u16(at + CONTROL) >> PRIORITY_SHIFT
export const isDropEligible = (p: PacketBuffer, at: number) =>
  (p.u16(at + CONTROL) & DROP_ELIGIBLE) !== 0
/** The EtherType behind the tag. */
export const innerType = (p: PacketBuffer, at: number) => p.u16(at + INNER_TYPE)

export function setId(p: PacketBuffer, at: number, vlanId: number): void {
  p.setU16(at + CONTROL, (p.u16(at + CONTROL) & ~ID_MASK) | (vlanId & ID_MASK))
}

export function setPriority(p: PacketBuffer, at: number, value: number): void {
  p.setU16(at + CONTROL, (p.u16(at + CONTROL) & 0x1fff) | ((value & 7) << PRIORITY_SHIFT))
}

/**
 * Where the network header of the Ethernet frame at `frame` begins, behind up to VLAN_TAGS_MAX
 * tags, or TRUNCATED. The EtherType that says what it is lies in the two bytes before it:
 * `typeBefore`.
 */
export function l3Offset(p: PacketBuffer, frame: number): number {
  let at = frame + FIRST_TAG
  for (let tags = 0; tags < VLAN_TAGS_MAX && p.has(at + 2) && isTagType(p.u16(at)); tags++) {
    at += VLAN_TAG_BYTES
  }
  return p.has(at + 2) ? at + 2 : TRUNCATED
}

/** The EtherType of the network header at `l3`, as `l3Offset` returned it. */
export function typeBefore(p: PacketBuffer, l3: number): number {
  return p.u16(l3 - 2)
}

/**
 * Puts a tag in front of all others, by growing into the headroom; false, and nothing changed,
 * without room there.
 */
export function push(p: PacketBuffer, tagType: number, vlanId: number, pcp = 0): boolean {
  if (!p.pushHead(VLAN_TAG_BYTES)) return false
  for (let at = 0; at < FIRST_TAG; at += 4) p.setI32(at, p.i32(at + VLAN_TAG_BYTES))
  p.setU16(FIRST_TAG + TYPE, tagType)
  p.setU16(FIRST_TAG + CONTROL, ((pcp & 7) << PRIORITY_SHIFT) | (vlanId & ID_MASK))
  return true
}

/** Takes the outer tag off; false, and nothing changed, when the frame has none. */
export function pop(p: PacketBuffer): boolean {
  if (!p.has(ETHERNET_HEADER_BYTES + VLAN_TAG_BYTES) || !isValid(p, FIRST_TAG)) return false
  for (let at = FIRST_TAG - 4; at >= 0; at -= 4) p.setI32(at + VLAN_TAG_BYTES, p.i32(at))
  p.pullHead(VLAN_TAG_BYTES)
  return true
}
