/** What somebody wants captured, in words, and as the words that the datapath reads. */
import { ErrorCode, RingpathError } from '../base/errors.js'
import { PORTS_MAX } from '../base/limits.js'
import {
  ANY,
  CAPTURE_WORDS,
  CapturePoint,
  CaptureVerdict,
  CaptureWord,
  SNAP_BYTES_MAX,
  setBit,
} from '../monitor/capture.js'
import { DropReason } from '../packet/drop-reason.js'
import { TailCall } from '../pipeline/tail-call.js'
import { IPV4_PREFIX_BITS, isIpv4Words, parseCidr } from '../wire/address.js'
import { Protocol } from '../wire/protocols.js'
import type { EndpointRowView } from './endpoint-view.js'
import { findEndpoint } from './packet-description.js'

export interface CaptureRequest {
  /**
   * "client", "client:in", "client:out", "any", "any:in", "any:out", "stage:IPV4_CT_EGRESS", "drops";
   * any unless given.
   */
  readonly at?: readonly string[]
  /** Bytes kept of each frame; all of them unless given. */
  readonly snapBytes?: number
  /** Memory of the ring; 16 unless given. */
  readonly bufferMebibytes?: number
  readonly verdict?: 'forwarded' | 'dropped'
  /** Drop reason by name or number. */
  readonly reason?: string
  /** IPv4 addresses or prefixes; `ip` and `port` are of either side. */
  readonly source?: string
  readonly destination?: string
  readonly ip?: string
  readonly port?: number
  readonly sourcePort?: number
  readonly destinationPort?: number
  readonly protocol?: string
  /** Security identity of either side. */
  readonly identity?: number
}

const STAGE = /^stage:(.+)$/i
const PORT = /^(.+?)(?::(in|out))?$/

/**
 * The words but for session and sign of life.
 *
 * @throws RingpathError CONFIG_INVALID that names the field
 */
export function captureWish(
  request: CaptureRequest,
  endpoints: readonly EndpointRowView[],
): Int32Array {
  const wish = new Int32Array(CAPTURE_WORDS)
  for (const at of request.at ?? ['any']) addPoint(wish, at, endpoints)
  const { verdict, reason, protocol } = request
  wish[CaptureWord.SNAP_BYTES] = request.snapBytes ?? SNAP_BYTES_MAX
  if (verdict !== undefined) {
    const isDropped = verdict === 'dropped'
    wish[CaptureWord.VERDICT] = isDropped ? CaptureVerdict.DROPPED : CaptureVerdict.FORWARDED
  }
  if (reason !== undefined) wish[CaptureWord.DROP_CODE] = dropCode(reason)
  wish[CaptureWord.PROTOCOL] = protocol === undefined ? ANY : protocolNumber(protocol)
  wish[CaptureWord.PORT] = request.port ?? ANY
  wish[CaptureWord.SOURCE_PORT] = request.sourcePort ?? ANY
  wish[CaptureWord.DESTINATION_PORT] = request.destinationPort ?? ANY
  wish[CaptureWord.IDENTITY] = request.identity ?? 0
  setPrefix(wish, CaptureWord.ADDRESS, 'ip', request.ip)
  setPrefix(wish, CaptureWord.SOURCE, 'source', request.source)
  setPrefix(wish, CaptureWord.DESTINATION, 'destination', request.destination)
  return wish
}

function addPoint(wish: Int32Array, text: string, endpoints: readonly EndpointRowView[]): void {
  const add = (point: CapturePoint): void => setBit(wish, CaptureWord.POINTS, point)
  const stage = STAGE.exec(text)?.[1]
  if (text === 'drops') {
    add(CapturePoint.DROP)
  } else if (stage !== undefined) {
    add(CapturePoint.STAGE)
    setBit(wish, CaptureWord.STAGES, stageNumber(stage))
  } else {
    const [, name = '', side] = PORT.exec(text) ?? []
    const ports = portsOf(name, endpoints)
    if (side !== 'out') {
      add(CapturePoint.INGRESS)
      for (const port of ports) setBit(wish, CaptureWord.INGRESS_PORTS, port)
    }
    if (side !== 'in') {
      add(CapturePoint.EGRESS)
      for (const port of ports) setBit(wish, CaptureWord.EGRESS_PORTS, port)
    }
  }
}

function portsOf(name: string, endpoints: readonly EndpointRowView[]): readonly number[] {
  if (name === 'any') return Array.from({ length: PORTS_MAX }, (_, port) => port)
  try {
    return [findEndpoint(name, endpoints).port]
  } catch {
    const known = endpoints.map((row) => row.name).join(', ')
    const points = 'each with :in or :out if only one side is meant; stage:NAME; drops'
    throw invalid('at', name, `any, or an endpoint of this node (${known}), ${points}`)
  }
}

function stageNumber(text: string): number {
  const name = text.toUpperCase()
  const found = Object.entries(TailCall).find(([key, n]) => key === name || `${n}` === text)
  if (found !== undefined) return found[1]
  throw invalid('at', `stage:${text}`, `one of ${Object.keys(TailCall).join(', ')}`)
}

/** Code of a drop reason by its name or number. @throws RingpathError ECONFIG_INVALID */
export function dropCode(text: string): number {
  const name = text.toUpperCase()
  const found = Object.entries(DropReason).find(([key, n]) => key === name || `${-n}` === text)
  if (found !== undefined) return -found[1]
  throw invalid('reason', text, `a number or one of ${Object.keys(DropReason).join(', ')}`)
}

/** Number of an IP protocol by its name or number. @throws RingpathError ECONFIG_INVALID */
export function protocolNumber(text: string): number {
  const name = text.toUpperCase() === 'ICMP' ? 'ICMPV4' : text.toUpperCase()
  const known = (Protocol as Readonly<Record<string, number>>)[name]
  const number = known ?? (/^\d{1,3}$/.test(text) ? Number(text) : ANY)
  if (number >= 0 && number <= 255) return number
  throw invalid('protocol', text, 'tcp, udp, icmp, sctp, or a number from 0 to 255')
}

function setPrefix(wish: Int32Array, word: number, field: string, text: string | undefined): void {
  if (text === undefined) return
  let bits = -1
  try {
    const { words, prefixBits } = parseCidr(text)
    bits = isIpv4Words(words) ? prefixBits - IPV4_PREFIX_BITS : -1
    wish[word] = words[3] ?? 0
  } catch {
    // Told below, as what is no IPv4.
  }
  if (bits < 0) throw invalid(field, text, 'an IPv4 address or prefix, such as 10.0.1.0/24')
  wish[word + 1] = bits === 0 ? 0 : -1 << (32 - bits)
}

const invalid = (field: string, found: string, expected: string): RingpathError =>
  new RingpathError(ErrorCode.CONFIG_INVALID, `${field}: '${found}', expected ${expected}`)
