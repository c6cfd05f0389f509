/**
 * A service as the control plane describes it, and that description checked whole: what is wrong is
 * refused with ECONFIG_INVALID, naming the field, what was found and what is expected, before
 * anything is written. IPv4 only, as the stages are.
 */
import { ErrorCode, RingpathError } from '../base/errors.js'
import { type Cidr, ipv4Words, isIpv4Words, parseCidr, parseIpv4 } from '../wire/address.js'
import { Protocol } from '../wire/protocols.js'
import { ANY_PROTOCOL, BackendState, ServiceFlag } from './service-layout.js'

export type FrontendType =
  | 'ClusterIP'
  | 'NodePort'
  | 'ExternalIP'
  | 'LoadBalancer'
  | 'HostPort'
  /** An address of somebody else, whose packets pods of this node get instead. */
  | 'LocalRedirect'
export type ServiceProtocol = 'TCP' | 'UDP' | 'SCTP' | 'ANY'
export type BackendStateName = 'active' | 'terminating' | 'quarantined' | 'maintenance'
export type TrafficPolicy = 'Cluster' | 'Local'

export interface FrontendSpec {
  /** Of a NodePort or HostPort also 0.0.0.0: any address of the node. */
  readonly address: string
  /** 1 to 65535. */
  readonly port: number
  readonly protocol: ServiceProtocol
  readonly type: FrontendType
}

export interface BackendSpec {
  readonly address: string
  /** 1 to 65535. */
  readonly port: number
  /**
   * Share of new flows under Maglev, 0 to 65535; 0: gets none under any algorithm. 1 unless given.
   */
  readonly weight?: number
  /** 'active' unless given. */
  readonly state?: BackendStateName
  /** On this node; unless given: its address is that of an endpoint here. */
  readonly isLocal?: boolean
}

export interface ServiceSpec {
  /** Unique on the node, such as "namespace/name:port". */
  readonly name: string
  readonly frontends: readonly FrontendSpec[]
  readonly backends: readonly BackendSpec[]
  /**
   * A client keeps its backend for so long after its last packet, 1 to 16,777,215; 0 or absent:
   * off.
   */
  readonly sessionAffinitySeconds?: number
  /** 'random' unless given. */
  readonly algorithm?: 'random' | 'maglev'
  /** Local: what comes from outside goes to backends of this node only. 'Cluster' unless given. */
  readonly externalTrafficPolicy?: TrafficPolicy
  /** The same for traffic of the cluster's own. */
  readonly internalTrafficPolicy?: TrafficPolicy
  /** Clients from outside that are admitted, "10.0.0.0/8"; all unless given. */
  readonly sourceRanges?: readonly string[]
  /** 'deny': the ranges name those that are not admitted. 'allow' unless given. */
  readonly sourceRangesPolicy?: 'allow' | 'deny'
  /** A local redirect policy chose the backends, all of this node. */
  readonly isLocalRedirect?: boolean
  /** What those backends themselves send to a LocalRedirect frontend goes to its address. */
  readonly skipRedirectFromBackend?: boolean
}

export interface Frontend {
  /** "10.96.0.1:80/6". */
  readonly key: string
  readonly address: Int32Array
  readonly address4: number
  readonly port: number
  readonly protocol: number
  /** ServiceFlag bits of its type. */
  readonly flags: number
  /** Unknown ports of its address are dropped. */
  readonly ownsAddress: boolean
}

export interface PlannedBackend {
  readonly address4: number
  readonly port: number
  readonly weight: number
  readonly state: BackendState
  readonly isLocal: boolean
}

/** A checked ServiceSpec. */
export interface ServicePlan {
  readonly name: string
  readonly frontends: readonly Frontend[]
  readonly backends: readonly PlannedBackend[]
  readonly affinitySeconds: number
  readonly isMaglev: boolean
  readonly isExternalLocal: boolean
  readonly isInternalLocal: boolean
  readonly sourceRanges: readonly Cidr[]
  readonly isSourceRangeDeny: boolean
}

const ANY_ADDRESS = 0
const AFFINITY_SECONDS_MAX = 2 ** 24 - 1
const WEIGHT_MAX = 65_535

const PROTOCOLS: Readonly<Record<ServiceProtocol, number>> = {
  TCP: Protocol.TCP,
  UDP: Protocol.UDP,
  SCTP: Protocol.SCTP,
  ANY: ANY_PROTOCOL,
}

const TYPE_FLAGS: Readonly<Record<FrontendType, number>> = {
  ClusterIP: 0,
  NodePort: ServiceFlag.NODE_PORT | ServiceFlag.ROUTABLE,
  ExternalIP: ServiceFlag.EXTERNAL_IP | ServiceFlag.ROUTABLE,
  LoadBalancer: ServiceFlag.LOAD_BALANCER | ServiceFlag.ROUTABLE,
  HostPort: ServiceFlag.HOST_PORT | ServiceFlag.ROUTABLE,
  LocalRedirect: ServiceFlag.LOCAL_REDIRECT | ServiceFlag.FOREIGN_ADDRESS,
}

const STATES: Readonly<Record<BackendStateName, BackendState>> = {
  active: BackendState.ACTIVE,
  terminating: BackendState.TERMINATING,
  quarantined: BackendState.QUARANTINED,
  maintenance: BackendState.MAINTENANCE,
}

const ALGORITHMS = { random: false, maglev: true } as const
const RANGE_POLICIES = { allow: false, deny: true } as const
const POLICIES: Readonly<Record<TrafficPolicy, boolean>> = { Cluster: false, Local: true }

/** What a plan has to know of the node. */
export interface NodeView {
  /** Whether the four words are the address of an endpoint of this node. */
  readonly isLocalAddress: (address: Int32Array) => boolean
  /** The node's own IPv4 addresses: frontends at 0.0.0.0 mean them, and no frontend owns one. */
  readonly addresses: () => readonly number[]
}

export function planService(spec: ServiceSpec, node: NodeView): ServicePlan {
  if (spec.name === '') throw invalid('service.name', "''", 'a name')
  const at = `service '${spec.name}'`
  const affinity = spec.sessionAffinitySeconds ?? 0
  checkWhole(`${at}: sessionAffinitySeconds`, affinity, 0, AFFINITY_SECONDS_MAX)
  const policy = (field: 'externalTrafficPolicy' | 'internalTrafficPolicy'): boolean =>
    choice(POLICIES, `${at}: ${field}`, spec[field] ?? 'Cluster')
  return {
    name: spec.name,
    frontends: planFrontends(spec, at, node),
    backends: planBackends(spec, at, node.isLocalAddress),
    affinitySeconds: affinity,
    isMaglev: choice(ALGORITHMS, `${at}: algorithm`, spec.algorithm ?? 'random'),
    isExternalLocal: policy('externalTrafficPolicy'),
    isInternalLocal: policy('internalTrafficPolicy'),
    sourceRanges: (spec.sourceRanges ?? []).map((text, i) =>
      range(`${at}: sourceRanges[${i}]`, text),
    ),
    isSourceRangeDeny: choice(
      RANGE_POLICIES,
      `${at}: sourceRangesPolicy`,
      spec.sourceRangesPolicy ?? 'allow',
    ),
  }
}

function planFrontends(spec: ServiceSpec, at: string, node: NodeView): Frontend[] {
  if (spec.frontends.length === 0) throw invalid(`${at}: frontends`, '[]', 'at least one frontend')
  const more =
    (spec.isLocalRedirect === true ? ServiceFlag.LOCAL_REDIRECT : 0) |
    (spec.skipRedirectFromBackend === true ? ServiceFlag.SKIP_FROM_BACKEND : 0)
  const addresses = node.addresses()
  const plans = spec.frontends.map((frontend, i) =>
    planFrontend(frontend, `${at}: frontends[${i}]`, more, addresses),
  )
  const seen = new Set<string>()
  for (const [i, { key }] of plans.entries()) {
    const expected = 'a frontend that is not listed before'
    if (seen.has(key)) throw invalid(`${at}: frontends[${i}]`, key, expected)
    seen.add(key)
  }
  return plans.flatMap((plan) => {
    if (plan.address4 !== ANY_ADDRESS) return [plan]
    // One that is listed by its address is not meant a second time.
    return addresses.flatMap((address4) => {
      const key = frontendKey(address4, plan.port, plan.protocol)
      return seen.has(key) ? [] : [{ ...plan, key, address: ipv4Words(address4), address4 }]
    })
  })
}

/**
 * @param more ServiceFlag bits that all frontends of the service have
 * @param addresses the node's own
 */
function planFrontend(
  { address, port, protocol, type }: FrontendSpec,
  field: string,
  more: number,
  addresses: readonly number[],
): Frontend {
  const address4 = ipv4(`${field}.address`, address)
  checkWhole(`${field}.port`, port, 1, 65_535)
  const protocolNumber = choice(PROTOCOLS, `${field}.protocol`, protocol)
  const flags = choice(TYPE_FLAGS, `${field}.type`, type) | more
  if (address4 === ANY_ADDRESS && !isOfNode(flags)) {
    throw invalid(
      `${field}.address`,
      `'${address}'`,
      'an address; any is for NodePort and HostPort',
    )
  }
  return {
    key: frontendKey(address4, port, protocolNumber),
    address: ipv4Words(address4),
    address4,
    port,
    protocol: protocolNumber,
    flags,
    ownsAddress: ownsAddress(flags, address4, addresses),
  }
}

/** Is the spec about any address of the node, so that it means others when those change? */
export const isOfAnyAddress = (spec: ServiceSpec): boolean =>
  spec.frontends.some((frontend) => parseIpv4(frontend.address) === ANY_ADDRESS)

/**
 * An address given to services alone; a NodePort's and HostPort's is the node's, an ExternalIP's and a
 * LocalRedirect's are not ours to close. One of the node's own is never a service's alone, whatever
 * the type: replies to what was masqueraded and the node's own listeners are at its other ports
 * (Cilium: #43206, #45572).
 *
 * @param addresses the node's own
 */
export const ownsAddress = (
  flags: number,
  address4: number,
  addresses: readonly number[],
): boolean =>
  !isOfNode(flags) &&
  (flags & (ServiceFlag.EXTERNAL_IP | ServiceFlag.FOREIGN_ADDRESS)) === 0 &&
  !addresses.includes(address4)

const isOfNode = (flags: number): boolean =>
  (flags & (ServiceFlag.NODE_PORT | ServiceFlag.HOST_PORT)) !== 0

export function frontendKey(address4: number, port: number, protocol: number): string {
  const bytes = [address4 >>> 24, (address4 >>> 16) & 255, (address4 >>> 8) & 255, address4 & 255]
  return `${bytes.join('.')}:${port}/${protocol}`
}

function planBackends(
  spec: ServiceSpec,
  at: string,
  isLocalAddress: (address: Int32Array) => boolean,
): PlannedBackend[] {
  const seen = new Set<string>()
  return spec.backends.map(({ address, port, weight = 1, state = 'active', isLocal }, i) => {
    const field = `${at}: backends[${i}]`
    const address4 = ipv4(`${field}.address`, address)
    checkWhole(`${field}.port`, port, 1, 65_535)
    checkWhole(`${field}.weight`, weight, 0, WEIGHT_MAX)
    const key = `${address}:${port}`
    if (seen.has(key)) throw invalid(field, key, 'a backend that is not listed before')
    seen.add(key)
    const number = choice(STATES, `${field}.state`, state)
    return {
      address4,
      port,
      weight,
      state: number,
      isLocal: isLocal ?? isLocalAddress(ipv4Words(address4)),
    }
  })
}

function range(field: string, text: string): Cidr {
  const expected = 'an IPv4 prefix such as 10.0.0.0/8'
  let cidr: Cidr
  try {
    cidr = parseCidr(text)
  } catch (error) {
    throw invalid(field, `'${text}'`, expected, error)
  }
  if (!isIpv4Words(cidr.words)) throw invalid(field, `'${text}'`, expected)
  return cidr
}

function ipv4(field: string, text: string): number {
  try {
    return parseIpv4(text)
  } catch (error) {
    throw invalid(field, `'${text}'`, 'an IPv4 address such as 10.96.0.1', error)
  }
}

function choice<K extends string, V>(choices: Readonly<Record<K, V>>, field: string, name: K): V {
  if (Object.hasOwn(choices, name)) return choices[name]
  throw invalid(field, `'${name}'`, `one of ${Object.keys(choices).join(', ')}`)
}

function checkWhole(field: string, value: number, low: number, high: number): void {
  if (Number.isInteger(value) && value >= low && value <= high) return
  throw invalid(field, `'${value}'`, `a whole number from ${low} to ${high}`)
}

export function invalid(
  field: string,
  value: string,
  expected: string,
  cause?: unknown,
): RingpathError {
  const message = `${field}: ${value}, expected ${expected}`
  return new RingpathError(ErrorCode.CONFIG_INVALID, message, cause)
}
