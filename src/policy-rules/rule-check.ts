/**
 * A RuleSpec checked whole and made a Rule. What is wrong, or not supported, is refused with
 * ECONFIG_INVALID, naming the field, what was found and what is expected.
 */
import { ErrorCode, RingpathError } from '../base/errors.js'
import { Direction } from '../packet/verdict.js'
import { LOWEST_PRIORITY } from '../policy/policy-key.js'
import type { PortRange } from '../policy/policy-rule.js'
import { type Cidr, formatCidr, parseCidr } from '../wire/address.js'
import { Protocol } from '../wire/protocols.js'
import { contains } from './cidr-index.js'
import { ENTITY_PEERS } from './entities.js'
import { type LabelSelector, selectorText } from './labels.js'
import {
  cidrPeers,
  labelPeers,
  type NamedPort,
  type PeerSelector,
  type Rule,
  type Section,
} from './rule.js'
import type { CidrSpec, IcmpSpec, PeerSpec, PortSpec, RuleSpec, SectionSpec } from './rule-spec.js'

const PROTOCOLS: Readonly<Record<PortSpec['protocol'], readonly number[]>> = {
  TCP: [Protocol.TCP],
  UDP: [Protocol.UDP],
  SCTP: [Protocol.SCTP],
  ANY: [Protocol.TCP, Protocol.UDP, Protocol.SCTP],
}
const ICMP_FAMILIES: Readonly<Record<'IPv4' | 'IPv6', number>> = {
  IPv4: Protocol.ICMPV4,
  IPv6: Protocol.ICMPV6,
}
const OPERATORS: Readonly<Record<string, 'with values' | 'without values'>> = {
  In: 'with values',
  NotIn: 'with values',
  Exists: 'without values',
  DoesNotExist: 'without values',
}
/** RFC 6335 section 5.1: letters, digits and hyphens, at least one letter, at most 15 of them. */
const PORT_NAME = /^(?=.*[a-z])[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$/i

export function checkRule(spec: RuleSpec): Rule {
  if (typeof spec.name !== 'string' || spec.name === '') {
    throw invalid('rule.name', spec.name, 'a name')
  }
  const at = `rule '${spec.name}'`
  checkFields(at, spec, [
    'name',
    'endpointSelector',
    'nodeSelector',
    'ingress',
    'ingressDeny',
    'egress',
    'egressDeny',
    'enableDefaultDeny',
    'priority',
  ])
  const { endpointSelector, nodeSelector, priority = 0 } = spec
  const subjects = endpointSelector ?? nodeSelector
  if (subjects === undefined || (endpointSelector !== undefined && nodeSelector !== undefined)) {
    throw invalid(at, 'selectors', 'exactly one of endpointSelector and nodeSelector')
  }
  checkSelector(
    `${at}: ${endpointSelector === undefined ? 'nodeSelector' : 'endpointSelector'}`,
    subjects,
  )
  checkWhole(`${at}: priority`, priority, 0, LOWEST_PRIORITY)
  const { INGRESS, EGRESS } = Direction
  checkFields(`${at}: enableDefaultDeny`, spec.enableDefaultDeny ?? {}, ['ingress', 'egress'])
  const { ingress, egress } = spec.enableDefaultDeny ?? {}
  return {
    name: spec.name,
    isOfHost: endpointSelector === undefined,
    subjects,
    enforcesIngress: ingress ?? (spec.ingress ?? spec.ingressDeny) !== undefined,
    enforcesEgress: egress ?? (spec.egress ?? spec.egressDeny) !== undefined,
    sections: [
      ...(spec.ingress ?? []).map((s, i) => section(`${at}: ingress[${i}]`, s, INGRESS, 'allow')),
      ...(spec.ingressDeny ?? []).map((s, i) =>
        section(`${at}: ingressDeny[${i}]`, s, INGRESS, 'deny'),
      ),
      ...(spec.egress ?? []).map((s, i) => section(`${at}: egress[${i}]`, s, EGRESS, 'allow')),
      ...(spec.egressDeny ?? []).map((s, i) =>
        section(`${at}: egressDeny[${i}]`, s, EGRESS, 'deny'),
      ),
    ],
    priority,
  }
}

function section(
  at: string,
  spec: SectionSpec,
  direction: Direction,
  action: Section['action'],
): Section {
  checkFields(at, spec, ['peers', 'ports', 'icmps'])
  const namedPorts: NamedPort[] = []
  const ranges: PortRange[] = []
  for (const [i, port] of (spec.ports ?? []).entries()) {
    const field = `${at}.ports[${i}]`
    const protocols = protocolsOf(field, port)
    if (typeof port.port === 'string') {
      checkNamedPort(field, port, direction)
      namedPorts.push({ name: port.port, protocols })
    } else {
      checkPorts(field, port)
      ranges.push(...protocols.map((protocol) => portRange(protocol, port.port, port.endPort)))
    }
  }
  for (const [i, icmp] of (spec.icmps ?? []).entries()) {
    ranges.push(icmpRange(`${at}.icmps[${i}]`, icmp))
  }
  const isForAnyPort = spec.ports === undefined && spec.icmps === undefined
  return {
    direction,
    action,
    peers: spec.peers === undefined ? undefined : peerSelectors(`${at}.peers`, spec.peers),
    ports: isForAnyPort ? undefined : ranges,
    namedPorts,
  }
}

/** Undefined when one of them is "all". */
function peerSelectors(at: string, spec: PeerSpec): PeerSelector[] | undefined {
  checkFields(at, spec, ['endpoints', 'entities', 'cidrs'])
  const peers: PeerSelector[] = []
  for (const [i, selector] of (spec.endpoints ?? []).entries()) {
    checkSelector(`${at}.endpoints[${i}]`, selector)
    peers.push(labelPeers(selector, selectorText(selector)))
  }
  for (const [i, { cidr, except }] of (spec.cidrs ?? []).entries()) {
    peers.push(cidrSelector(`${at}.cidrs[${i}]`, { cidr, ...(except && { except }) }))
  }
  let isAll = false
  for (const [i, entity] of (spec.entities ?? []).entries()) {
    if (!Object.hasOwn(ENTITY_PEERS, entity)) {
      const known = Object.keys(ENTITY_PEERS).join(', ')
      throw invalid(`${at}.entities[${i}]`, entity, `one of ${known}`)
    }
    const peer = ENTITY_PEERS[entity]
    if (peer === 'all') isAll = true
    else peers.push(peer)
  }
  return isAll ? undefined : peers
}

function cidrSelector(at: string, spec: CidrSpec): PeerSelector {
  const cidr = prefix(`${at}.cidr`, spec.cidr)
  const except = (spec.except ?? []).map((text, i) => {
    const part = prefix(`${at}.except[${i}]`, text)
    if (contains(cidr, part)) return part
    throw invalid(`${at}.except[${i}]`, text, `a prefix within ${spec.cidr}`)
  })
  const parts = except.map(formatCidr).sort()
  const text = [formatCidr(cidr), ...parts].join(' except ')
  return cidrPeers(cidr, except, text)
}

function prefix(field: string, text: string): Cidr {
  try {
    return parseCidr(text)
  } catch (error) {
    throw invalid(field, text, 'a prefix such as 10.0.0.0/8 or fd00::/64', error)
  }
}

export function checkSelector(at: string, selector: LabelSelector): void {
  checkFields(at, selector, ['matchLabels', 'matchExpressions'])
  for (const [i, expression] of (selector.matchExpressions ?? []).entries()) {
    const field = `${at}.matchExpressions[${i}]`
    checkFields(field, expression, ['key', 'operator', 'values'])
    const kind = Object.hasOwn(OPERATORS, expression.operator)
      ? OPERATORS[expression.operator]
      : undefined
    if (kind === undefined) {
      const known = Object.keys(OPERATORS).join(', ')
      throw invalid(`${field}.operator`, expression.operator, `one of ${known}`)
    }
    const hasValues = (expression.values ?? []).length > 0
    if (hasValues !== (kind === 'with values')) {
      const expected = kind === 'with values' ? 'at least one value' : 'no values'
      throw invalid(`${field}.values`, `[${(expression.values ?? []).join(', ')}]`, expected)
    }
  }
}

function protocolsOf(field: string, { protocol }: PortSpec): readonly number[] {
  if (Object.hasOwn(PROTOCOLS, protocol)) return PROTOCOLS[protocol]
  throw invalid(`${field}.protocol`, protocol, `one of ${Object.keys(PROTOCOLS).join(', ')}`)
}

function checkPorts(field: string, spec: PortSpec): void {
  checkFields(field, spec, ['protocol', 'port', 'endPort'])
  const { port, endPort } = spec
  if (port !== undefined) checkWhole(`${field}.port`, port, 1, 65_535)
  if (endPort === undefined) return
  if (typeof port !== 'number') throw invalid(`${field}.port`, port, 'a number, with an endPort')
  checkWhole(`${field}.endPort`, endPort, port, 65_535)
}

function checkNamedPort(field: string, spec: PortSpec, direction: Direction): void {
  if (direction === Direction.EGRESS) {
    throw invalid(`${field}.port`, spec.port, 'a number: named ports are supported for ingress')
  }
  if (!PORT_NAME.test(String(spec.port))) throw invalid(`${field}.port`, spec.port, 'a port name')
  if (spec.endPort !== undefined) {
    throw invalid(`${field}.endPort`, spec.endPort, 'none with a named port')
  }
}

function icmpRange(field: string, spec: IcmpSpec): PortRange {
  checkFields(field, spec, ['family', 'type'])
  const { family = 'IPv4', type } = spec
  if (!Object.hasOwn(ICMP_FAMILIES, family)) {
    throw invalid(`${field}.family`, family, 'IPv4 or IPv6')
  }
  if (type !== undefined) checkWhole(`${field}.type`, type, 0, 255)
  return portRange(ICMP_FAMILIES[family], type, undefined)
}

function portRange(
  protocol: number,
  port: number | string | undefined,
  endPort: number | undefined,
): PortRange {
  if (typeof port !== 'number') return { protocol }
  return { protocol, firstPort: port, lastPort: endPort ?? port }
}

/** A field that is not known may be one that would have narrowed the rule. */
function checkFields(at: string, value: object, known: readonly string[]): void {
  const unknown = Object.keys(value).find((key) => !known.includes(key))
  if (unknown !== undefined) {
    throw invalid(`${at}: ${unknown}`, 'present', `one of ${known.join(', ')}; it is not supported`)
  }
}

function checkWhole(field: string, value: unknown, low: number, high: number): void {
  if (Number.isInteger(value) && (value as number) >= low && (value as number) <= high) return
  throw invalid(field, value, `a whole number from ${low} to ${high}`)
}

export function invalid(
  field: string,
  value: unknown,
  expected: string,
  cause?: unknown,
): RingpathError {
  const message = `${field}: '${String(value)}', expected ${expected}`
  return new RingpathError(ErrorCode.CONFIG_INVALID, message, cause)
}
