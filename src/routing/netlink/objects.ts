/**
 * What the kernel says of its devices, addresses, routes, neighbours and rules, as plain data. Each
 * function reads the body of one message and answers null when it is cut short or is not about
 * IPv4.
 */
import type { Mac } from '../../wire/address.js'
import { type Attributes, address4, attributesOf, part, text, u32 } from './message.js'
import {
  ADDRESS_SECONDARY,
  AddressAttribute,
  AF_INET,
  LINK_UP,
  LinkAttribute,
  METRIC_MTU,
  NeighbourAttribute,
  ROUTE_CLONED,
  RouteAttribute,
  RULE_INVERTED,
  RULE_TO_TABLE,
  RuleAttribute,
} from './numbers.js'

export interface KernelLink {
  readonly index: number
  readonly name: string
  readonly mtuBytes: number
  readonly isUp: boolean
}

export interface KernelAddress {
  readonly linkIndex: number
  readonly address: number
  readonly prefixLength: number
  readonly scope: number
  readonly isSecondary: boolean
}

export interface KernelHop {
  /** 0 for none. */
  readonly linkIndex: number
  /** 0 for none. */
  readonly gateway: number
  /** From 1. */
  readonly weight: number
  /** RTNH_F_. */
  readonly flags: number
  /** Through another family or an encapsulation: not a way that we can go. */
  readonly isForeign: boolean
}

export interface KernelRoute {
  readonly table: number
  readonly destination: number
  readonly prefixLength: number
  readonly typeOfService: number
  readonly metric: number
  /** RTN_. */
  readonly type: number
  readonly hops: readonly KernelHop[]
  /** 0 for none. */
  readonly preferredSource: number
  /** 0 for that of the device. */
  readonly mtuBytes: number
}

export interface KernelNeighbour {
  readonly linkIndex: number
  readonly address: number
  /** One of NUD_. */
  readonly state: number
  readonly mac: Mac | null
}

export interface KernelRule {
  readonly priority: number
  readonly table: number
  /** Leads every packet to its table. */
  readonly isPlain: boolean
  /** Can hold for no packet that comes in by a device without a mark, as all of ours do. */
  readonly isForeign: boolean
}

const LINK_BODY_BYTES = 16
const ADDRESS_BODY_BYTES = 8
const ROUTE_BODY_BYTES = 12
const NEIGHBOUR_BODY_BYTES = 12
const RULE_BODY_BYTES = 12
const HOP_BYTES = 8
const MAC_BYTES = 6
const NOT_SET = 0xffff_ffff

/** Body and attributes of a message; null when it is cut short. */
function open(body: DataView, bytes: number): Attributes | null {
  return body.byteLength < bytes ? null : attributesOf(body, bytes)
}

/** struct ifinfomsg. Messages about bridges come with their own family and are not for us. */
export function readLink(body: DataView): KernelLink | null {
  const attributes = open(body, LINK_BODY_BYTES)
  if (attributes === null || body.getUint8(0) !== 0) return null
  return {
    index: body.getInt32(4, true),
    name: text(attributes.get(LinkAttribute.NAME)),
    mtuBytes: u32(attributes.get(LinkAttribute.MTU), 0),
    isUp: (body.getUint32(8, true) & LINK_UP) !== 0,
  }
}

/** struct ifaddrmsg. */
export function readAddress(body: DataView): KernelAddress | null {
  const attributes = open(body, ADDRESS_BODY_BYTES)
  if (attributes === null || body.getUint8(0) !== AF_INET) return null
  const flags = u32(attributes.get(AddressAttribute.FLAGS), body.getUint8(2))
  const peer = address4(attributes.get(AddressAttribute.ADDRESS), 0)
  return {
    linkIndex: body.getUint32(4, true),
    address: address4(attributes.get(AddressAttribute.LOCAL), peer),
    prefixLength: Math.min(body.getUint8(1), 32),
    scope: body.getUint8(3),
    isSecondary: (flags & ADDRESS_SECONDARY) !== 0,
  }
}

/** struct rtmsg. */
export function readRoute(body: DataView): KernelRoute | null {
  const attributes = open(body, ROUTE_BODY_BYTES)
  if (attributes === null || body.getUint8(0) !== AF_INET) return null
  if ((body.getUint32(8, true) & ROUTE_CLONED) !== 0 || body.getUint8(1) > 32) return null
  const hops = readHops(attributes, body.getUint32(8, true))
  if (hops === null) return null
  const metrics = attributes.get(RouteAttribute.METRICS)
  const metric = metrics === undefined ? undefined : attributesOf(metrics, 0)?.get(METRIC_MTU)
  return {
    table: u32(attributes.get(RouteAttribute.TABLE), body.getUint8(4)),
    destination: address4(attributes.get(RouteAttribute.DESTINATION), 0),
    prefixLength: body.getUint8(1),
    typeOfService: body.getUint8(3),
    metric: u32(attributes.get(RouteAttribute.METRIC), 0),
    type: body.getUint8(7),
    hops,
    preferredSource: address4(attributes.get(RouteAttribute.PREFERRED_SOURCE), 0),
    mtuBytes: u32(metric, 0),
  }
}

function readHops(attributes: Attributes, flags: number): readonly KernelHop[] | null {
  const multipath = attributes.get(RouteAttribute.MULTIPATH)
  if (multipath !== undefined) return readMultipath(multipath)
  const linkIndex = u32(attributes.get(RouteAttribute.OUT_DEVICE), 0)
  return linkIndex === 0 ? [] : [hopOf(attributes, linkIndex, 1, flags & 0xff)]
}

/** A row of struct rtnexthop, each with attributes of its own. */
function readMultipath(multipath: DataView): readonly KernelHop[] | null {
  const hops: KernelHop[] = []
  let start = 0
  while (start + HOP_BYTES <= multipath.byteLength) {
    const length = multipath.getUint16(start, true)
    if (length < HOP_BYTES || length > multipath.byteLength - start) return null
    const attributes = attributesOf(part(multipath, start, length), HOP_BYTES)
    if (attributes === null) return null
    const linkIndex = multipath.getInt32(start + 4, true)
    const weight = multipath.getUint8(start + 3) + 1
    hops.push(hopOf(attributes, linkIndex, weight, multipath.getUint8(start + 2)))
    start += (length + 3) & ~3
  }
  return hops
}

function hopOf(attributes: Attributes, linkIndex: number, weight: number, flags: number) {
  return {
    linkIndex,
    gateway: address4(attributes.get(RouteAttribute.GATEWAY), 0),
    weight,
    flags,
    isForeign: attributes.has(RouteAttribute.VIA) || attributes.has(RouteAttribute.ENCAPSULATION),
  }
}

/** struct ndmsg. */
export function readNeighbour(body: DataView): KernelNeighbour | null {
  const attributes = open(body, NEIGHBOUR_BODY_BYTES)
  if (attributes === null || body.getUint8(0) !== AF_INET) return null
  const destination = attributes.get(NeighbourAttribute.DESTINATION)
  if (destination?.byteLength !== 4) return null
  return {
    linkIndex: body.getInt32(4, true),
    address: destination.getInt32(0),
    state: body.getUint16(8, true),
    mac: macOf(attributes.get(NeighbourAttribute.MAC)),
  }
}

function macOf(attribute: DataView | undefined): Mac | null {
  if (attribute?.byteLength !== MAC_BYTES) return null
  return { high: attribute.getInt32(0), low: attribute.getUint16(4) }
}

/** Attributes that select no packets. */
const HARMLESS: ReadonlySet<number> = new Set([
  RuleAttribute.PRIORITY,
  RuleAttribute.TABLE,
  RuleAttribute.PROTOCOL,
])
/** Attributes by which a rule is about the node's own sockets only. */
const OF_SOCKETS = [RuleAttribute.OUT_DEVICE, RuleAttribute.USER_RANGE]

/** struct fib_rule_hdr. */
export function readRule(body: DataView): KernelRule | null {
  const attributes = open(body, RULE_BODY_BYTES)
  if (attributes === null || body.getUint8(0) !== AF_INET) return null
  const isInverted = (body.getUint32(8, true) & RULE_INVERTED) !== 0
  const hasPrefix = body.getUint8(1) !== 0 || body.getUint8(2) !== 0 || body.getUint8(3) !== 0
  const selects = [...attributes].some(([type, value]) => selectsPackets(type, value))
  const isToTable = body.getUint8(7) === RULE_TO_TABLE
  const ofSockets = OF_SOCKETS.some((type) => attributes.has(type))
  const isLocal = text(attributes.get(RuleAttribute.IN_DEVICE)) === 'lo'
  const isMarked = u32(attributes.get(RuleAttribute.MARK), 0) !== 0
  return {
    priority: u32(attributes.get(RuleAttribute.PRIORITY), 0),
    table: u32(attributes.get(RuleAttribute.TABLE), body.getUint8(4)),
    isPlain: isToTable && !isInverted && !hasPrefix && !selects,
    isForeign: !isInverted && (ofSockets || isLocal || isMarked),
  }
}

function selectsPackets(type: number, value: DataView): boolean {
  if (HARMLESS.has(type)) return false
  // Always there, and -1 unless they are used.
  const mayBeUnused =
    type === RuleAttribute.SUPPRESS_PREFIX_LENGTH || type === RuleAttribute.SUPPRESS_GROUP
  return !(mayBeUnused && u32(value, NOT_SET) === NOT_SET)
}
