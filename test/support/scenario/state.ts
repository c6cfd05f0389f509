/**
 * The tables of a node as rows that read like the scenarios' own words, and the other way: entries
 * that a scenario wants to be there at its beginning.
 */
import { Conntrack } from '../../../src/conntrack/conntrack.js'
import {
  CT4_KEY_WORDS,
  Ct,
  CtDirection,
  CtFlag,
  CtKey,
  CtState,
} from '../../../src/conntrack/ct-entry.js'
import { flowHash } from '../../../src/conntrack/flow-hash.js'
import { FragmentTable } from '../../../src/conntrack/fragment-table.js'
import { BackendTable } from '../../../src/lb/backend-table.js'
import { ReverseNatTable } from '../../../src/lb/reverse-nat-table.js'
import { AFFINITY_KEY_WORDS, AFFINITY_VALUE_WORDS } from '../../../src/lb/service-layout.js'
import type { DatapathMaps } from '../../../src/pipeline/datapath-maps.js'
import { formatIpv4, ipv4Words, parseIpv4 } from '../../../src/wire/address.js'
import { TUPLE_WORDS, TupleWord } from '../../../src/wire/tuple.js'
import { PROTOCOL_NUMBERS } from './frame.js'
import type { Names } from './names.js'
import type { ConnectionSpec, FragmentRecord } from './types.js'

const FLAGS: Readonly<Record<string, number>> = {
  rxClosing: CtState.RX_CLOSING,
  txClosing: CtState.TX_CLOSING,
  loopback: CtState.LOOPBACK,
  seenNonSyn: CtState.SEEN_NON_SYN,
  nodePort: CtState.NODE_PORT,
}
const SIDES = {
  out: { flag: CtFlag.OUT, direction: CtDirection.EGRESS },
  in: { flag: CtFlag.IN, direction: CtDirection.INGRESS },
  service: { flag: CtFlag.SERVICE, direction: CtDirection.SERVICE },
} as const
const SIDE_MASK = 0x7f00

export interface Connection {
  readonly side: string
  readonly protocol: number
  readonly from: string
  readonly fromPort: number
  readonly to: string
  readonly toPort: number
  readonly lifetimeSeconds: number
  readonly flags: readonly string[]
  readonly sourceIdentity: number
  readonly packets: number
  readonly bytes: number
  /** "address:port", '' for none. */
  readonly service: string
  readonly backend: string
}

export function readConnections(maps: DatapathMaps, nowSeconds: number): Connection[] {
  const table = maps.conntrackTable
  const key = new Int32Array(CT4_KEY_WORDS)
  const value = new Int32Array(table.spec.valueWords)
  const reverseNat = new ReverseNatTable(maps.services.reverseNat)
  const backends = new BackendTable(maps.services.backends)
  const found: Connection[] = []
  for (const slot of table.slots()) {
    if (!table.read(slot, key, value)) continue
    const word = key[CtKey.PROTOCOL] as number
    const ports = key[CtKey.PORTS] as number
    const state = value[Ct.STATE] as number
    const side = sideName(word)
    const hasService = reverseNat.load((value[Ct.REV_NAT] as number) >>> 16)
    const hasBackend = side === 'service' && backends.load(value[Ct.BACKEND] as number)
    found.push({
      side,
      protocol: word & 0xff,
      from: formatIpv4(key[CtKey.SOURCE] as number),
      fromPort: ports >>> 16,
      to: formatIpv4(key[CtKey.DESTINATION] as number),
      toPort: ports & 0xffff,
      lifetimeSeconds: (value[Ct.EXPIRES] as number) - nowSeconds,
      flags: Object.keys(FLAGS).filter((name) => (state & (FLAGS[name] ?? 0)) !== 0),
      sourceIdentity: value[Ct.SOURCE_IDENTITY] as number,
      packets: value[Ct.PACKETS] as number,
      bytes: value[Ct.BYTES_LOW] as number,
      service: hasService ? `${formatIpv4(reverseNat.address4)}:${reverseNat.port}` : '',
      backend: hasBackend ? formatIpv4(backends.address4) : '',
    })
  }
  return found
}

function sideName(word: number): string {
  const flag = word & SIDE_MASK
  return Object.entries(SIDES).find(([, side]) => side.flag === flag)?.[0] ?? `side ${flag >> 8}`
}

/** An entry as if a packet of the flow had made it. */
export function writeConnection(
  maps: DatapathMaps,
  names: Names,
  spec: ConnectionSpec,
  nowSeconds: number,
): void {
  const conntrack = new Conntrack(maps.conntrackTable)
  const tuple = tupleOf(spec, names)
  const identity = names.identity(spec.sourceIdentity ?? 0)
  const hash = flowHash(tuple, 0, conntrack.seed)
  const { direction } = SIDES[spec.side]
  conntrack.create(tuple, 0, hash, direction, identity, spec.bytes ?? 60, nowSeconds)
  const entry = conntrack.valueStart(conntrack.slot)
  const words = conntrack.words
  if (spec.lifetimeSeconds !== undefined)
    words[entry + Ct.EXPIRES] = nowSeconds + spec.lifetimeSeconds
  if (spec.packets !== undefined) words[entry + Ct.PACKETS] = spec.packets
  for (const flag of spec.flags ?? []) {
    words[entry + Ct.STATE] = (words[entry + Ct.STATE] as number) | (FLAGS[flag] ?? 0)
  }
}

/** As if the first fragment of the datagram had passed. */
export function writeFragment(
  maps: DatapathMaps,
  names: Names,
  spec: FragmentRecord,
  nowSeconds: number,
): void {
  const tuple = tupleOf(spec, names)
  new FragmentTable(maps.fragmentsMap).store(tuple, 0, spec.id, nowSeconds)
}

type Flow = Pick<ConnectionSpec, 'protocol' | 'from' | 'fromPort' | 'to' | 'toPort'>

function tupleOf(spec: Flow, names: Names): Int32Array {
  const tuple = new Int32Array(TUPLE_WORDS)
  tuple.set(ipv4Words(parseIpv4(names.address(spec.from))), TupleWord.SOURCE)
  tuple.set(ipv4Words(parseIpv4(names.address(spec.to))), TupleWord.DESTINATION)
  const ports = [names.number(spec.fromPort ?? 0), names.number(spec.toPort ?? 0)] as const
  tuple[TupleWord.PORTS] = (ports[0] << 16) | ports[1]
  tuple[TupleWord.PROTOCOL] = PROTOCOL_NUMBERS[spec.protocol]
  return tuple
}

export interface AffinityRow {
  readonly client: string
  readonly backend: string
}

export function readAffinities(maps: DatapathMaps): AffinityRow[] {
  const table = maps.services.affinity
  const key = new Int32Array(AFFINITY_KEY_WORDS)
  const value = new Int32Array(AFFINITY_VALUE_WORDS)
  const backends = new BackendTable(maps.services.backends)
  const found: AffinityRow[] = []
  for (const slot of table.slots()) {
    if (!table.read(slot, key, value)) continue
    const isKnown = backends.load(value[1] as number)
    const backend = isKnown ? formatIpv4(backends.address4) : 'gone'
    found.push({ client: formatIpv4(key[3] as number), backend })
  }
  return found
}
