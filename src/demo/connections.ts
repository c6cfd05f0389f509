/** The connection table in words: who speaks to whom, and how far they are. */
import { CLOSING_BOTH, Ct, CtFlag, CtKey, CtState } from '../conntrack/ct-entry.js'
import type { LruHashMap } from '../maps/lru-hash-map.js'
import { formatIpv4 } from '../wire/address.js'
import { Protocol } from '../wire/protocols.js'
import { nameOfAddress, portText } from './topology.js'

/** In the order in which they are listed. */
export const ConnectionState = {
  OPEN: 'open',
  OPENING: 'unanswered',
  CLOSING: 'closing',
  CLOSED: 'closed',
} as const
export type ConnectionState = (typeof ConnectionState)[keyof typeof ConnectionState]

export interface Connection {
  readonly from: string
  readonly to: string
  readonly protocol: number
  /** `tcp/80`, `ping`. */
  readonly service: string
  readonly state: ConnectionState
  readonly packets: number
  readonly bytes: number
}

export interface ConnectionList {
  /** The liveliest first. */
  readonly all: readonly Connection[]
  /** How many TCP connections are how far. */
  readonly tcp: Readonly<Record<ConnectionState, number>>
  readonly udp: number
  readonly icmp: number
}

const STATE_ORDER = Object.values(ConnectionState)
const orderOf = ({ state }: Connection): number => STATE_ORDER.indexOf(state)

/**
 * A flow between two pods has an entry on each side; it is told once.
 *
 * @param nowSeconds of the datapath's clock: entries whose time is over wait for collection only
 */
export function readConnections(table: LruHashMap, nowSeconds: number): ConnectionList {
  const connections = new Map<string, Connection>()
  for (const slot of table.slots()) {
    const key = table.keyStart(slot)
    const value = table.valueStart(slot)
    const words = table.words
    if ((words[value + Ct.EXPIRES] as number) - nowSeconds < 0) continue
    const protocol = words[key + CtKey.PROTOCOL] as number
    const flow = words.slice(key, key + CtKey.PROTOCOL).join()
    const id = `${flow},${protocol & 0xff}`
    // The way into the second pod knows more: whether that pod let it in.
    const isIngress = (protocol & CtFlag.IN) !== 0
    if (connections.has(id) && !isIngress) continue
    connections.set(id, readConnection(words, key, value))
  }
  const all = [...connections.values()].sort(
    (a, b) => orderOf(a) - orderOf(b) || b.bytes - a.bytes || a.from.localeCompare(b.from),
  )
  const of = (protocol: number) => all.filter((connection) => connection.protocol === protocol)
  const tcp = Object.values(ConnectionState).map(
    (state) => [state, of(Protocol.TCP).filter((one) => one.state === state).length] as const,
  )
  return {
    all,
    tcp: Object.fromEntries(tcp) as Record<ConnectionState, number>,
    udp: of(Protocol.UDP).length,
    icmp: of(Protocol.ICMPV4).length,
  }
}

function readConnection(words: Int32Array, key: number, value: number): Connection {
  const protocol = (words[key + CtKey.PROTOCOL] as number) & 0xff
  const name = (at: number): string => {
    const address = formatIpv4(words[at] as number)
    return nameOfAddress(address) ?? address
  }
  const high = words[value + Ct.BYTES_HIGH] as number
  return {
    from: name(key + CtKey.SOURCE),
    to: name(key + CtKey.DESTINATION),
    protocol,
    service: portText(protocol, (words[key + CtKey.PORTS] as number) & 0xffff),
    state: stateOf(protocol, words[value + Ct.STATE] as number),
    packets: (words[value + Ct.PACKETS] as number) >>> 0,
    bytes: high * 2 ** 32 + ((words[value + Ct.BYTES_LOW] as number) >>> 0),
  }
}

function stateOf(protocol: number, state: number): ConnectionState {
  if (protocol !== Protocol.TCP) return ConnectionState.OPEN
  if ((state & CLOSING_BOTH) === CLOSING_BOTH) return ConnectionState.CLOSED
  if ((state & CLOSING_BOTH) !== 0) return ConnectionState.CLOSING
  return (state & CtState.SEEN_NON_SYN) !== 0 ? ConnectionState.OPEN : ConnectionState.OPENING
}
