/**
 * What the control plane asks the kernel to change (rtnetlink(7)): a veth pair, a device that comes
 * up, an address, a route by a device. IPv4 only; each asks for an acknowledgement.
 */
import { attributeBytes, buildMessage } from './message.js'
import {
  AddressAttribute,
  AF_INET,
  LINK_UP,
  LinkAttribute,
  LinkInfo,
  METRIC_MTU,
  MessageFlag,
  MessageType,
  RouteAttribute,
  RouteType,
  SCOPE_LINK,
  SCOPE_UNIVERSE,
  Table,
  VETH_PEER,
} from './numbers.js'

const { ACKNOWLEDGE, CREATE, EXCLUSIVE } = MessageFlag
const NEW = ACKNOWLEDGE | CREATE | EXCLUSIVE

const LINK_BODY_BYTES = 16
const ADDRESS_BODY_BYTES = 8
const ROUTE_BODY_BYTES = 12
const ADDRESS_BITS = 32

/** A route to a prefix by a device, without a gateway, in the main table. */
export interface DeviceRoute {
  /** int32. */
  readonly destination: number
  readonly prefixLength: number
  readonly linkIndex: number
  /** Source of what the node itself sends; 0: the kernel chooses. */
  readonly source: number
  /** 0: that of the device. */
  readonly mtuBytes: number
}

export function newVethPair(name: string, peerName: string, sequence: number): Uint8Array {
  const peer = attributeBytes([[LinkAttribute.NAME, textBytes(peerName)]])
  const peerBytes = new Uint8Array(LINK_BODY_BYTES + peer.length)
  peerBytes.set(peer, LINK_BODY_BYTES)
  const data = attributeBytes([[VETH_PEER, peerBytes]])
  const info = attributeBytes([
    [LinkInfo.KIND, textBytes('veth')],
    [LinkInfo.DATA, data],
  ])
  return buildMessage(MessageType.NEW_LINK, NEW, sequence, linkBody(0, 0), [
    [LinkAttribute.NAME, textBytes(name)],
    [LinkAttribute.INFO, info],
  ])
}

export const deleteLink = (linkIndex: number, sequence: number): Uint8Array =>
  buildMessage(MessageType.DELETE_LINK, ACKNOWLEDGE, sequence, linkBody(linkIndex, 0))

export const setLinkUp = (linkIndex: number, sequence: number): Uint8Array =>
  buildMessage(MessageType.NEW_LINK, ACKNOWLEDGE, sequence, linkBody(linkIndex, LINK_UP))

export const newAddress = (linkIndex: number, address: number, sequence: number): Uint8Array =>
  addressMessage(MessageType.NEW_ADDRESS, NEW, linkIndex, address, sequence)

export const deleteAddress = (linkIndex: number, address: number, sequence: number): Uint8Array =>
  addressMessage(MessageType.DELETE_ADDRESS, ACKNOWLEDGE, linkIndex, address, sequence)

/** @param protocol who made it, RTPROT_ */
export function newRoute(route: DeviceRoute, protocol: number, sequence: number): Uint8Array {
  const attributes: [number, Uint8Array][] = routeAttributes(route)
  if (route.source !== 0) {
    attributes.push([RouteAttribute.PREFERRED_SOURCE, addressBytes(route.source)])
  }
  if (route.mtuBytes !== 0) {
    const metrics = attributeBytes([[METRIC_MTU, numberBytes(route.mtuBytes)]])
    attributes.push([RouteAttribute.METRICS, metrics])
  }
  const body = routeBody(route.prefixLength, protocol, SCOPE_LINK)
  return buildMessage(MessageType.NEW_ROUTE, NEW, sequence, body, attributes)
}

/** Of those like it, the one of this protocol alone. */
export function deleteRoute(route: DeviceRoute, protocol: number, sequence: number): Uint8Array {
  const body = routeBody(route.prefixLength, protocol, SCOPE_LINK)
  const type = MessageType.DELETE_ROUTE
  return buildMessage(type, ACKNOWLEDGE, sequence, body, routeAttributes(route))
}

/** Which way a packet of the node's to an address would go; the answer is a NEW_ROUTE message. */
export function routeTo(destination: number, sequence: number): Uint8Array {
  const body = routeBody(ADDRESS_BITS, 0, SCOPE_UNIVERSE)
  const attributes = [[RouteAttribute.DESTINATION, addressBytes(destination)]] as const
  return buildMessage(MessageType.GET_ROUTE, 0, sequence, body, attributes)
}

function routeAttributes(route: DeviceRoute): [number, Uint8Array][] {
  return [
    [RouteAttribute.DESTINATION, addressBytes(route.destination)],
    [RouteAttribute.OUT_DEVICE, numberBytes(route.linkIndex)],
  ]
}

/** struct rtmsg. */
function routeBody(prefixLength: number, protocol: number, scope: number): Uint8Array {
  const body = new Uint8Array(ROUTE_BODY_BYTES)
  body[0] = AF_INET
  body[1] = prefixLength
  body[4] = Table.MAIN
  body[5] = protocol
  body[6] = scope
  body[7] = RouteType.UNICAST
  return body
}

/** struct ifaddrmsg; the whole address is its prefix. */
function addressMessage(
  type: number,
  flags: number,
  linkIndex: number,
  address: number,
  sequence: number,
): Uint8Array {
  const body = new Uint8Array(ADDRESS_BODY_BYTES)
  body[0] = AF_INET
  body[1] = ADDRESS_BITS
  new DataView(body.buffer).setUint32(4, linkIndex, true)
  const bytes = addressBytes(address)
  return buildMessage(type, flags, sequence, body, [
    [AddressAttribute.LOCAL, bytes],
    [AddressAttribute.ADDRESS, bytes],
  ])
}

/** struct ifinfomsg. */
function linkBody(linkIndex: number, flags: number): Uint8Array {
  const body = new Uint8Array(LINK_BODY_BYTES)
  const view = new DataView(body.buffer)
  view.setUint32(4, linkIndex, true)
  view.setUint32(8, flags, true)
  view.setUint32(12, flags, true)
  return body
}

function addressBytes(address: number): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setInt32(0, address)
  return bytes
}

function numberBytes(value: number): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value, true)
  return bytes
}

const textBytes = (text: string): Uint8Array => Buffer.from(`${text}\0`, 'latin1')
