/** What we ask of the kernel: a dump of a table, and the resolution of a neighbour. */
import { buildMessage } from './message.js'
import { AF_INET, MessageFlag, MessageType, NEIGHBOUR_USE, NeighbourAttribute } from './numbers.js'

/** Bytes of the body that the kernel expects: ifinfomsg, ifaddrmsg, rtmsg, ndmsg, fib_rule_hdr. */
const BODY_BYTES: ReadonlyMap<number, number> = new Map([
  [MessageType.GET_LINK, 16],
  [MessageType.GET_ADDRESS, 8],
  [MessageType.GET_ROUTE, 12],
  [MessageType.GET_NEIGHBOUR, 12],
  [MessageType.GET_RULE, 12],
])
const NEIGHBOUR_BODY_BYTES = 12

/** @param type a GET_ of MessageType */
export function dumpRequest(type: number, sequence: number): Uint8Array {
  const body = new Uint8Array(BODY_BYTES.get(type) ?? 1)
  // Devices have no family; with one, the kernel would tell less of them.
  body[0] = type === MessageType.GET_LINK ? 0 : AF_INET
  return buildMessage(type, MessageFlag.DUMP, sequence, body)
}

/** Makes the kernel look for a neighbour, or confirm one it knows (NTF_USE, neighbour.h). */
export function useNeighbourRequest(
  linkIndex: number,
  address: number,
  sequence: number,
): Uint8Array {
  const body = new Uint8Array(NEIGHBOUR_BODY_BYTES)
  const view = new DataView(body.buffer)
  view.setUint8(0, AF_INET)
  view.setInt32(4, linkIndex, true)
  view.setUint8(10, NEIGHBOUR_USE)
  const destination = new Uint8Array(4)
  new DataView(destination.buffer).setInt32(0, address)
  const attributes = [[NeighbourAttribute.DESTINATION, destination]] as const
  return buildMessage(MessageType.NEW_NEIGHBOUR, MessageFlag.CREATE, sequence, body, attributes)
}
