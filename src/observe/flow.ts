/**
 * An event of the datapath as people and programs read it: what happened to one packet, in words
 * and plain values.
 */
import { EVENT_DETAIL_WORDS, EventType, EventWord, ObservationPoint } from '../monitor/event.js'
import { dropReasonName, dropReasonText } from '../packet/drop-reason.js'
import { formatAddress } from '../wire/address.js'
import { Protocol } from '../wire/protocols.js'
import { TupleWord } from '../wire/tuple.js'

export type FlowVerdict = 'FORWARDED' | 'DROPPED' | 'POLICY_ALLOWED' | 'POLICY_DENIED'
export type FlowDirection = 'ingress' | 'egress' | 'service' | 'none'

export interface Flow {
  /** Counted by the agent from 1; `ringpath why` takes it. */
  readonly id: number
  /** ISO 8601, of the agent's clock when it read the event. */
  readonly time: string
  /** Seconds of the datapath's monotonic clock. */
  readonly monotonicSeconds: number
  readonly verdict: FlowVerdict
  /** Drop code; 0 unless dropped or denied. */
  readonly dropCode: number
  readonly dropReason?: string
  readonly dropText?: string
  /** Where a trace saw it. */
  readonly observationPoint?: string
  readonly direction: FlowDirection
  readonly protocol: string
  readonly source: string
  readonly destination: string
  /** 0 where the protocol has none; of ICMP the type. */
  readonly sourcePort: number
  readonly destinationPort: number
  readonly tcpFlags?: string
  readonly sourceIdentity: number
  readonly destinationIdentity: number
  /** Endpoint whose policy was asked last, 0 for none; 65535 is the node. */
  readonly endpoint: number
  readonly ingressPort: number
  readonly egressPort: number
  readonly connection: string
  readonly ruleCookie: number
  /** Number of the last stage. */
  readonly stage: number
  readonly bytes: number
  /** Numbers of a drop's own, where it has any (EventWord.DETAIL). */
  readonly detail?: readonly number[]
  /** First bytes of the frame, hexadecimal. */
  readonly sample: string
}

const POINTS = new Map<number, string>(
  Object.entries(ObservationPoint).map(([name, value]) => [value, name]),
)
const PROTOCOLS = new Map<number, string>(
  Object.entries(Protocol).map(([name, value]) => [value, name === 'ICMPV4' ? 'ICMP' : name]),
)
const DIRECTIONS: readonly FlowDirection[] = ['none', 'ingress', 'egress', 'service']
/** By CtResult. */
const CONNECTIONS = ['new', 'established', 'reply', 'related']
export const TCP_FLAG_NAMES = ['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG', 'ECE', 'CWR']

export const protocolName = (number: number): string => PROTOCOLS.get(number) ?? `${number}`
export const connectionName = (result: number): string => CONNECTIONS[result] ?? `${result}`

export const tcpFlagNames = (flags: number): string =>
  TCP_FLAG_NAMES.filter((_, bit) => (flags & (1 << bit)) !== 0).join(',')

/** @param words an event as the ring has it */
export function flowOf(words: Int32Array, id: number, now: Date): Flow {
  const word = (index: number): number => words[index] ?? 0
  const code = word(EventWord.CODE)
  const tuple = EventWord.TUPLE
  const ports = word(tuple + TupleWord.PORTS)
  const protocol = protocolName(word(tuple + TupleWord.PROTOCOL) & 0xff)
  const verdict = verdictOf(word(EventWord.TYPE), code)
  const isBad = verdict === 'DROPPED' || verdict === 'POLICY_DENIED'
  return {
    id,
    time: now.toISOString(),
    monotonicSeconds: word(EventWord.SECONDS),
    verdict,
    dropCode: isBad ? code : 0,
    ...(isBad ? { dropReason: dropReasonName(code), dropText: dropReasonText(code) } : {}),
    ...(verdict === 'FORWARDED' ? { observationPoint: POINTS.get(code) ?? `${code}` } : {}),
    direction: DIRECTIONS[word(EventWord.DIRECTION)] ?? 'none',
    protocol,
    source: formatAddress(words, tuple + TupleWord.SOURCE),
    destination: formatAddress(words, tuple + TupleWord.DESTINATION),
    sourcePort: ports >>> 16,
    destinationPort: ports & 0xffff,
    ...(protocol === 'TCP' ? { tcpFlags: tcpFlagNames(word(EventWord.TCP_FLAGS)) } : {}),
    sourceIdentity: word(EventWord.SOURCE_IDENTITY),
    destinationIdentity: word(EventWord.DESTINATION_IDENTITY),
    endpoint: word(EventWord.ENDPOINT),
    ingressPort: word(EventWord.INGRESS_PORT),
    egressPort: word(EventWord.EGRESS_PORT),
    connection: connectionName(word(EventWord.CT_RESULT)),
    ruleCookie: word(EventWord.RULE_COOKIE),
    stage: word(EventWord.STAGE),
    bytes: word(EventWord.FRAME_BYTES),
    ...detailOf(words),
    sample: sampleOf(words),
  }
}

function detailOf(words: Int32Array): { detail?: readonly number[] } {
  const { DETAIL } = EventWord
  const detail = [...words.subarray(DETAIL, DETAIL + EVENT_DETAIL_WORDS)]
  return words[EventWord.TYPE] === EventType.DROP && detail.some((n) => n !== 0) ? { detail } : {}
}

function verdictOf(type: number, code: number): FlowVerdict {
  if (type === EventType.DROP) return 'DROPPED'
  if (type === EventType.TRACE) return 'FORWARDED'
  return code === 0 ? 'POLICY_ALLOWED' : 'POLICY_DENIED'
}

/** The sample's words are as the packet buffer reads them: big-endian. */
function sampleOf(words: Int32Array): string {
  const length = words[EventWord.SAMPLE_BYTES] ?? 0
  const bytes = Buffer.alloc((length + 3) & ~3)
  for (let i = 0; i < bytes.length; i += 4) {
    bytes.writeInt32BE(words[EventWord.SAMPLE + (i >> 2)] ?? 0, i)
  }
  return bytes.subarray(0, length).toString('hex')
}
