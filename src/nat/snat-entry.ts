/**
 * Layout of the source NAT table (Cilium: bpf/lib/nat.h, cilium_snat_v4_external). A mapping is two
 * entries of one table. The forward one is found by the packet as its sender made it, the reverse
 * one by the packet that answers it:
 *
 * ```
 * forward   source  destination  source port | destination port   protocol, OUT  → NAT address, NAT port
 * reverse   destination  NAT address  destination port | NAT port  protocol, IN  → source, source port
 * ```
 *
 * The port of an ICMP echo is its identifier: the source port of a request, the destination port of
 * a reply.
 */
import { CT_TIMEOUTS } from '../conntrack/ct-entry.js'
import type { MapSpec } from '../maps/map.js'
import { Protocol } from '../wire/protocols.js'
import * as tcp from '../wire/tcp.js'
import { TupleWord } from '../wire/tuple.js'

export const SNAT_KEY_WORDS = 4
export const SnatKey = { SOURCE: 0, DESTINATION: 1, PORTS: 2, PROTOCOL: 3 } as const

/** Half of a mapping, or-ed into the protocol word above its low byte. */
export const SnatDirection = { OUT: 0, IN: 1 << 8 } as const

export const Snat = {
  /** Of a forward entry the NAT's address, of a reverse one the sender's. */
  ADDRESS: 0,
  PORT: 1,
  /**
   * Monotonic second until which the connection table would remember a flow like this one; full
   * tables evict the lowest.
   */
  EXPIRES: 2,
  CREATED: 3,
  /** SnatFlag bits. */
  FLAGS: 4,
} as const
export const SNAT_VALUE_WORDS = 5

export const SnatFlag = {
  /** Of a flow that no endpoint stands for, so that whoever translates it keeps its connection. */
  NEEDS_CT: 1,
} as const

export const snat4Spec = (maxEntries: number): MapSpec => ({
  name: 'snat4',
  type: 'lru-hash',
  keyWords: SNAT_KEY_WORDS,
  valueWords: SNAT_VALUE_WORDS,
  maxEntries,
  stampWord: Snat.EXPIRES,
})

/** An IPv4 address is the last of its four words. */
const SOURCE4 = TupleWord.SOURCE + 3
const DESTINATION4 = TupleWord.DESTINATION + 3

/** Key of the forward entry of the packet whose tuple begins at `start`. */
export function writeForwardKey(key: Int32Array, words: Int32Array, start: number): void {
  const protocol = (words[start + TupleWord.PROTOCOL] as number) & 0xff
  const ports = words[start + TupleWord.PORTS] as number
  key[SnatKey.SOURCE] = words[start + SOURCE4] as number
  key[SnatKey.DESTINATION] = words[start + DESTINATION4] as number
  key[SnatKey.PORTS] = protocol === Protocol.ICMPV4 ? ports << 16 : ports
  key[SnatKey.PROTOCOL] = protocol | SnatDirection.OUT
}

/** Key of the reverse entry of a packet that answers. */
export function writeReverseKey(key: Int32Array, words: Int32Array, start: number): void {
  const protocol = (words[start + TupleWord.PROTOCOL] as number) & 0xff
  const ports = words[start + TupleWord.PORTS] as number
  key[SnatKey.SOURCE] = words[start + SOURCE4] as number
  key[SnatKey.DESTINATION] = words[start + DESTINATION4] as number
  key[SnatKey.PORTS] = protocol === Protocol.ICMPV4 ? ports >>> 16 : ports
  key[SnatKey.PROTOCOL] = protocol | SnatDirection.IN
}

/** The other half's key: of a forward key with the mapping's address and port, or of a reverse key. */
export function writePartnerKey(
  partner: Int32Array,
  key: Int32Array,
  address4: number,
  port: number,
): void {
  const ports = key[SnatKey.PORTS] as number
  const protocol = key[SnatKey.PROTOCOL] as number
  if (isForward(key)) {
    partner[SnatKey.SOURCE] = key[SnatKey.DESTINATION] as number
    partner[SnatKey.DESTINATION] = address4
    partner[SnatKey.PORTS] = (ports << 16) | port
  } else {
    partner[SnatKey.SOURCE] = address4
    partner[SnatKey.DESTINATION] = key[SnatKey.SOURCE] as number
    partner[SnatKey.PORTS] = (port << 16) | (ports >>> 16)
  }
  partner[SnatKey.PROTOCOL] = protocol ^ SnatDirection.IN
}

/** The value of a half leads to an end of the other half's key: to the source, or the NAT's own. */
export function pointTo(value: Int32Array, key: Int32Array): void {
  value[Snat.ADDRESS] = endAddress(key)
  value[Snat.PORT] = endPort(key)
}

/** Does a half with this value belong to the one with this key? */
export const leadsTo = (value: Int32Array, key: Int32Array): boolean =>
  value[Snat.ADDRESS] === endAddress(key) && value[Snat.PORT] === endPort(key)

const isForward = (key: Int32Array): boolean =>
  ((key[SnatKey.PROTOCOL] as number) & SnatDirection.IN) === 0
const endAddress = (key: Int32Array): number =>
  key[isForward(key) ? SnatKey.SOURCE : SnatKey.DESTINATION] as number
const endPort = (key: Int32Array): number => {
  const ports = key[SnatKey.PORTS] as number
  return isForward(key) ? ports >>> 16 : ports & 0xffff
}

export const needsCt = (flags: number): boolean => (flags & SnatFlag.NEEDS_CT) !== 0

/** As the connection table's lifetimes of a connection, as far as one packet tells. */
export function expiryOf(key: Int32Array, tcpFlags: number, nowSeconds: number): number {
  const isTcp = ((key[SnatKey.PROTOCOL] as number) & 0xff) === Protocol.TCP
  if (!isTcp) return nowSeconds + CT_TIMEOUTS.anySeconds
  const isSyn = (tcpFlags & tcp.Flag.SYN) !== 0
  return nowSeconds + (isSyn ? CT_TIMEOUTS.synSeconds : CT_TIMEOUTS.tcpSeconds)
}
