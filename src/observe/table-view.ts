/**
 * The tables of the datapath in pages: connections, NAT mappings, policy entries, and any map word
 * by word. A page begins where the one before ended; entries that come and go meanwhile may be
 * missed or seen twice, never torn.
 */
import {
  CT4_KEY_WORDS,
  Ct,
  CtFlag,
  CtKey,
  CtState,
  RX_FLAGS_SHIFT,
  TX_FLAGS_SHIFT,
} from '../conntrack/ct-entry.js'
import type { HashReader } from '../maps/hash-reader.js'
import { NOT_FOUND } from '../maps/map.js'
import { Snat, SnatDirection, SnatKey } from '../nat/snat-entry.js'
import type { DatapathMaps } from '../pipeline/datapath-maps.js'
import { POLICY_NUMBER_MASK, PolicyValue, PrecedenceClass } from '../policy/policy-key.js'
import { formatIpv4 } from '../wire/address.js'
import { protocolName, tcpFlagNames } from './flow.js'
import type { NameBook } from './names.js'

export interface Page<T> {
  readonly rows: readonly T[]
  /** To be given for the next page; absent after the last. */
  readonly next?: number
}

export interface PageRequest {
  readonly cursor: number
  readonly limit: number
}

/** Slots looked at for one page at most, so that a sparse table does not hold up others. */
const SLOTS_PER_PAGE = 65_536

function page<T>(
  map: HashReader,
  { cursor, limit }: PageRequest,
  row: (key: Int32Array, value: Int32Array) => T | undefined,
): Page<T> {
  const key = new Int32Array(map.spec.keyWords)
  const value = new Int32Array(map.spec.valueWords)
  const end = Math.min(map.slotCount, cursor + SLOTS_PER_PAGE)
  const rows: T[] = []
  let slot = map.nextLive(cursor, end)
  while (slot !== NOT_FOUND && rows.length < limit) {
    const made = map.read(slot, key, value) ? row(key, value) : undefined
    if (made !== undefined) rows.push(made)
    slot = map.nextLive(slot + 1, end)
  }
  const next = slot === NOT_FOUND ? end : slot
  return next >= map.slotCount ? { rows } : { rows, next }
}

export interface ConnectionView {
  readonly side: string
  readonly protocol: string
  readonly source: string
  readonly destination: string
  readonly expiresSeconds: number
  readonly state: string
  readonly flags: string
  readonly packets: number
  readonly bytes: number
  readonly sourceIdentity: number
  readonly revNatIndex: number
}

const SIDES = new Map<number, string>([
  [CtFlag.OUT, 'out'],
  [CtFlag.IN, 'in'],
  [CtFlag.SERVICE, 'service'],
])

const place = (address: number, port: number): string => `${formatIpv4(address)}:${port}`

/** @param nowSeconds of the monotonic clock, which lifetimes are of */
export function connectionPage(
  maps: DatapathMaps,
  request: PageRequest,
  nowSeconds: number,
): Page<ConnectionView> {
  return page(maps.conntrackTable, request, (key, value) => connection(key, value, nowSeconds))
}

export function connection(key: Int32Array, value: Int32Array, nowSeconds: number): ConnectionView {
  const word = (index: number): number => value[index] ?? 0
  const ports = key[CtKey.PORTS] ?? 0
  const protocol = key[CtKey.PROTOCOL] ?? 0
  const state = word(Ct.STATE)
  const seen = (shift: number): string => tcpFlagNames((state >>> shift) & 0xff) || '-'
  const isTcp = (protocol & 0xff) === 6
  return {
    side: SIDES.get(protocol & 0xff00) ?? `${protocol >>> 8}`,
    protocol: protocolName(protocol & 0xff),
    source: place(key[CtKey.SOURCE] ?? 0, ports >>> 16),
    destination: place(key[CtKey.DESTINATION] ?? 0, ports & 0xffff),
    expiresSeconds: (word(Ct.EXPIRES) - nowSeconds) | 0,
    state: stateText(state),
    flags: isTcp ? `tx ${seen(TX_FLAGS_SHIFT)} rx ${seen(RX_FLAGS_SHIFT)}` : '',
    packets: word(Ct.PACKETS) >>> 0,
    bytes: (word(Ct.BYTES_HIGH) >>> 0) * 2 ** 32 + (word(Ct.BYTES_LOW) >>> 0),
    sourceIdentity: word(Ct.SOURCE_IDENTITY),
    revNatIndex: word(Ct.REV_NAT) >>> 16,
  }
}

export const CONNECTION_KEY_WORDS = CT4_KEY_WORDS

function stateText(state: number): string {
  const parts: string[] = []
  if ((state & CtState.RX_CLOSING) !== 0) parts.push('rx-closing')
  if ((state & CtState.TX_CLOSING) !== 0) parts.push('tx-closing')
  if ((state & CtState.LOOPBACK) !== 0) parts.push('loopback')
  if ((state & CtState.SEEN_NON_SYN) !== 0) parts.push('established')
  return parts.join(',') || 'new'
}

export interface NatView {
  readonly direction: string
  readonly protocol: string
  readonly source: string
  readonly destination: string
  readonly translated: string
  readonly ageSeconds: number
}

export function natPage(
  maps: DatapathMaps,
  request: PageRequest,
  nowSeconds: number,
): Page<NatView> {
  return page(maps.nat.snat, request, (key, value) => {
    const ports = key[SnatKey.PORTS] ?? 0
    const protocol = key[SnatKey.PROTOCOL] ?? 0
    return {
      direction: (protocol & SnatDirection.IN) === 0 ? 'out' : 'in',
      protocol: protocolName(protocol & 0xff),
      source: place(key[SnatKey.SOURCE] ?? 0, ports >>> 16),
      destination: place(key[SnatKey.DESTINATION] ?? 0, ports & 0xffff),
      translated: place(value[Snat.ADDRESS] ?? 0, value[Snat.PORT] ?? 0),
      ageSeconds: (nowSeconds - (value[Snat.CREATED] ?? 0)) | 0,
    }
  })
}

export interface PolicyEntryView {
  /** Number of the policy, as the low bits of an endpoint's revision. */
  readonly policy: number
  readonly direction: string
  readonly identity: number
  readonly labels: string
  readonly protocol: string
  readonly ports: string
  readonly action: string
  readonly rule: string
  readonly hits: number
}

/** @param policy of one endpoint (its revision); all when absent */
export function policyPage(
  maps: DatapathMaps,
  names: NameBook,
  request: PageRequest,
  policy?: number,
): Page<PolicyEntryView> {
  const wanted = policy === undefined ? undefined : policy & POLICY_NUMBER_MASK
  return page(maps.policyEntries, request, (key, value) => {
    const number = (key[0] ?? 0) >>> 1
    if (wanted !== undefined && number !== wanted) return undefined
    const prefix = (key[2] ?? 0) & 0xff
    const first = key[3] ?? 0
    const last = first + 2 ** (24 - Math.max(prefix, 8)) - 1
    const identity = key[1] ?? 0
    const precedence = (value[PolicyValue.PRECEDENCE] ?? 0) & 0xff
    return {
      policy: number,
      direction: ((key[0] ?? 0) & 1) === 1 ? 'egress' : 'ingress',
      identity,
      labels: identity === 0 ? 'any' : names.identity(identity),
      protocol: prefix === 0 ? 'any' : protocolName((key[2] ?? 0) >>> 8),
      ports: prefix <= 8 ? 'any' : first === last ? `${first}` : `${first}-${last}`,
      action: precedence === PrecedenceClass.DENY ? 'deny' : 'allow',
      rule: names.rule(value[PolicyValue.COOKIE] ?? 0),
      hits: (value[PolicyValue.HITS] ?? 0) >>> 0,
    }
  })
}
