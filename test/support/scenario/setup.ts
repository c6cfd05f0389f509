/**
 * Brings a node into the state that a scenario describes: by the control plane's own hand, as an
 * agent would. The same for the beginning and for changes between steps.
 */

import type { NodeController } from '../../../src/daemon/node-controller.js'
import type { ServiceSpec } from '../../../src/lb/service-spec.js'
import { Direction } from '../../../src/packet/verdict.js'
import type { EndpointPolicy, PolicyRule } from '../../../src/policy/policy-rule.js'
import { parseCidr } from '../../../src/wire/address.js'
import { PROTOCOL_NUMBERS } from './frame.js'
import type { Names } from './names.js'
import type { NodeSpec, PolicySpec, RuleSpec, ServiceRecord } from './types.js'

export function toPolicy(spec: PolicySpec, names: Names): EndpointPolicy {
  const rules = (direction: Direction, list: readonly RuleSpec[] = []): PolicyRule[] =>
    list.map(({ action = 'allow', identities, ports, priority, cookie }) => ({
      direction,
      action,
      ...(identities === undefined ? {} : { identities: identities.map((i) => names.identity(i)) }),
      ...(ports === undefined ? {} : { ports: ports.map(toPorts) }),
      ...(priority === undefined ? {} : { priority }),
      ...(cookie === undefined ? {} : { cookie }),
    }))
  return {
    enforceIngress: spec.ingress !== undefined,
    enforceEgress: spec.egress !== undefined,
    rules: [...rules(Direction.INGRESS, spec.ingress), ...rules(Direction.EGRESS, spec.egress)],
  }
}

function toPorts(ports: NonNullable<RuleSpec['ports']>[number]) {
  const protocol = PROTOCOL_NUMBERS[ports.protocol]
  const firstPort = ports.icmpType ?? ports.port
  if (firstPort === undefined) return { protocol }
  const { lastPort } = ports
  return { protocol, firstPort, ...(lastPort === undefined ? {} : { lastPort }) }
}

function toService(record: ServiceRecord, names: Names): ServiceSpec {
  const at = <T extends { readonly address: string }>(item: T): T => ({
    ...item,
    address: names.address(item.address),
  })
  return { ...record, frontends: record.frontends.map(at), backends: record.backends.map(at) }
}

/** Everything of a node but its ports, which the world makes, and its table entries. */
export function configure(
  controller: NodeController,
  names: Names,
  spec: NodeSpec,
  idOf: (pod: string) => number,
  nowSeconds: number,
): void {
  for (const name of spec.remove?.services ?? []) controller.deleteService(name)
  for (const name of spec.remove?.pods ?? []) controller.removeEndpoint(idOf(name))
  for (const name of spec.remove?.peers ?? []) controller.removePeer(name)
  for (const prefix of spec.remove?.remotes ?? []) controller.deleteRemote(prefix)
  for (const [name, text] of Object.entries(spec.names ?? {})) names.define(name, text)
  applySettings(controller, spec.settings ?? {})
  if (spec.masquerade !== undefined) controller.setMasquerade(spec.masquerade)
  if (spec.tunnel !== undefined) controller.setTunnel(spec.tunnel)
  applyNetdev(controller, names, spec, nowSeconds)
  for (const peer of spec.peers ?? []) controller.addPeer(peer)
  for (const remote of spec.remotes ?? []) {
    controller.setRemote({ ...remote, identity: names.identity(remote.identity) })
  }
  for (const [prefix, identity] of Object.entries(spec.identities ?? {})) {
    const { words, prefixBits } = parseCidr(prefix)
    controller.setIdentity(words, prefixBits, names.identity(identity))
  }
  for (const pod of spec.pods ?? []) {
    if (typeof pod === 'string' || pod.policy === undefined) continue
    controller.setPolicy(idOf(pod.name), toPolicy(pod.policy, names))
  }
  for (const [pod, policy] of Object.entries(spec.policies ?? {})) {
    controller.setPolicy(idOf(pod), toPolicy(policy, names))
  }
  for (const [pod, limits] of Object.entries(spec.bandwidth ?? {})) {
    controller.setBandwidth(idOf(pod), limits)
  }
  for (const service of spec.services ?? []) controller.setService(toService(service, names))
}

/** What holds at the uplinks, and which node pods leave by. */
function applyNetdev(
  { netdev, egress }: NodeController,
  names: Names,
  spec: NodeSpec,
  nowSeconds: number,
): void {
  for (const address of spec.announced ?? []) netdev.announce(names.address(address))
  for (const address of spec.withdrawn ?? []) netdev.withdraw(names.address(address))
  if (spec.agentAlive === true) netdev.signAlive(nowSeconds)
  if (spec.deniedSources !== undefined) netdev.setDeniedSources(spec.deniedSources)
  if (spec.allowedVlans !== undefined) netdev.setAllowedVlans(spec.allowedVlans)
  if (spec.egressRules === undefined) return
  egress.set(
    spec.egressRules.map(({ sources, gateway, egressAddress, ...rule }) => ({
      ...rule,
      sources: sources.map((source) => names.address(source)),
      ...(gateway === undefined ? {} : { gateway: names.address(gateway) }),
      ...(egressAddress === undefined ? {} : { egressAddress: names.address(egressAddress) }),
    })),
  )
}

function applySettings(
  controller: NodeController,
  settings: NonNullable<NodeSpec['settings']>,
): void {
  const { loopback, noBackendResponse, externalClusterIp, policyAudit } = settings
  const { fragmentTracking, policyDenyResponse, answersPerSecond, answersBurst } = settings
  controller.setServiceOptions(defined({ loopback, noBackendResponse, externalClusterIp }))
  controller.setNodeOptions(
    defined({ fragmentTracking, policyDenyResponse, answersPerSecond, answersBurst }),
  )
  if (policyAudit !== undefined) controller.setPolicyAudit(policyAudit)
  if (settings.hostFirewall !== undefined) controller.setHostFirewall(settings.hostFirewall)
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> }

function defined<T extends object>(fields: T): Defined<T> {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined)
  return Object.fromEntries(entries) as Defined<T>
}
