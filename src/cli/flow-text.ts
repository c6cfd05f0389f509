/** Flows for people: a line each, and the bytes that were kept of a frame. */
import type { FlowView } from '../observe/flow-view.js'
import { clean, paint } from './output.js'

const TIME_START = 11
const TIME_END = 23
const BYTES_PER_LINE = 16
const RESERVED = 'reserved:'
const UNSPECIFIED = '::'
const DEFAULT_NAMESPACE = 'k8s:io.kubernetes.pod.namespace=default'
/** In the hexadecimal digits of a frame. */
const ETHER_TYPE_DIGIT = 24
const ETHER_TYPES = new Map([
  ['86dd', 'IPv6'],
  ['8100', 'VLAN'],
  ['88a8', 'VLAN'],
])

export interface LineOptions {
  readonly isWide: boolean
  /** Addresses alone, without the names of pods and services. */
  readonly numeric?: boolean
  /** The bytes of the frame, too. */
  readonly hex?: boolean
}

export function flowLine(flow: FlowView | { lost: number }, options: LineOptions): string {
  if ('lost' in flow) return paint.yellow(`… ${flow.lost} left out: this reader is too slow`)
  const at = options.isWide ? flow.time : flow.time.slice(TIME_START, TIME_END)
  const wide = options.isWide ? `; ${wideText(flow)}` : ''
  const line = `${flow.id} ${at} ${packetText(flow, options.numeric)} ${verdictText(flow)}${wide}`
  const isBad = flow.verdict === 'DROPPED' || flow.verdict === 'POLICY_DENIED'
  const painted = isBad ? paint.red(clean(line)) : clean(line)
  return options.hex === true ? `${painted}\n${hexText(flow.sample, flow.bytes)}` : painted
}

/** "TCP 10.0.1.1:40000 (default/client) → 10.96.0.10:80 (service default/web:80) SYN". */
export function packetText(flow: FlowView, numeric = false): string {
  const { protocol, sourcePort, destinationPort, tcpFlags = '' } = flow
  // Neither IPv4 nor ARP: there are no addresses that were read.
  if (flow.source === UNSPECIFIED && flow.destination === UNSPECIFIED) {
    const owner = flow.endpointName === undefined ? '' : ` (${flow.endpointName})`
    return `${frameText(flow.sample)}${owner}`
  }
  const place = (address: string, port: number): string =>
    protocol === 'ICMP' || port === 0 ? address : `${address}:${port}`
  const end = (address: string, port: number, name: string): string =>
    numeric || name === '' ? place(address, port) : `${place(address, port)} (${name})`
  const from = end(
    flow.source,
    sourcePort,
    nameOf(flow.sourcePod, flow.sourceService, flow.sourceLabels),
  )
  const to = end(
    flow.destination,
    destinationPort,
    nameOf(flow.destinationPod, flow.destinationService, flow.destinationLabels),
  )
  return `${protocol} ${from} → ${to}${tcpFlags === '' ? '' : ` ${tcpFlags}`}`
}

/** Of a frame by its EtherType. */
function frameText(sample: string): string {
  const type = sample.slice(ETHER_TYPE_DIGIT, ETHER_TYPE_DIGIT + 4)
  return `${ETHER_TYPES.get(type) ?? `EtherType 0x${type || '?'}`} frame`
}

/** Who it is: a pod of this node, a service, one of the reserved identities, or else its labels. */
function nameOf(
  pod: string | undefined,
  service: string | undefined,
  labels: readonly string[],
): string {
  if (pod !== undefined) return pod
  if (service !== undefined) return `service ${service}`
  const [first = ''] = labels
  if (first === `${RESERVED}unknown`) return ''
  return first.startsWith(RESERVED)
    ? first.slice(RESERVED.length)
    : labels.filter((label) => label !== DEFAULT_NAMESPACE).join(', ')
}

function wideText(flow: FlowView): string {
  const identities = `identity ${flow.sourceIdentity} → ${flow.destinationIdentity}`
  const rule = flow.rule === undefined ? '' : `, ${flow.rule}`
  return `${identities}, ${flow.connection}, stage ${flow.stageName}, ${flow.bytes} bytes${rule}`
}

export function verdictText(flow: FlowView): string {
  if (flow.verdict === 'FORWARDED') return `forwarded ${flow.observationPoint ?? ''}`
  const asked = `${flow.direction} policy${flow.endpointName ? ` of ${flow.endpointName}` : ''}`
  if (flow.verdict === 'POLICY_ALLOWED') return `${asked}: allowed`
  if (flow.verdict === 'POLICY_DENIED') return `${asked}: denied ${flow.dropReason}`
  return `DROPPED ${flow.dropCode} ${flow.dropReason}`
}

/** As `tcpdump -XX` shows them. @param bytes of the whole frame, of which the first were kept */
export function hexText(sample: string, bytes: number): string {
  const kept = Buffer.from(sample, 'hex')
  const lines: string[] = []
  for (let at = 0; at < kept.length; at += BYTES_PER_LINE) {
    const row = kept.subarray(at, at + BYTES_PER_LINE)
    const words = [...row].map((byte, i) => `${i % 2 === 0 ? ' ' : ''}${hex(byte, 2)}`).join('')
    const text = [...row].map((byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : '.'))
    lines.push(`  0x${hex(at, 4)} ${words.padEnd(41)}  ${text.join('')}`)
  }
  const left = bytes - kept.length
  return [...lines, ...(left > 0 ? [`  … ${left} bytes more were not kept`] : [])].join('\n')
}

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0')
