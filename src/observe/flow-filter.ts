/**
 * Which flows somebody wants to see, in the words of `hubble observe`. Values of one field are
 * alternatives, every field that is given must hold, and what meets a negated field is left out.
 */
import { ErrorCode, RingpathError } from '../base/errors.js'
import { contains } from '../policy-rules/cidr-index.js'
import { parseCidr } from '../wire/address.js'
import { dropCode, protocolNumber } from './capture-request.js'
import { type Flow, type FlowVerdict, protocolName, TCP_FLAG_NAMES } from './flow.js'
import { NameBook } from './names.js'
import { timeOf } from './time-text.js'

export const FLOW_VERDICTS = ['FORWARDED', 'DROPPED', 'POLICY_ALLOWED', 'POLICY_DENIED'] as const

/** What a flow is asked, given the names of now. */
type FlowTest = (flow: Flow, names: NameBook) => boolean

/** Makes a test of a value as it was typed; throws ECONFIG_INVALID where it is none. */
type MakeTest = (value: string, field: FlowField) => FlowTest

const PORT_MAX = 65_535
const IDENTITY_MAX = 2 ** 32 - 1
const TYPES: Readonly<Record<string, readonly FlowVerdict[]>> = {
  TRACE: ['FORWARDED'],
  DROP: ['DROPPED'],
  POLICY_VERDICT: ['POLICY_ALLOWED', 'POLICY_DENIED'],
}

const upper = (text: string): string => text.toUpperCase().replaceAll('-', '_')

const MAKERS = {
  verdict: (value: string) => {
    const wanted = FLOW_VERDICTS.find((verdict) => verdict === upper(value))
    if (wanted === undefined) throw invalid('verdict', value, `one of ${FLOW_VERDICTS.join(', ')}`)
    return (flow: Flow) => flow.verdict === wanted
  },
  type: typeTest,
  reason: (value: string) => {
    const code = dropCode(value)
    return (flow: Flow) => flow.dropCode === code
  },
  source: addresses((flow) => [flow.source]),
  destination: addresses((flow) => [flow.destination]),
  ip: addresses((flow) => [flow.source, flow.destination]),
  sourcePort: numbers(PORT_MAX, (flow) => [flow.sourcePort]),
  destinationPort: numbers(PORT_MAX, (flow) => [flow.destinationPort]),
  port: numbers(PORT_MAX, (flow) => [flow.sourcePort, flow.destinationPort]),
  protocol: (value: string) => {
    const name = protocolName(protocolNumber(value))
    return (flow: Flow) => flow.protocol === name
  },
  tcpFlags: (value: string) => {
    const wanted = upper(value).split(',')
    if (!wanted.every((flag) => TCP_FLAG_NAMES.includes(flag))) {
      throw invalid('tcpFlags', value, `some of ${TCP_FLAG_NAMES.join(', ')}`)
    }
    return ({ tcpFlags = '' }: Flow) => wanted.every((flag) => tcpFlags.split(',').includes(flag))
  },
  sourceIdentity: numbers(IDENTITY_MAX, (flow) => [flow.sourceIdentity]),
  destinationIdentity: numbers(IDENTITY_MAX, (flow) => [flow.destinationIdentity]),
  identity: numbers(IDENTITY_MAX, (flow) => [flow.sourceIdentity, flow.destinationIdentity]),
  sourcePod: pods((flow) => [flow.source]),
  destinationPod: pods((flow) => [flow.destination]),
  pod: pods((flow) => [flow.source, flow.destination]),
  sourceService: services((flow) => [[flow.source, flow.sourcePort]]),
  destinationService: services((flow) => [[flow.destination, flow.destinationPort]]),
  service: services((flow) => [
    [flow.source, flow.sourcePort],
    [flow.destination, flow.destinationPort],
  ]),
  sourceLabel: labels((flow) => [flow.sourceIdentity]),
  destinationLabel: labels((flow) => [flow.destinationIdentity]),
  label: labels((flow) => [flow.sourceIdentity, flow.destinationIdentity]),
  endpoint: (value: string) => (flow: Flow, names: NameBook) =>
    `${flow.endpoint}` === value ||
    (flow.endpoint !== 0 && bothNames(names.endpoint(flow.endpoint)).includes(value)),
}

export type FlowField = keyof typeof MAKERS
export const FLOW_FIELDS = Object.keys(MAKERS) as readonly FlowField[]

export interface FlowFilter {
  readonly is?: Readonly<Partial<Record<FlowField, readonly string[]>>>
  readonly not?: Readonly<Partial<Record<FlowField, readonly string[]>>>
  /** Times as `timeOf` takes them. */
  readonly since?: string
  readonly until?: string
}

/**
 * @param names as they are when a flow is asked
 * @param now what spans such as "5m" are counted back from
 * @throws RingpathError ECONFIG_INVALID that names the field
 */
export function flowMatcher(
  { is = {}, not = {}, since, until }: FlowFilter,
  names: () => NameBook = () => NO_NAMES,
  now = new Date(),
): (flow: Flow) => boolean {
  const wanted = FLOW_FIELDS.filter((field) => is[field] !== undefined).map((field) =>
    testsOf(field, is[field] ?? []),
  )
  const unwanted = FLOW_FIELDS.flatMap((field) => testsOf(field, not[field] ?? []))
  const from = since === undefined ? undefined : timeOf('since', since, now)
  const to = until === undefined ? undefined : timeOf('until', until, now)
  return (flow) => {
    // Times of flows are texts of one form, which sort as the times do.
    if (from !== undefined && flow.time < from) return false
    if (to !== undefined && flow.time > to) return false
    const known = names()
    return (
      wanted.every((tests) => tests.some((test) => test(flow, known))) &&
      !unwanted.some((test) => test(flow, known))
    )
  }
}

const NO_NAMES = new NameBook()

const testsOf = (field: FlowField, values: readonly string[]): FlowTest[] =>
  values.map((value) => (MAKERS[field] as MakeTest)(value, field))

/** "drop", "trace", "policy-verdict", or "trace:to-endpoint". */
function typeTest(value: string): FlowTest {
  const [type = '', point] = upper(value).split(':')
  const verdicts = TYPES[type]
  if (verdicts === undefined || (point !== undefined && type !== 'TRACE')) {
    throw invalid('type', value, 'drop, trace, policy-verdict, or trace:POINT')
  }
  return ({ verdict, observationPoint }) =>
    verdicts.includes(verdict) && (point === undefined || point === observationPoint)
}

function addresses(of: (flow: Flow) => readonly string[]): MakeTest {
  return (value, field) => {
    const prefix = prefixOf(value, field)
    return (flow) => of(flow).some((address) => contains(prefix, parseCidr(address)))
  }
}

function prefixOf(value: string, field: string) {
  try {
    return parseCidr(value)
  } catch {
    throw invalid(field, value, 'an address or prefix, such as 10.0.1.1 or 10.0.0.0/8')
  }
}

function numbers(max: number, of: (flow: Flow) => readonly number[]): MakeTest {
  return (value, field) => {
    const number = /^\d{1,10}$/.test(value) ? Number(value) : max + 1
    if (number > max) throw invalid(field, value, `a whole number from 0 to ${max}`)
    return (flow) => of(flow).includes(number)
  }
}

/** "web": pods of the namespace default whose names begin so; "shop/web"; "shop/" is all of shop. */
function pods(of: (flow: Flow) => readonly string[]): MakeTest {
  return (value) => {
    const prefix = qualified(value)
    return (flow, names) => of(flow).some((address) => names.ofAddress(address).startsWith(prefix))
  }
}

/** "web", "shop/web", with ":80" for one of its ports. */
function services(of: (flow: Flow) => readonly (readonly [string, number])[]): MakeTest {
  return (value) => {
    const wanted = qualified(value)
    return (flow, names) =>
      of(flow).some(([address, port]) => {
        const name = names.service(address, port, flow.protocol)
        return name === wanted || name.startsWith(`${wanted}:`)
      })
  }
}

/** "app=web", "app", "k8s:app=web", "reserved:world"; several, by commas, must all be there. */
function labels(of: (flow: Flow) => readonly number[]): MakeTest {
  return (value, field) => {
    const wanted = value.split(',').map((text) => text.trim())
    if (wanted.includes('')) {
      throw invalid(field, value, 'labels such as app=web or reserved:world, parted by commas')
    }
    const has = (held: readonly string[], label: string): boolean =>
      held.some((own) => [own, own.split('=')[0]].some((t) => t === label || t === `k8s:${label}`))
    return (flow, names) =>
      of(flow).some((identity) => {
        const held = names.identityLabels(identity)
        return wanted.every((label) => has(held, label))
      })
  }
}

const qualified = (name: string): string => (name.includes('/') ? name : `default/${name}`)

const bothNames = (name: string): readonly string[] => [name, name.replace(/^default\//, '')]

const invalid = (field: string, found: string, expected: string): RingpathError =>
  new RingpathError(ErrorCode.CONFIG_INVALID, `${field}: '${found}', expected ${expected}`)
