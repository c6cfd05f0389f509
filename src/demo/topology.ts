/**
 * What the demonstration is about, as plain data: one node, four pods, and who may speak to whom.
 * Both worlds, real namespaces and the simulation, are built from it, and so is the text that
 * introduces it.
 */
import { Identity } from '../identity/identity.js'
import { Direction } from '../packet/verdict.js'
import type { EndpointPolicy, PolicyRule } from '../policy/policy-rule.js'
import { Protocol } from '../wire/protocols.js'

export interface DemoPod {
  readonly name: string
  /** Number of its endpoint. */
  readonly id: number
  readonly identity: number
  readonly address: string
  readonly policy: EndpointPolicy
}

export const NODE = { name: 'node', address: '10.0.0.1' } as const
export const POD_CIDR = '10.0.1.0/24'

/** Where the servers listen. */
export const ServerPort = { HTTP: 80, IPERF: 5201, ECHO: 7 } as const

const ECHO_REQUEST = 8
const CLIENT_IDENTITY = 302

const PORT_HTTP = { protocol: Protocol.TCP, firstPort: ServerPort.HTTP }
const PORT_IPERF = { protocol: Protocol.TCP, firstPort: ServerPort.IPERF }
const PORT_ECHO = { protocol: Protocol.UDP, firstPort: ServerPort.ECHO }
const PING = { protocol: Protocol.ICMPV4, firstPort: ECHO_REQUEST }

type Allowed = Pick<PolicyRule, 'identities' | 'ports'>

const accept = (...rules: readonly Allowed[]): EndpointPolicy => ({
  enforceIngress: true,
  enforceEgress: false,
  rules: rules.map((rule) => ({ ...rule, direction: Direction.INGRESS, action: 'allow' })),
})

export const WEB: DemoPod = {
  name: 'web',
  id: 1,
  identity: 301,
  address: '10.0.1.10',
  policy: accept(
    { identities: [CLIENT_IDENTITY], ports: [PORT_HTTP, PORT_IPERF, PING] },
    { identities: [Identity.HOST], ports: [PORT_HTTP] },
  ),
}

export const CLIENT: DemoPod = {
  name: 'client',
  id: 2,
  identity: CLIENT_IDENTITY,
  address: '10.0.1.11',
  // It gets its answers all the same: replies belong to connections that it opened.
  policy: accept(),
}

export const INTRUDER: DemoPod = {
  name: 'intruder',
  id: 3,
  identity: 303,
  address: '10.0.1.12',
  policy: { enforceIngress: false, enforceEgress: false, rules: [] },
}

export const ECHO: DemoPod = {
  name: 'echo',
  id: 4,
  identity: 304,
  address: '10.0.1.13',
  policy: accept({ identities: [CLIENT_IDENTITY], ports: [PORT_ECHO] }),
}

export const PODS: readonly DemoPod[] = [WEB, CLIENT, INTRUDER, ECHO]

/** `web`, `node`; undefined for an address that is nobody's here. */
export function nameOfAddress(address: string): string | undefined {
  if (address === NODE.address) return NODE.name
  return PODS.find((pod) => pod.address === address)?.name
}

export function nameOfEndpoint(id: number): string {
  return PODS.find((pod) => pod.id === id)?.name ?? NODE.name
}

/** What a pod accepts, in words: `client tcp/80, ping; node tcp/80`, `nothing`, `everything`. */
export function acceptedText(policy: EndpointPolicy): string {
  if (!policy.enforceIngress) return 'everything'
  const texts = policy.rules.map((rule) => {
    const who = (rule.identities ?? []).map(nameOfIdentity).join(' and ')
    const what = (rule.ports ?? []).map((port) => portText(port.protocol, port.firstPort))
    return `${who}: ${what.join(', ')}`
  })
  return texts.join('; ') || 'nothing'
}

function nameOfIdentity(identity: number): string {
  if (identity === Identity.HOST) return 'the node'
  return PODS.find((pod) => pod.identity === identity)?.name ?? String(identity)
}

/** `tcp/80`, `udp/7`, `ping`. */
export function portText(protocol: number, port = 0): string {
  if (protocol === Protocol.TCP) return `tcp/${port}`
  if (protocol === Protocol.UDP) return `udp/${port}`
  return protocol === Protocol.ICMPV4 ? 'ping' : `protocol ${protocol}`
}
